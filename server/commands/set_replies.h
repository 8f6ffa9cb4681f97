// SUNION, SINTER, SDIFF and SINTERCARD of large sets: in slices, one an iteration, so that nobody
// but who gave the command waits for their size. What is answered is what the sets hold at the
// moment in which the command begins; it is kept in RAM until it is sent, within MaxReplyBytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/types/set_value.h"
#include "server/command.h"
#include "server/commands/set_merge.h"

namespace firn::server {

struct SetReading {
  SetOperation operation = SetOperation::kUnite;
  bool count_only = false;
  uint64_t limit = 0;  // of what is counted; 0: none
  // As what Redis would hold a small result: an intset comes out in order. Null if that is not to
  // be seen.
  SetEncoding (*encoding)(std::span<const std::string_view> members,
                          const SetLimits& limits) = nullptr;
  // The command in one go: called with all keys planned.
  void (*whole)(CommandContext& context) = nullptr;
};

// The last thing that the command's function does: context.keys are the operands, sets or absent.
// No object on a collection of theirs lives. REQUIRES: SetMerge::IsWorthSlices.
void ReplyInSlices(CommandContext& context, const SetReading& reading);

}  // namespace firn::server
