#include "server/commands/set_slices.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/types/root_format.h"
#include "engine/types/tree_builder.h"
#include "server/client.h"
#include "server/commands/set_common.h"
#include "server/server.h"
#include "tiering/frozen_value.h"
#include "tiering/io/loop.h"
#include "tiering/value_build.h"

namespace firn::server {
namespace {

// What takes fewer look-ups is done at once.
constexpr uint64_t kManyLookups = 20'000;
// A slice: a millisecond.
constexpr uint64_t kLookupsAtOnce = 4096;
constexpr uint64_t kSliceBytes = 256 << 10;
// Leaves that are fetched at once.
constexpr uint64_t kLeavesAhead = 32;
// Each member is compared with the next of every operand.
constexpr size_t kMostOperands = 16;
// With larger limits a result that is shown as packed would have to be kept whole.
constexpr uint64_t kMostListpackEntries = 1 << 16;
constexpr int kMostAttempts = 3;
constexpr int64_t kRoomMicros = 1000;
// Leaves are not filled to the brim: the set may grow later.
constexpr uint64_t kBuiltLeafBytes = kMaxLeafBytes * 3 / 4;

std::string KeyOf(uint64_t hash) {
  std::string key(8, '\0');
  StoreBig64(key.data(), hash);
  return key;
}

// The members of one operand in the order of their hashes, leaf by leaf.
class Members {
 public:
  struct Member {
    uint64_t hash = 0;
    std::string_view bytes;  // valid until the next leaf is loaded
    bool operator==(const Member&) const = default;
    bool operator<(const Member& other) const {
      return hash != other.hash ? hash < other.hash : bytes < other.bytes;
    }
  };

  Members(PageSpace* space, HashSecret secret) : tree_(space), secret_(secret) {}

  // Makes sure of `head` if there are members left. False: pages are missing.
  bool Load() {
    if (ended_ || at_ < members_.size()) return true;
    if (!begun_) {
      if (!tree_.FindFirst(&leaf_)) return false;
      begun_ = true;
    } else {
      switch (tree_.Next(&leaf_)) {
        case CountedTree::Moved::kYes:
          break;
        case CountedTree::Moved::kEnd:
          ended_ = true;
          return true;
        case CountedTree::Moved::kMissing: {
          const uint64_t rows = tree_.Page(leaf_).rows();
          tree_.WantRanks(leaf_.first_rank + rows, leaf_.first_rank + rows * kLeavesAhead);
          return false;
        }
      }
    }
    TakeLeaf();
    return true;
  }
  bool ended() const { return ended_; }
  // REQUIRES: Load was true, not ended.
  const Member& head() const { return members_[at_]; }
  void Advance() { ++at_; }

 private:
  void TakeLeaf() {
    bytes_ = tree_.Page(leaf_).bytes();
    members_.clear();
    at_ = 0;
    for (PackedPage::Cursor cursor(PackedPage(bytes_), 0); cursor.valid(); cursor.Next()) {
      const std::string_view bytes = cursor.row().bytes;
      members_.push_back({SipHash13(secret_, bytes), bytes});
    }
    std::sort(members_.begin(), members_.end());
  }

  CountedTree tree_;
  const HashSecret secret_;
  CountedTree::Leaf leaf_;
  std::string bytes_;  // of the leaf
  std::vector<Member> members_;
  size_t at_ = 0;
  bool begun_ = false;
  bool ended_ = false;
};

// Makes a set of members that come in the order of their hashes. A few are kept: what stays small
// is stored as a whole.
class Result {
 public:
  Result(Database& database, uint64_t most_kept)
      : build_(database),
        tree_([this](PageNumber page, std::string_view bytes) { build_.WritePage(page, bytes); }),
        most_kept_(most_kept) {}

  void Add(const Members::Member& member) {
    ++count_;
    if (count_ <= most_kept_) {
      kept_.emplace_back(member.hash, member.bytes);
      return;
    }
    for (const auto& [hash, bytes] : std::exchange(kept_, {})) AddToTree({hash, bytes});
    AddToTree(member);
  }
  uint64_t count() const { return count_; }
  bool is_small() const { return count_ <= most_kept_; }
  // REQUIRES: is_small.
  std::vector<std::string_view> members() const {
    std::vector<std::string_view> members;
    for (const auto& [hash, bytes] : kept_) members.push_back(bytes);
    return members;
  }
  ValueBuild& build() { return build_; }
  // REQUIRES: not is_small.
  std::string Finish() {
    CloseLeaf();
    return tree_.Finish(
        {.value_id = build_.value_id(), .flags = static_cast<uint8_t>(SetEncoding::kHashtable)});
  }

 private:
  void AddToTree(const Members::Member& member) {
    const PackedRow row = {.bytes = member.bytes, .tag = static_cast<uint8_t>(member.hash)};
    const uint64_t size = leaf_.size() + PackedPage::RowSize(PackedKind::kSet, row);
    // Members of one hash stay together.
    if (leaf_.rows() > 0 && size > kBuiltLeafBytes && member.hash != last_hash_) {
      CloseLeaf();
      separator_ = CountedTree::Separator(KeyOf(last_hash_), KeyOf(member.hash));
    }
    leaf_.Add(row);
    last_hash_ = member.hash;
  }
  void CloseLeaf() {
    tree_.AddLeaf(leaf_.Finish(), separator_);
    leaf_ = PackedBuilder(PackedKind::kSet);
  }

  ValueBuild build_;
  TreeBuilder tree_;
  const uint64_t most_kept_;
  uint64_t count_ = 0;
  std::vector<std::pair<uint64_t, std::string>> kept_;
  PackedBuilder leaf_{PackedKind::kSet};
  std::string separator_;
  uint64_t last_hash_ = 0;
};

// One key, as it was when the attempt began.
struct Operand {
  const KeyAccess* access = nullptr;
  std::unique_ptr<FrozenValue> frozen;  // null: there is no such key
  std::unique_ptr<SetValue> value;
  std::optional<Members> members;
};

class SlicedStore : public std::enable_shared_from_this<SlicedStore> {
 public:
  SlicedStore(CommandContext& context, const SetStore& store) : store_(store) {
    const SetLimits limits = SetLimitsOf(context);
    most_kept_ = std::max<uint64_t>({1024, limits.max_intset_entries, limits.max_listpack_entries});
  }

  // REQUIRES: all keys are planned.
  void Begin(CommandContext& context) {
    if (++attempts_ > kMostAttempts) return store_.whole(context, store_);
    operands_.clear();
    for (const KeyAccess& access : context.keys.subspan(1)) {
      const bool known = std::ranges::any_of(operands_, [&](const Operand& operand) {
        return operand.access->key.bytes == access.key.bytes;
      });
      if (known) continue;
      Operand& operand = operands_.emplace_back();
      operand.access = &access;
      OpenSet set(context, access.key, OpenSet::Use::kWrite);
      if (!set.CheckType(context)) return;
      secret_ = set.secret();
      if (set.exists()) operand.frozen = std::make_unique<FrozenValue>(context.db(), access.key);
    }
    for (Operand& operand : operands_) {
      if (operand.frozen == nullptr) continue;
      operand.value = std::make_unique<SetValue>(operand.frozen.get(), secret_);
      operand.members.emplace(operand.frozen.get(), secret_);
    }
    driver_ = ChooseDriver();
    result_.emplace(context.db(), most_kept_);
    AwaitTurn(context, 0);
  }

 private:
  // Whose members are looked up in the others; a union goes over all of them at once.
  size_t ChooseDriver() const {
    if (store_.operation != SetOperation::kIntersect) return 0;
    auto count = [](const Operand& operand) {
      return operand.value == nullptr ? 0 : operand.value->count();
    };
    const auto smallest = std::ranges::min_element(operands_, {}, count);
    return static_cast<size_t>(smallest - operands_.begin());
  }

  void AwaitTurn(CommandContext& context, int64_t delay_micros) {
    auto turn = [self = shared_from_this(), suspended = context.Suspend()] {
      suspended.Resume([self](CommandContext& context) {
        // Each slice has a plan of its own, so that what it brought may go when the next comes.
        RunWithKeys(context, {}, [self](CommandContext& context) { self->Step(context); });
      });
    };
    io::Loop& loop = context.server.loop();
    if (delay_micros == 0) return loop.Post(std::move(turn));
    loop.AddTimer(delay_micros, std::move(turn));
  }

  void Step(CommandContext& context) {
    if (IsInVain(context)) return Restart(context);
    switch (result_->build().CheckRoom(kSliceBytes)) {
      case ValueBuild::Room::kReady:
        break;
      case ValueBuild::Room::kLater:
        return AwaitTurn(context, kRoomMicros);
      case ValueBuild::Room::kFailed:
        return context.reply.Error(kOutOfMemoryError);
    }
    bool ended = false;
    const bool resident = store_.operation == SetOperation::kUnite ? Unite(&ended) : Probe(&ended);
    if (Status status = context.store.TakeRunError(); !status.ok()) {
      return context.reply.Error("MISCONF Errors writing to the AOF file: " + status.message());
    }
    if (!resident) return;
    if (!ended) return AwaitTurn(context, 0);
    // The keys again, as they are when all is done.
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = shared_from_this()](CommandContext& context) { self->Install(context); });
  }

  // All three: false if pages are missing. What was done stays done.
  bool Unite(bool* ended) {
    for (uint64_t left = kLookupsAtOnce / operands_.size(); left > 0; --left) {
      const Members::Member* least = nullptr;
      for (Operand& operand : operands_) {
        if (!operand.members.has_value()) continue;
        if (!operand.members->Load()) return false;
        if (operand.members->ended()) continue;
        const Members::Member& head = operand.members->head();
        if (least == nullptr || head < *least) least = &head;
      }
      *ended = least == nullptr;
      if (*ended) return true;
      const Members::Member member = *least;
      result_->Add(member);
      // The view stays good: nothing is loaded before the next round.
      for (Operand& operand : operands_) {
        if (!operand.members.has_value() || operand.members->ended()) continue;
        if (operand.members->head() == member) operand.members->Advance();
      }
    }
    return true;
  }

  bool Probe(bool* ended) {
    if (!operands_[driver_].members.has_value()) {
      *ended = true;
      return true;
    }
    Members& members = *operands_[driver_].members;
    for (uint64_t left = kLookupsAtOnce / operands_.size(); left > 0; --left) {
      if (!members.Load()) return false;
      *ended = members.ended();
      if (*ended) return true;
      bool wanted = true;
      if (!IsWanted(members.head(), &wanted)) return false;
      if (wanted) result_->Add(members.head());
      members.Advance();
    }
    return true;
  }

  bool IsWanted(const Members::Member& member, bool* wanted) {
    const bool present = store_.operation == SetOperation::kIntersect;
    for (size_t i = 0; i < operands_.size() && *wanted; ++i) {
      if (i == driver_) continue;
      SetValue::Place place;
      if (operands_[i].value != nullptr && !operands_[i].value->Find(member.bytes, &place)) {
        return false;
      }
      *wanted = place.found == present;
    }
    return true;
  }

  bool IsInVain(CommandContext& context) {
    if (!context.db().HasBuilt(result_->build())) return true;
    return std::ranges::any_of(operands_, [](const Operand& operand) {
      return operand.frozen != nullptr && (operand.frozen->lost() || operand.frozen->changed());
    });
  }

  // REQUIRES: planned.
  bool IsAsItWas(CommandContext& context, const Operand& operand) {
    Collection now(context.db(), operand.access->key, ValueType::kSet,
                   {.touch = false, .count_hit = false});
    if (operand.frozen == nullptr) return !now.exists() && !now.wrong_type();
    return now.exists() && now.Root() == operand.frozen->Root();
  }

  void Restart(CommandContext& context) {
    result_.reset();
    operands_.clear();
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = shared_from_this()](CommandContext& context) { self->Begin(context); });
  }

  void Install(CommandContext& context) {
    const bool in_vain =
        IsInVain(context) || !std::ranges::all_of(operands_, [&](const Operand& operand) {
          return IsAsItWas(context, operand);
        });
    if (in_vain) return Restart(context);
    const HashedKey& key = context.key();
    operands_.clear();
    if (result_->is_small()) {
      const std::vector<std::string_view> members = result_->members();
      const SetEncoding encoding = store_.encoding(members, SetLimitsOf(context));
      return StoreSet(context, key, {.members = members, .encoding = encoding}, store_.event);
    }
    // Its expiry passes away with it, and may be told.
    LookupForWrite(context, key);
    const std::string root = result_->Finish();
    context.db().SetBuilt(key, ValueType::kSet, root, &result_->build());
    NoteSetChange(context, key, store_.event, false);
    context.reply.Integer(static_cast<int64_t>(result_->count()));
  }

  const SetStore store_;
  HashSecret secret_;
  uint64_t most_kept_ = 0;
  int attempts_ = 0;
  std::vector<Operand> operands_;  // each key once
  size_t driver_ = 0;
  std::optional<Result> result_;
};

}  // namespace

bool StoresInSlices(const CommandContext& context, SetOperation operation,
                    std::span<const uint64_t> counts) {
  if (RunsAtomically(context) || counts.size() > kMostOperands) return false;
  const SetLimits limits = SetLimitsOf(context);
  if (std::max(limits.max_intset_entries, limits.max_listpack_entries) > kMostListpackEntries) {
    return false;
  }
  uint64_t lookups = 0;
  switch (operation) {
    case SetOperation::kIntersect:
      lookups = *std::ranges::min_element(counts) * counts.size();
      break;
    case SetOperation::kUnite:
      for (uint64_t count : counts) lookups += count;
      break;
    case SetOperation::kSubtract:
      lookups = counts[0] * counts.size();
      break;
  }
  return lookups >= kManyLookups;
}

void StoreInSlices(CommandContext& context, const SetStore& store) {
  if (!context.LeavePlace()) return;
  std::make_shared<SlicedStore>(context, store)->Begin(context);
}

}  // namespace firn::server
