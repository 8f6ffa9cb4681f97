// ZUNIONSTORE, ZINTERSTORE, ZDIFFSTORE, ZRANGESTORE and GEOSEARCHSTORE of what is large: in slices,
// one an iteration, so that nobody but who gave the command waits for its size.
//
// What is needed of the sources is copied slice by slice, as it was when it began. The elements are
// joined, sorted and made the pages of a sorted set on another thread; an intersection or
// difference looks those of the first source up in the others, slice by slice, in the order in
// which they lie there. Then the pages are written, slice by slice. If a source has changed by
// then, all of it was in vain and begins anew (SlicedCommand::BeginAttempt).
//
// ZUNION, ZINTER, ZDIFF, ZINTERCARD and GEOSEARCH go the same way up to the joined and sorted
// elements, which they give in pieces: those of the moment in which it began, whatever changes.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/types/zset_value.h"
#include "server/command.h"
#include "server/commands/zset_combination.h"

namespace firn::server {

// What takes fewer elements and look-ups is done at once.
inline constexpr uint64_t kManyZsetElements = 10'000;

struct ZsetCombination {
  ZsetOperation operation = ZsetOperation::kUnion;
  std::vector<double> weights;  // of the sources in the order of their keys; empty: all are 1
  ZsetAggregate aggregate = ZsetAggregate::kSum;
  // The ranks of a single source that matter, if given: false if pages are missing, or an error was
  // answered.
  std::function<bool(CommandContext& context, ZsetValue& value, std::vector<RankRange>* ranks)>
      ranks = {};
  // Called on another thread, if given: leaves what is stored or answered, in its order, of the
  // elements of a single source, which come in the order of `ranks`.
  std::function<void(std::vector<ZsetElement>* elements)> choose = {};
  // Where a single source and the target are among the keys, if not where the others have them.
  struct Places {
    size_t target = 0;
    size_t source = 1;
  };
  std::optional<Places> places = {};
  // What becomes of the elements.
  enum class Use : uint8_t { kStore, kReply, kCount };
  Use use = Use::kStore;
  std::string_view event = {};  // of the keyspace notification, if they are stored
  bool with_scores = false;     // of a reply
  // Answers with one of what `choose` has left, if given.
  std::function<void(CommandContext& context, size_t i)> reply = {};
  uint64_t limit = std::numeric_limits<uint64_t>::max();  // of what is counted
  // The command in one go: called with all keys planned.
  void (*whole)(CommandContext& context) = nullptr;
};

// The last thing that the command's function does: context.keys are the key that is stored to, if
// one is, and the sources. No object on a collection of theirs lives. Not within transactions and
// scripts.
void CombineZsetsInSlices(CommandContext& context, ZsetCombination combination);

}  // namespace firn::server
