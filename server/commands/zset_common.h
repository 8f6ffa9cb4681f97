// What the sorted set commands share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/zset_value.h"
#include "server/commands/common.h"
#include "tiering/collection.h"

namespace firn::server {

inline constexpr std::string_view kRangeNotFloatError = "ERR min or max is not a float";
inline constexpr std::string_view kRangeNotLexError = "ERR min or max not valid string range item";

// The sorted set under a key, or none, for the command that runs.
class OpenZset {
 public:
  enum class Use : uint8_t { kRead, kWrite };
  // A read counts a hit or miss and sends the keymiss event.
  OpenZset(CommandContext& context, const HashedKey& key, Use use);

  bool exists() const { return pages_.exists(); }
  bool wrong_type() const { return pages_.wrong_type(); }
  // Answers WRONGTYPE and returns false if the key holds something else.
  bool CheckType(CommandContext& context) const;
  ZsetValue& value() { return value_; }
  // REQUIRES of both: exists().
  std::string_view encoding() { return ZsetEncoding(pages_.Root()); }
  std::string_view root() { return pages_.Root(); }

 private:
  Collection pages_;
  ZsetValue value_;
};

ZsetLimits ZsetLimitsOf(const CommandContext& context);

// --- arguments

bool ParseScoreOr(CommandContext& context, std::string_view text, double* score,
                  std::string_view error = kNotAFloatError);
struct BoundTexts {
  std::string_view min;
  std::string_view max;
};
// As Redis reads them: a number as C reads it, "(" before it leaves the bound itself out.
bool ParseScoreRangeOr(CommandContext& context, const BoundTexts& texts, ScoreRange* range);
bool ParseLexRangeOr(CommandContext& context, const BoundTexts& texts, LexRange* range);
// Ranks as a client gives them, negative ones from the end, of a set with `count` elements.
struct GivenRanks {
  int64_t first = 0;
  int64_t last = 0;
};
RankRange ClampRanks(const GivenRanks& given, uint64_t count);

// --- replies

// The header of `count` elements, and each of them: with scores, RESP3 has pairs.
void ReplyElementsHeader(CommandContext& context, uint64_t count, bool with_scores);
void ReplyElement(CommandContext& context, const ZsetElement& element, bool with_scores);
// Whether a reply that takes this many elements stays within MaxReplyBytes; if not, answers with an
// error. REQUIRES: the elements are in RAM.
bool CheckReplySize(CommandContext& context, ZsetValue& value, RankRange ranks);

// --- changes

// Tells that a sorted set was changed, and that it is gone if it is.
void NoteZsetChange(CommandContext& context, const HashedKey& key, std::string_view event,
                    bool gone);

// Elements with bytes of their own, for a value that is about to be stored.
class ElementCopies {
 public:
  void Add(const ZsetElement& element);
  size_t size() const { return entries_.size(); }
  // Valid until the next Add.
  std::vector<ZsetElement> Elements() const;

 private:
  struct Entry {
    size_t offset;
    size_t size;
    double score;
  };
  std::string bytes_;
  std::vector<Entry> entries_;
};
// Makes the key the sorted set of these elements, whatever it was; deletes it if there are none.
// Answers with their number. REQUIRES: no object on a collection of the key lives.
void StoreZset(CommandContext& context, const HashedKey& key, const ElementCopies& elements,
               std::string_view event);

// --- taking elements from the ends

enum class ZsetEnd : uint8_t { kMin, kMax };
struct PopRequest {
  ZsetEnd end = ZsetEnd::kMin;
  uint64_t count = 1;
  bool nested = false;    // a pair for each element
  bool emit_key = false;  // the key comes first
};
enum class PopResult : uint8_t { kMissing, kAbsent, kDone };
// Takes elements and answers with them. kDone as well if the type is wrong, with that error.
PopResult PopFromZset(CommandContext& context, const HashedKey& key, const PopRequest& request);

struct MultiPopArguments {
  size_t first_key = 0;
  size_t keys = 0;
  PopRequest request;
};
// numkeys, keys, MIN or MAX, and COUNT of ZMPOP and BZMPOP; `at` is the place of numkeys.
bool ParseMultiPopOr(CommandContext& context, size_t at, MultiPopArguments* arguments);

}  // namespace firn::server
