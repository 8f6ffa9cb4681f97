#include "engine/rdb/rdb_collection.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/rdb/rdb_stream.h"
#include "engine/types/counted_tree.h"
#include "engine/types/hash_value.h"
#include "engine/types/list_value.h"
#include "engine/types/set_value.h"
#include "engine/types/zset_value.h"

namespace firn {
namespace {

// What is packed is made whole in RAM, as its size precedes it. More than this takes the form that
// needs no more than one element at a time.
constexpr uint64_t kMaxPackedBytes = 1 << 20;
// A node of a list, as with list-max-listpack-size -2.
constexpr uint64_t kListNodeBytes = 8192;
constexpr uint64_t kListNodeOverhead = 8;

enum class Walked : uint8_t { kAll, kStopped, kMissing };

// Visits the rows of a value in their order until visit(const PackedRow&) says false.
template <typename Visit>
Walked Walk(PageSpace* pages, Visit visit) {
  CountedTree tree(pages);
  CountedTree::Leaf leaf;
  if (!tree.FindFirst(&leaf)) return Walked::kMissing;
  for (;;) {
    for (PackedPage::Cursor cursor(tree.Page(leaf), 0); cursor.valid(); cursor.Next()) {
      if (!visit(cursor.row())) return Walked::kStopped;
    }
    const CountedTree::Moved moved = tree.Next(&leaf);
    if (moved == CountedTree::Moved::kEnd) return Walked::kAll;
    if (moved == CountedTree::Moved::kMissing) return Walked::kMissing;
  }
}

// The same from the last row to the first; `visit` can't stop.
template <typename Visit>
Walked WalkBackward(PageSpace* pages, Visit visit) {
  CountedTree tree(pages);
  CountedTree::Leaf leaf;
  if (!tree.FindLast(&leaf)) return Walked::kMissing;
  for (;;) {
    const PackedPage page = tree.Page(leaf);
    for (uint32_t row = page.rows(); row > 0;) visit(page.Row(--row));
    const CountedTree::Moved moved = tree.Previous(&leaf);
    if (moved == CountedTree::Moved::kEnd) return Walked::kAll;
    if (moved == CountedTree::Moved::kMissing) return Walked::kMissing;
  }
}

void AddScore(ListpackBuilder* block, double score) {
  constexpr double kMost = static_cast<double>(std::numeric_limits<int64_t>::max() / 2);
  const bool negative_zero = score == 0 && std::signbit(score);
  if (!negative_zero && score >= -kMost && score <= kMost && score == std::trunc(score)) {
    return block->AddInteger(static_cast<int64_t>(score));
  }
  block->Add(FormatDouble(score));
}

}  // namespace

bool RdbCollection::Choose() {
  count_ = CountedTree(&pages_).count();
  switch (type_) {
    case ValueType::kList:
      return ChooseList();
    case ValueType::kSet:
      return ChooseSet();
    case ValueType::kZset:
      return ChooseZset();
    case ValueType::kHash:
      return ChooseHash();
    case ValueType::kStream:
      form_ = RdbType::kStreamListpacks2;
      return true;
    default:
      return false;
  }
}

int RdbCollection::version() const {
  return form_ == RdbType::kHashMetadata ? kRdbVersionFieldExpiry : kRdbVersion;
}

bool RdbCollection::ChooseList() {
  ListpackBuilder node;
  uint64_t bytes = 0;
  const Walked walked = Walk(&pages_, [&](const PackedRow& row) {
    if (node.elements() > 0 &&
        node.size() + row.bytes.size() + kListNodeOverhead > kListNodeBytes) {
      blocks_.emplace_back(node.Finish());
      node.Clear();
    }
    bytes += row.bytes.size() + kListNodeOverhead;
    if (bytes > kMaxPackedBytes) return false;
    node.Add(row.bytes);
    return true;
  });
  form_ = RdbType::kListQuicklist2;
  if (walked == Walked::kAll) blocks_.emplace_back(node.Finish());
  if (walked == Walked::kStopped) {
    form_ = RdbType::kList;
    blocks_.clear();
  }
  return walked != Walked::kMissing;
}

bool RdbCollection::ChooseSet() {
  form_ = RdbType::kSet;
  if (SetValue(&pages_, {}).encoding() != SetEncoding::kIntset) return true;
  if (count_ > kMaxPackedBytes / sizeof(int64_t)) return true;
  std::vector<int64_t> members;
  const Walked walked = Walk(&pages_, [&](const PackedRow& row) {
    int64_t member = 0;
    const bool integer = ParseInteger(row.bytes, &member);
    members.push_back(member);
    return integer;
  });
  if (walked == Walked::kMissing) return false;
  if (walked == Walked::kStopped) return true;
  std::sort(members.begin(), members.end());
  blocks_.push_back(BuildIntset(members));
  form_ = RdbType::kSetIntset;
  return true;
}

bool RdbCollection::ChooseZset() {
  form_ = RdbType::kZset2;
  if (std::string_view(ZsetEncoding(pages_.Root())) != "listpack") return true;
  ListpackBuilder block;
  const Walked walked = Walk(&pages_, [&](const PackedRow& row) {
    if (block.size() + row.bytes.size() > kMaxPackedBytes) return false;
    block.Add(row.bytes);
    AddScore(&block, row.score);
    return true;
  });
  if (walked == Walked::kMissing) return false;
  if (walked == Walked::kStopped) return true;
  blocks_.emplace_back(block.Finish());
  form_ = RdbType::kZsetListpack;
  return true;
}

bool RdbCollection::ChooseHash() {
  form_ = RdbType::kHash;
  const bool packed = std::string_view(HashEncoding(pages_.Root())) != "hashtable";
  if (FieldsMayExpire(pages_.Root())) {
    if (!InspectExpiries()) return false;
    empty_ = count_ == 0;
    if (earliest_expiry_ms_ >= 0) form_ = RdbType::kHashMetadata;
  }
  if (!packed || empty_ || form_ != RdbType::kHash) return true;
  ListpackBuilder block;
  const Walked walked = Walk(&pages_, [&](const PackedRow& row) {
    if (row.expiry_ms >= 0 && row.expiry_ms <= now_ms_) return true;
    if (block.size() + row.bytes.size() + row.value.size() > kMaxPackedBytes) return false;
    block.Add(row.bytes);
    block.Add(row.value);
    return true;
  });
  if (walked == Walked::kMissing) return false;
  if (walked == Walked::kStopped) return true;
  blocks_.emplace_back(block.Finish());
  form_ = RdbType::kHashListpack;
  return true;
}

// Counts the fields that are there, and finds the first that expires.
bool RdbCollection::InspectExpiries() {
  count_ = 0;
  const Walked walked = Walk(&pages_, [&](const PackedRow& row) {
    if (row.expiry_ms < 0) {
      ++count_;
    } else if (row.expiry_ms > now_ms_) {
      ++count_;
      if (earliest_expiry_ms_ < 0 || row.expiry_ms < earliest_expiry_ms_) {
        earliest_expiry_ms_ = row.expiry_ms;
      }
    }
    return true;
  });
  return walked != Walked::kMissing;
}

bool RdbCollection::Write(RdbPieces* out) {
  switch (form_) {
    case RdbType::kListQuicklist2:
      out->Length(blocks_.size());
      for (const std::string& block : blocks_) {
        out->Length(static_cast<uint64_t>(RdbListNode::kPacked));
        out->String(block);
      }
      return true;
    case RdbType::kSetIntset:
    case RdbType::kZsetListpack:
    case RdbType::kHashListpack:
      out->String(blocks_.front());
      return true;
    case RdbType::kZset2:
      return WriteZset(out);
    case RdbType::kHash:
    case RdbType::kHashMetadata:
      return WriteHash(out);
    case RdbType::kStreamListpacks2:
      return WriteRdbStream(&pages_, out);
    default:
      return WriteSet(out);
  }
}

// And lists: elements in order, and nothing else.
bool RdbCollection::WriteSet(RdbPieces* out) {
  out->Length(count_);
  return Walk(&pages_, [&](const PackedRow& row) {
           out->String(row.bytes);
           return true;
         }) != Walked::kMissing;
}

// The greatest first, as Redis writes them to load them faster.
bool RdbCollection::WriteZset(RdbPieces* out) {
  out->Length(count_);
  return WalkBackward(&pages_, [&](const PackedRow& row) {
           out->String(row.bytes);
           out->Fixed(row.score);
         }) != Walked::kMissing;
}

bool RdbCollection::WriteHash(RdbPieces* out) {
  const bool expiries = form_ == RdbType::kHashMetadata;
  if (expiries) out->Fixed(earliest_expiry_ms_);
  out->Length(count_);
  return Walk(&pages_, [&](const PackedRow& row) {
           if (row.expiry_ms >= 0 && row.expiry_ms <= now_ms_) return true;
           // 0: none; else from the earliest on, which is 1.
           if (expiries) {
             out->Length(row.expiry_ms < 0
                             ? 0
                             : static_cast<uint64_t>(row.expiry_ms - earliest_expiry_ms_) + 1);
           }
           out->String(row.bytes);
           out->String(row.value);
           return true;
         }) != Walked::kMissing;
}

}  // namespace firn
