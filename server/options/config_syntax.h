// The small grammars of redis.conf: words with quotes, whole numbers, amounts of memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace firn::server {

// Splits a line into words at white space. "..." knows \n \r \t \a \b \xHH and \ before any other
// byte; '...' knows \' only. Nothing if a quote is not closed or is followed by more of a word.
std::optional<std::vector<std::string>> SplitWords(std::string_view line);

// `text` in double quotes, so that SplitWords gives it back as one word whatever bytes it holds.
std::string QuoteWord(std::string_view text);

// Splits at every single space; two spaces in a row give an empty word, an empty text no word. This
// is how CONFIG SET cuts the value of an option that takes several arguments.
std::vector<std::string> SplitAtSpaces(std::string_view text);
std::string JoinWords(const std::vector<std::string>& words);

// A whole decimal number as clients write it: no sign but '-', no spaces, no leading zeros.
std::optional<int64_t> ParseInteger(std::string_view text);

// A number as C's strtoll reads it to the end of the text: leading spaces, a sign and leading zeros
// are fine, and an empty text is 0. Out of range saturates.
std::optional<int64_t> ParseLooseInteger(std::string_view text, int base = 10);

// Digits and one of b k kb m mb g gb in any case; k is 1000, kb is 1024. The product wraps around
// as in Redis, so it may be any 64 bits.
std::optional<uint64_t> ParseMemory(std::string_view text);
// The shortest exact form with kb, mb or gb: 1073741824 becomes "1gb".
std::string FormatMemory(uint64_t bytes);

bool EqualIgnoringCase(std::string_view a, std::string_view b);
std::string LowerCase(std::string_view text);

}  // namespace firn::server
