// What the string commands compute: pure functions on byte strings. They accept and print exactly
// what Redis 7.2 does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace firn {

// --- integers

// Decimal digits of a 64-bit integer and nothing else: no spaces, no plus, no leading zeros, no
// "-0". So a text that parses is the text that the number prints as.
bool ParseInteger(std::string_view text, int64_t* value);
// Whether a string of this text can be kept as an integer.
inline bool IsInteger(std::string_view text) {
  int64_t value;
  return ParseInteger(text, &value);
}

inline constexpr int kMaxIntegerDigits = 20;  // "-9223372036854775808"
// Writes at most kMaxIntegerDigits bytes to `digits`; returns how many.
int WriteInteger(int64_t value, char* digits);
std::string FormatInteger(int64_t value);

// --- floating point numbers

// As C's strtold reads the whole of `text`, so with exponents, hexadecimal and "inf"; but spaces,
// NaN, texts of 5 KiB and more, and what is too big or too small for the type are refused.
bool ParseLongDouble(std::string_view text, long double* value);
bool ParseDouble(std::string_view text, double* value);  // as long as it may be

// Without exponent, 17 digits after the point, trailing zeros left out: as INCRBYFLOAT prints.
std::string FormatLongDouble(long double value);
// The shortest digits that read back as the same number, as replies print scores: "3", "0.1",
// "1e+21". (Redis itself prints one digit more than needed for one number in a thousand.)
std::string FormatDouble(double value);

// --- parts of strings

struct IndexRange {  // as GETRANGE takes it: inclusive, negative ones count from the end
  int64_t first = 0;
  int64_t last = -1;
};
struct ByteRange {
  uint64_t begin = 0;
  uint64_t size = 0;
};
// The bytes of a string of `length` bytes that `range` names, size 0 if none.
ByteRange ClampRange(uint64_t length, IndexRange range);

// --- longest common subsequence

struct LcsInput {
  std::string_view a;
  std::string_view b;
};
// A run of bytes common to both, with inclusive ends.
struct LcsMatch {
  uint32_t a_first = 0;
  uint32_t a_last = 0;
  uint32_t b_first = 0;
  uint32_t b_last = 0;
  uint32_t length() const { return a_last - a_first + 1; }
};
struct LcsResult {
  uint64_t length = 0;
  std::string common;             // with kSequence
  std::vector<LcsMatch> matches;  // with kMatches: from the ends of the strings to their beginnings
};
enum class LcsWanted : uint8_t { kLength, kSequence, kMatches };

// Whether both strings are short enough for LCS at all.
bool LcsAccepts(LcsInput input);
// The table that Redis would allocate, which it holds against proto-max-bulk-len. Ours takes a
// 32nd of it. REQUIRES: LcsAccepts.
uint64_t LcsTableBytes(LcsInput input);
// Time is a.size() x b.size(). Matches shorter than `min_match_size` are left out. REQUIRES:
// LcsAccepts.
LcsResult LongestCommonSubsequence(LcsInput input, LcsWanted wanted, uint64_t min_match_size = 0);

}  // namespace firn
