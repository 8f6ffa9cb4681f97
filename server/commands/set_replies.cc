#include "server/commands/set_replies.h"

#include <deque>
#include <memory>
#include <vector>

#include "engine/base/byte_blocks.h"
#include "server/client.h"
#include "server/commands/set_common.h"
#include "server/commands/sliced_command.h"

namespace firn::server {
namespace {

// A slice of a reply.
constexpr size_t kMembersAtOnce = 4096;
constexpr uint64_t kBytesAtOnce = 256 << 10;

class SlicedReply final : public SlicedCommand {
 public:
  explicit SlicedReply(const SetReading& reading) : reading_(reading), merge_(reading.operation) {}

  // REQUIRES: all keys are planned.
  void Begin(CommandContext& context) {
    const Attempt attempt = BeginAttempt(context, AnyOf(context.keys));
    if (attempt == Attempt::kLater) return;
    if (attempt == Attempt::kNone) return reading_.whole(context);
    if (merge_.BeginOr(context, context.keys)) AwaitTurn(context);
  }

 private:
  std::shared_ptr<SlicedReply> Self() {
    return std::static_pointer_cast<SlicedReply>(shared_from_this());
  }

  void Step(CommandContext& context) override {
    if (complete_) return ReplyPiece(context);
    if (merge_.lost()) return Restart(context);
    const bool resident =
        merge_.Advance([this](const SetMember& member) { Take(member); }, &complete_);
    if (!resident) return;
    if (!CheckReplySize(context, {.members = members_.size(), .bytes = size_})) return;
    complete_ |= reading_.limit != 0 && count_ >= reading_.limit;
    complete_ ? Complete(context) : AwaitTurn(context);
  }

  void Take(const SetMember& member) {
    ++count_;
    if (reading_.count_only) return;
    members_.push_back(bytes_.Copy(member.bytes));
    size_ += member.bytes.size();
  }

  // What has been found is what it was, whatever comes now.
  void Complete(CommandContext& context) {
    EndAttempt();
    merge_.Clear();
    if (reading_.count_only) {
      const uint64_t limit = reading_.limit != 0 ? reading_.limit : count_;
      return context.reply.Integer(static_cast<int64_t>(std::min(count_, limit)));
    }
    const SetLimits limits = SetLimitsOf(context);
    if (reading_.encoding != nullptr && members_.size() <= limits.max_intset_entries) {
      std::vector<std::string_view> members(members_.begin(), members_.end());
      if (reading_.encoding(members, limits) == SetEncoding::kIntset) SortIntegers(&members);
      members_.assign(members.begin(), members.end());
    }
    context.reply.SetHeader(static_cast<int64_t>(members_.size()));
    context.client.set_reply_open(true);
    ReplyPiece(context);
  }

  void ReplyPiece(CommandContext& context) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < kMembersAtOnce && bytes < kBytesAtOnce && !members_.empty(); ++i) {
      bytes += members_.front().size();
      context.reply.Bulk(members_.front());
      members_.pop_front();
    }
    if (!members_.empty()) return AwaitSent(context);
    context.client.set_reply_open(false);
  }

  void Restart(CommandContext& context) override {
    merge_.Clear();
    members_.clear();
    bytes_.Clear();
    count_ = size_ = 0;
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = Self()](CommandContext& context) { self->Begin(context); });
  }

  const SetReading reading_;
  SetMerge merge_;
  bool complete_ = false;
  std::deque<std::string_view> members_;
  ByteBlocks bytes_;
  uint64_t count_ = 0;
  uint64_t size_ = 0;
};

}  // namespace

void ReplyInSlices(CommandContext& context, const SetReading& reading) {
  if (!context.LeavePlace()) return;
  std::make_shared<SlicedReply>(reading)->Begin(context);
}

}  // namespace firn::server
