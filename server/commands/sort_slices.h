// SORT of a large value: its elements are copied slice by slice, as they were when it began, sorted
// on another thread, and given to the client, or written as a list, slice by slice. If the value
// has changed before the list gets its key, it begins anew (SlicedCommand::BeginAttempt).
//
// What patterns name is read slice by slice, too. It must be what the keys hold at one moment, so
// that whoever would change one of them waits meanwhile.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/types/zset_value.h"
#include "server/command.h"
#include "server/commands/sort_pattern.h"

namespace firn::server {

struct SlicedSort {
  bool descending = false;
  bool alpha = false;
  bool unsorted = false;  // as the value has its elements
  // Which elements are answered, of what has been sorted; those of an unsorted one are the `ranks`.
  uint64_t first = 0;
  uint64_t count = 0;
  RankRange ranks;
  // What they are sorted by, if a pattern names it.
  std::optional<SortPattern> by;
  // What is answered for each of them. Empty: itself, once.
  std::vector<SortPattern> gets;
  std::optional<std::string_view> store;
  // The command in one go; plans what it needs besides the source and the target.
  void (*whole)(CommandContext& context) = nullptr;
  // Reads this anew from a source that has changed; false: run it in one go.
  bool (*again)(CommandContext& context, SlicedSort* sort) = nullptr;
};

// What takes fewer elements, and what patterns name, is done at once.
inline constexpr uint64_t kManySortedElements = 10'000;

// The last thing that the command's function does. REQUIRES: args[1] names a list, set or sorted
// set, which is planned, as is the target. Not within transactions and scripts.
void SortInSlices(CommandContext& context, SlicedSort sort);

}  // namespace firn::server
