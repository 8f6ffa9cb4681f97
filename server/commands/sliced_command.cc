#include "server/commands/sliced_command.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/errands.h"
#include "server/server.h"
#include "tiering/io/loop.h"

namespace firn::server {
namespace {

constexpr int64_t kRoomMicros = 1000;
// The next piece of a reply is made when no more than this waits to be sent.
constexpr uint64_t kUnsentBytes = 256 << 10;
constexpr int64_t kOthersMicros = 1000;
constexpr int kFreeAttempts = 3;
// Only what can't be held back makes one of these vain.
constexpr int kHeldAttempts = 3;

}  // namespace

std::move_only_function<void()> SlicedCommand::NextSlice(CommandContext& context) {
  return [self = shared_from_this(), suspended = context.Suspend()] {
    suspended.Resume([self](CommandContext& context) {
      // Each slice has a plan of its own, so that what it brought may go when the next comes.
      if (std::exchange(self->waits_for_attempt_, false)) return self->Restart(context);
      RunWithKeys(context, {}, [self](CommandContext& context) { self->Step(context); });
    });
  };
}

void SlicedCommand::AwaitTurn(CommandContext& context, int64_t delay_micros) {
  io::Loop& loop = context.server.loop();
  if (delay_micros == 0) return loop.Post(NextSlice(context));
  loop.AddTimer(delay_micros, NextSlice(context));
}

void SlicedCommand::AwaitSent(CommandContext& context) {
  context.server.NoteActive(&context.client);
  context.client.WhenSent(kUnsentBytes, NextSlice(context));
}

void SlicedCommand::Compute(CommandContext& context, Job job) {
  context.server.errands().Compute(std::move(job), NextSlice(context));
}

KeyHold::Covers SlicedCommand::AnyOf(std::span<const KeyAccess> keys) {
  std::vector<std::string> names;
  for (const KeyAccess& access : keys) names.emplace_back(access.key.bytes);
  return [names = std::move(names)](std::string_view key) {
    return std::ranges::find(names, key) != names.end();
  };
}

void SlicedCommand::Restart(CommandContext&) { CHECK_MSG(false, "this command makes no attempts"); }

SlicedCommand::Attempt SlicedCommand::BeginAttempt(CommandContext& context, KeyHold::Covers covers,
                                                   Patience patience) {
  hold_.reset();
  if (patience == Patience::kSomeAttempts && attempts_ < kFreeAttempts) {
    ++attempts_;
    return Attempt::kBegun;
  }
  if (held_attempts_ == kHeldAttempts) return Attempt::kNone;
  if (context.server.held_keys().awaited()) {
    waits_for_attempt_ = true;
    AwaitTurn(context, kOthersMicros);
    return Attempt::kLater;
  }
  ++held_attempts_;
  hold_.emplace(context.server, context.client.db(), std::move(covers));
  return Attempt::kBegun;
}

bool SlicedCommand::WriteOr(CommandContext& context, DetachedValue* value) {
  const DetachedValue::Written written = value->WriteSlice();
  if (Status status = context.store.TakeRunError(); !status.ok()) {
    context.reply.Error("MISCONF Errors writing to the AOF file: " + status.message());
    return false;
  }
  switch (written) {
    case DetachedValue::Written::kAll:
      return true;
    case DetachedValue::Written::kMore:
      AwaitTurn(context);
      return false;
    case DetachedValue::Written::kLater:
      AwaitTurn(context, kRoomMicros);
      return false;
    case DetachedValue::Written::kFailed:
      context.reply.Error(kOutOfMemoryError);
      return false;
  }
  return false;
}

}  // namespace firn::server
