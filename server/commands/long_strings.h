// Strings of any length, for the commands on strings: in one piece, or piece by piece. A string in
// pages (Database::KeyInfo::is_long) may lack some of them in RAM: then a command changes and
// replies nothing, and runs again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "server/command.h"

namespace firn::server {

// The bytes of a whole string: where they are, or put together.
class WholeString {
 public:
  // False: pages are missing. REQUIRES: `info` is that of a string that exists.
  bool Load(Database& db, const HashedKey& key, const Database::KeyInfo& info);
  // Valid until the next change of the keyspace.
  std::string_view bytes() const { return is_long_ ? std::string_view(copy_) : value_.bytes(); }

 private:
  StringValue value_;
  std::string copy_;
  bool is_long_ = false;
};

// Answers with a string as a whole. False: pages are missing, and nothing was answered. REQUIRES:
// as WholeString::Load.
bool ReplyWholeString(CommandContext& context, const HashedKey& key, const Database::KeyInfo& info);

// Whether a part of a long string is better read in pieces (WalkString): there is much of it, and
// the command is none of a transaction or a script.
bool IsReadInPieces(const CommandContext& context, StringRange range);

// A part of a long string as it is now, piece by piece, with turns for others in between.
struct StringWalk {
  HashedKey key;
  StringRange range;
  bool is_reply = false;  // pieces are part of the reply: not faster than the client takes them
  // Says false if it needs no more.
  std::function<bool(CommandContext& context, std::string_view piece)> visit;
  std::function<void(CommandContext& context)> done;
};
// The last thing that a command's function does, but for what it has to reply before. REQUIRES:
// IsReadInPieces and CommandContext::LeavePlace; a long string.
void WalkString(CommandContext& context, StringWalk walk);

// Answers with a part of a long string, in pieces if that is better. The last thing that a
// command's function does.
void ReplyLongString(CommandContext& context, const HashedKey& key, StringRange range);

}  // namespace firn::server
