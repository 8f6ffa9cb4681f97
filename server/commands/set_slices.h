// SUNIONSTORE, SINTERSTORE and SDIFFSTORE of large sets: in slices, one an iteration, so that
// nobody but who gave the command waits for their size.
//
// What comes out of a SetMerge is in the order of a set's tree, and is made one leaf by leaf. If an
// operand has changed when the last leaf is made, all of it was in vain and begins anew; after
// a few times the command runs in one go.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/types/set_value.h"
#include "server/command.h"
#include "server/commands/set_merge.h"

namespace firn::server {

struct SetStore {
  SetOperation operation = SetOperation::kUnite;
  std::string_view event;  // of the keyspace notification
  // What OBJECT ENCODING shows of a result that is small.
  SetEncoding (*encoding)(std::span<const std::string_view> members, const SetLimits& limits);
  // The command in one go: called with all keys planned.
  void (*whole)(CommandContext& context, const SetStore& store);
};

// Whether it can be done, with the limits that are set.
bool StoresInSlices(const CommandContext& context);
// The last thing that the command's function does: context.keys are the key that is stored to and
// the operands, sets or absent. No object on a collection of theirs lives. REQUIRES:
// StoresInSlices, SetMerge::IsWorthSlices.
void StoreInSlices(CommandContext& context, const SetStore& store);

}  // namespace firn::server
