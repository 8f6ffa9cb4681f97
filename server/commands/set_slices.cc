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
#include "server/commands/sliced_command.h"
#include "server/server.h"
#include "tiering/frozen_value.h"
#include "tiering/value_build.h"

namespace firn::server {
namespace {

// What a slice may write, about.
constexpr uint64_t kSliceBytes = 256 << 10;
// With larger limits a result that is shown as packed would have to be kept whole.
constexpr uint64_t kMostListpackEntries = 1 << 16;
constexpr int64_t kRoomMicros = 1000;
// Leaves are not filled to the brim: the set may grow later.
constexpr uint64_t kBuiltLeafBytes = kMaxLeafBytes * 3 / 4;

std::string KeyOf(uint64_t hash) {
  std::string key(8, '\0');
  StoreBig64(key.data(), hash);
  return key;
}

// Makes a set of members that come in the order of their hashes. A few are kept: what stays small
// is stored as a whole.
class Result {
 public:
  Result(Database& database, uint64_t most_kept)
      : build_(database),
        tree_([this](PageNumber page, std::string_view bytes) { build_.WritePage(page, bytes); }),
        most_kept_(most_kept) {}

  void Add(const SetMember& member) {
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
  void AddToTree(const SetMember& member) {
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

class SlicedStore final : public SlicedCommand {
 public:
  SlicedStore(CommandContext& context, const SetStore& store)
      : store_(store), merge_(store.operation) {
    const SetLimits limits = SetLimitsOf(context);
    most_kept_ = std::max<uint64_t>({1024, limits.max_intset_entries, limits.max_listpack_entries});
  }

  // REQUIRES: all keys are planned.
  void Begin(CommandContext& context) {
    const auto operands = context.keys.subspan(1);
    const Attempt attempt = BeginAttempt(context, AnyOf(operands));
    if (attempt == Attempt::kLater) return;
    if (attempt == Attempt::kNone) return store_.whole(context, store_);
    if (!merge_.BeginOr(context, operands)) return;
    result_.emplace(context.db(), most_kept_);
    AwaitTurn(context);
  }

 private:
  std::shared_ptr<SlicedStore> Self() {
    return std::static_pointer_cast<SlicedStore>(shared_from_this());
  }

  void Step(CommandContext& context) override {
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
    const bool resident =
        merge_.Advance([this](const SetMember& member) { result_->Add(member); }, &ended);
    if (!resident) return;
    if (Status status = context.store.TakeRunError(); !status.ok()) {
      return context.reply.Error("MISCONF Errors writing to the AOF file: " + status.message());
    }
    if (!ended) return AwaitTurn(context);
    // The keys again, as they are when all is done.
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = Self()](CommandContext& context) { self->Install(context); });
  }

  bool IsInVain(CommandContext& context) {
    return !context.db().HasBuilt(result_->build()) || merge_.lost() || merge_.changed();
  }

  void Restart(CommandContext& context) override {
    result_.reset();
    merge_.Clear();
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = Self()](CommandContext& context) { self->Begin(context); });
  }

  void Install(CommandContext& context) {
    if (IsInVain(context) || !merge_.IsAsItWas(context)) return Restart(context);
    const HashedKey& key = context.key();
    EndAttempt();
    merge_.Clear();
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
  uint64_t most_kept_ = 0;
  SetMerge merge_;
  std::optional<Result> result_;
};

}  // namespace

bool StoresInSlices(const CommandContext& context) {
  const SetLimits limits = SetLimitsOf(context);
  return std::max(limits.max_intset_entries, limits.max_listpack_entries) <= kMostListpackEntries;
}

void StoreInSlices(CommandContext& context, const SetStore& store) {
  if (!context.LeavePlace()) return;
  std::make_shared<SlicedStore>(context, store)->Begin(context);
}

}  // namespace firn::server
