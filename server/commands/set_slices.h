// SUNIONSTORE, SINTERSTORE and SDIFFSTORE of large sets: in slices, one an iteration, so that
// nobody but who gave the command waits for their size.
//
// Sets of one server lie in the order of one keyed hash. So the operands are read leaf by leaf, as
// they were when it began; what comes out is in that order, too, and is made a set leaf by leaf. If
// an operand has changed when the last leaf is made, all of it was in vain and begins anew; after
// a few times the command runs in one go.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/types/set_value.h"
#include "server/command.h"

namespace firn::server {

enum class SetOperation : uint8_t { kIntersect, kUnite, kSubtract };

struct SetStore {
  SetOperation operation = SetOperation::kUnite;
  std::string_view event;  // of the keyspace notification
  // What OBJECT ENCODING shows of a result that is small.
  SetEncoding (*encoding)(std::span<const std::string_view> members, const SetLimits& limits);
  // The command in one go: called with all keys planned.
  void (*whole)(CommandContext& context, const SetStore& store);
};

// Whether it is worth it. `counts` are those of the operands, in their order.
bool StoresInSlices(const CommandContext& context, SetOperation operation,
                    std::span<const uint64_t> counts);
// The last thing that the command's function does: context.keys are the key that is stored to and
// the operands, sets or absent. No object on a collection of theirs lives.
void StoreInSlices(CommandContext& context, const SetStore& store);

}  // namespace firn::server
