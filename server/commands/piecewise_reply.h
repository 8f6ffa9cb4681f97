// Replies that give so much of a big collection that neither it nor they should be in RAM as a
// whole: piece by piece, as fast as the client takes them, and with turns for others in between.
// The client gets the collection as it was when its command ran.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "engine/page/packed_page.h"
#include "server/command.h"

namespace firn::server {

// Whether a reply with so many elements of a collection is given in pieces. Not within transactions
// and scripts.
bool RepliesInPieces(const CommandContext& context, std::string_view root, uint64_t elements);

struct PiecewiseReply {
  HashedKey key;
  // Ranks in its tree of elements, and how many; given from the last to the first if `backward`.
  uint64_t first = 0;
  uint64_t count = 0;
  bool backward = false;
  std::function<void(CommandContext& context)> header;
  std::function<void(CommandContext& context, const PackedRow& row)> row;
  // Called behind the last row; may be empty.
  std::function<void(CommandContext& context)> end = {};
  // If given, all rows are first given to it, for a header that depends on them. The reply can
  // still be an error then.
  std::function<void(const PackedRow& row)> measure = {};
};

// Replies. The last thing that a command's function does. REQUIRES: RepliesInPieces.
void ReplyInPieces(CommandContext& context, PiecewiseReply reply);

}  // namespace firn::server
