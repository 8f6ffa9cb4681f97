// Writing streams and reading their groups; stream_listpack.cc has the nodes.
#include "engine/rdb/rdb_stream.h"

#include <algorithm>

#include "engine/base/coding.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/types/counted_tree.h"
#include "engine/types/stream_groups.h"

namespace firn {
namespace {

// What an entry of a pending list takes at least: id, time, deliveries.
constexpr uint64_t kPendingBytes = 25;

struct RawId {
  explicit RawId(StreamId id) {
    StoreBig64(bytes, id.ms);
    StoreBig64(bytes + 8, id.seq);
  }
  std::string_view view() const { return {bytes, sizeof bytes}; }
  char bytes[sizeof(StreamId)];
};

void WriteId(RdbPieces* out, StreamId id) {
  out->Length(id.ms);
  out->Length(id.seq);
}

bool WriteNodes(PageSpace* pages, RdbPieces* out) {
  CountedTree tree(pages);
  CountedTree::Leaf leaf;
  if (!tree.FindFirst(&leaf)) return false;
  if (StreamPage(tree.Page(leaf).bytes()).is_void()) {
    out->Length(0);
    return true;
  }
  out->Length(tree.count());
  ListpackBuilder block;
  for (;;) {
    const StreamPage page(tree.Page(leaf).bytes());
    out->String(RawId(page.master()).view());
    out->String(ListpackOfStreamPage(page, &block));
    const CountedTree::Moved moved = tree.Next(&leaf);
    if (moved != CountedTree::Moved::kYes) return moved == CountedTree::Moved::kEnd;
  }
}

// Pending lists are written with their sizes before them, which the rows of groups and consumers
// tell. False if these are wrong.
bool WriteConsumers(StreamGroups* groups, const StreamGroups::Group& group, RdbPieces* out) {
  out->Length(group.consumers);
  uint32_t consumers = 0;
  bool fits = true;
  const bool all = groups->ForEachConsumer(
      group, [&](std::string_view name, const StreamGroups::Consumer& consumer) {
        ++consumers;
        out->String(name);
        out->Fixed(consumer.seen_ms);
        out->Length(consumer.pending);
        uint64_t pending = 0;
        fits = groups->ForEachPendingOf(group, consumer.number, kMinStreamId, [&](StreamId id) {
          ++pending;
          out->Raw(RawId(id).view());
          return true;
        }) && pending == consumer.pending;
        return fits;
      });
  return all && fits && consumers == group.consumers;
}

bool WriteGroups(PageSpace* pages, RdbPieces* out) {
  StreamGroups groups(pages);
  bool fits = true;
  const bool all =
      groups.ForEachGroup([&](std::string_view name, const StreamGroups::Group& group) {
        out->String(name);
        WriteId(out, group.last_id);
        out->Length(static_cast<uint64_t>(group.entries_read));
        out->Length(group.pending);
        uint64_t pending = 0;
        fits = groups.ForEachPending(group, kMinStreamId,
                                     [&](const StreamGroups::Pending& entry) {
                                       ++pending;
                                       out->Raw(RawId(entry.id).view());
                                       out->Fixed(entry.delivered_ms);
                                       out->Length(entry.deliveries);
                                       return true;
                                     }) &&
               pending == group.pending && WriteConsumers(&groups, group, out);
        return fits;
      });
  return all && fits;
}

}  // namespace

bool WriteRdbStream(PageSpace* pages, RdbPieces* out) {
  StreamValue stream(pages);
  StreamId first;
  if (!stream.FirstId(&first) || !WriteNodes(pages, out)) return false;
  out->Length(stream.length());
  WriteId(out, stream.last_id());
  WriteId(out, first);
  WriteId(out, stream.max_deleted_id());
  out->Length(stream.entries_added());
  out->Length(stream.groups());
  return WriteGroups(pages, out);
}

// --- reading

bool RdbStreamReader::Tell(const StreamPiece& piece) {
  const Status status = builder_.Stream(piece);
  return status.ok() || input_.Fail(status);
}

StreamId RdbStreamReader::LengthId() {
  const uint64_t ms = input_.Length();
  return {ms, input_.Length()};
}

StreamId RdbStreamReader::RawId() {
  char bytes[sizeof(StreamId)] = {};
  if (!input_.Bytes(bytes, sizeof bytes)) return {};
  return {LoadBig64(bytes), LoadBig64(bytes + 8)};
}

bool RdbStreamReader::Read() {
  for (uint64_t left = input_.Count(2); left > 0; --left) {
    if (!Node()) return false;
  }
  if (!input_.ok() || !State()) return false;
  const uint64_t groups = input_.Count(5);
  if (groups > UINT32_MAX) return input_.Fail("a stream with too many groups");
  for (uint64_t i = 0; i < groups; ++i) {
    if (!Group(static_cast<uint32_t>(i))) return false;
  }
  return input_.ok() && CheckNames({groups_.begin(), groups_.end()});
}

bool RdbStreamReader::Node() {
  if (!input_.String(&text_)) return false;
  if (text_.size() != sizeof(StreamId)) return input_.Fail("a node of a stream without an id");
  const StreamId master = {LoadBig64(text_.data()), LoadBig64(text_.data() + 8)};
  if (any_node_ && master <= last_known_) return input_.Fail("nodes of a stream out of order");
  if (!input_.String(&text_)) return false;
  std::string bytes;
  const Status status = StreamPageOfListpack(master, text_, &bytes);
  if (!status.ok()) return input_.Fail(status);
  const StreamPage page(bytes);
  if (entries_ == 0 && page.count() > 0) first_id_ = page.begin().id();
  entries_ += page.count();
  last_known_ = std::max(master, page.LastId());
  any_node_ = true;
  return Tell({.kind = StreamPiece::Kind::kNode, .bytes = bytes});
}

bool RdbStreamReader::State() {
  const uint64_t entries = input_.Length();
  state_.kind = StreamPiece::Kind::kState;
  state_.id = LengthId();
  state_.entries_added = entries;
  state_.first_id = first_id_;
  if (type_ != RdbType::kStreamListpacks) {
    // What the first entry is its node tells better.
    LengthId();
    state_.max_deleted_id = LengthId();
    state_.entries_added = input_.Length();
  }
  if (!input_.ok()) return false;
  if (entries != entries_) return input_.Fail("a stream with a wrong number of entries");
  if (any_node_ && state_.id < last_known_) return input_.Fail("a stream with a wrong last id");
  return Tell(state_);
}

// How many entries a group that has read up to `id` has read; -1 if that can't be told.
int64_t RdbStreamReader::EstimateReads(StreamId id) const {
  if (entries_ == 0) return 0;
  if (id == state_.id) return static_cast<int64_t>(entries_);
  if (id > first_id_) return StreamGroups::kUnknownReads;
  return id == first_id_ ? 1 : 0;
}

bool RdbStreamReader::Group(uint32_t number) {
  std::string name;
  if (!input_.String(&name)) return false;
  StreamPiece group{.kind = StreamPiece::Kind::kGroup, .bytes = name, .group = number};
  group.id = LengthId();
  group.entries_read = type_ == RdbType::kStreamListpacks ? EstimateReads(group.id)
                                                          : static_cast<int64_t>(input_.Length());
  if (group.entries_read < 0) group.entries_read = StreamGroups::kUnknownReads;
  if (!GroupPending()) return false;
  consumers_.clear();
  const uint64_t consumers = input_.Count(10);
  if (consumers >= kNobody) return input_.Fail("a group with too many consumers");
  for (uint64_t i = 0; i < consumers; ++i) {
    if (!ReadConsumer(static_cast<uint32_t>(i))) return false;
  }
  for (const Pending& pending : pending_) {
    if (pending.consumer == kNobody) return input_.Fail("a pending entry without a consumer");
  }
  if (!input_.ok() || !TellGroup(group)) return false;
  groups_.push_back(std::move(name));
  return true;
}

bool RdbStreamReader::GroupPending() {
  pending_.clear();
  for (uint64_t left = input_.Count(kPendingBytes); left > 0; --left) {
    Pending pending;
    pending.id = RawId();
    pending.delivered_ms = input_.Fixed<int64_t>();
    pending.deliveries = input_.Length();
    if (!input_.ok()) return false;
    if (!pending_.empty() && pending.id <= pending_.back().id) {
      return input_.Fail("pending entries out of order");
    }
    pending_.push_back(pending);
  }
  return input_.ok();
}

bool RdbStreamReader::ReadConsumer(uint32_t number) {
  Consumer& consumer = consumers_.emplace_back();
  if (!input_.String(&consumer.name)) return false;
  consumer.seen_ms = input_.Fixed<int64_t>();
  consumer.active_ms =
      type_ == RdbType::kStreamListpacks3 ? input_.Fixed<int64_t>() : consumer.seen_ms;
  consumer.pending = input_.Count(sizeof(StreamId));
  for (uint64_t left = consumer.pending; left > 0 && input_.ok(); --left) {
    const StreamId id = RawId();
    auto at = std::lower_bound(pending_.begin(), pending_.end(), id,
                               [](const Pending& pending, StreamId i) { return pending.id < i; });
    if (at == pending_.end() || at->id != id) {
      return input_.Fail("a consumer's pending entry that the group does not have");
    }
    if (at->consumer != kNobody) return input_.Fail("a pending entry with two owners");
    at->consumer = number;
  }
  return input_.ok();
}

bool RdbStreamReader::CheckNames(std::vector<std::string_view> names) {
  std::sort(names.begin(), names.end());
  if (std::adjacent_find(names.begin(), names.end()) == names.end()) return true;
  return input_.Fail("a group or consumer comes twice");
}

bool RdbStreamReader::TellGroup(const StreamPiece& group) {
  StreamPiece piece = group;
  piece.pending = pending_.size();
  piece.consumers = static_cast<uint32_t>(consumers_.size());
  std::vector<std::string_view> names;
  names.reserve(consumers_.size());
  for (const Consumer& consumer : consumers_) names.push_back(consumer.name);
  if (!CheckNames(std::move(names)) || !Tell(piece)) return false;
  for (uint32_t i = 0; i < consumers_.size(); ++i) {
    const Consumer& consumer = consumers_[i];
    if (!Tell({.kind = StreamPiece::Kind::kConsumer,
               .bytes = consumer.name,
               .group = group.group,
               .consumer = i,
               .pending = consumer.pending,
               .seen_ms = consumer.seen_ms,
               .active_ms = consumer.active_ms})) {
      return false;
    }
  }
  for (const Pending& pending : pending_) {
    if (!Tell({.kind = StreamPiece::Kind::kPending,
               .group = group.group,
               .consumer = pending.consumer,
               .id = pending.id,
               .seen_ms = pending.delivered_ms,
               .deliveries = pending.deliveries})) {
      return false;
    }
  }
  return true;
}

}  // namespace firn
