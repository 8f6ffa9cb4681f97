// The functions of the list commands; the rows that name them are in list_rows.cc.
#pragma once

#include <span>
#include <string_view>

#include "engine/types/list_value.h"
#include "server/command.h"
#include "tiering/collection.h"

namespace firn::server {

struct ParsedRequest;

void BLMoveCommand(CommandContext& context);
void BLMPopCommand(CommandContext& context);
void BLPopCommand(CommandContext& context);
void BRPopCommand(CommandContext& context);
void BRPopLPushCommand(CommandContext& context);
void LIndexCommand(CommandContext& context);
void LInsertCommand(CommandContext& context);
void LLenCommand(CommandContext& context);
void LMoveCommand(CommandContext& context);
void LMPopCommand(CommandContext& context);
void LPopCommand(CommandContext& context);
void LPosCommand(CommandContext& context);
void LPushCommand(CommandContext& context);
void LPushXCommand(CommandContext& context);
void LRangeCommand(CommandContext& context);
void LRemCommand(CommandContext& context);
void LSetCommand(CommandContext& context);
void LTrimCommand(CommandContext& context);
void RPopCommand(CommandContext& context);
void RPopLPushCommand(CommandContext& context);
void RPushCommand(CommandContext& context);
void RPushXCommand(CommandContext& context);

// Several requests of one pipeline for one list, each with a reply of its own (dispatcher.h).
bool MergedLPush(CommandContext& context, std::span<const ParsedRequest> requests);
bool MergedRPush(CommandContext& context, std::span<const ParsedRequest> requests);
bool MergedLPop(CommandContext& context, std::span<const ParsedRequest> requests);
bool MergedRPop(CommandContext& context, std::span<const ParsedRequest> requests);

// --- shared by the files of the list commands

// The list of a key, for the command that runs. Collection options: what is read counts as a hit
// or a miss, what is written does not.
class ListAccess {
 public:
  enum class Purpose : uint8_t { kRead, kWrite };
  ListAccess(CommandContext& context, const HashedKey& key, Purpose purpose);
  // Answers WRONGTYPE and returns false if the key holds something else.
  bool CheckType();
  bool exists() const { return pages_.exists(); }
  Collection& pages() { return pages_; }
  ListValue& list() { return list_; }

 private:
  CommandContext& context_;
  Collection pages_;
  ListValue list_;
};

// LEFT or RIGHT; answers with a syntax error and returns false for anything else.
bool ParseListEndOr(CommandContext& context, std::string_view text, ListEnd* end);

// Pops up to `count` elements and replies with them as an array, or with the one as a bulk string
// if `count` is 0. Replies first with the head of an array and the key if `with_key`. Does nothing
// if pages are missing. REQUIRES: the key exists.
struct PopReply {
  ListEnd end = ListEnd::kHead;
  uint64_t count = 0;
  bool with_key = false;
};
void PopAndReply(CommandContext& context, const HashedKey& key, ListAccess* access, PopReply pop);

// Does so for the first of the command's keys that exists; false, without a reply, if none does.
// A key on the way that holds something else is an error.
bool PopFirstAndReply(CommandContext& context, PopReply pop);

// Moves an element from the first key to the second and replies with it. False if the first key
// does not exist: there is no reply then.
struct ListMove {
  ListEnd from = ListEnd::kHead;
  ListEnd to = ListEnd::kHead;
};
bool MoveAndReply(CommandContext& context, ListMove move);

// The options of LMPOP behind the number of keys, which is args[numkeys_at]. Answers with an error
// and returns false if they are wrong.
struct MultiPop {
  ListEnd end = ListEnd::kHead;
  int64_t keys = 0;
  int64_t count = 1;
};
bool ParseMultiPopOr(CommandContext& context, size_t numkeys_at, MultiPop* pop);

}  // namespace firn::server
