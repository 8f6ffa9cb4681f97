#include "engine/types/string_ops.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "engine/base/check.h"

namespace firn {
namespace {

constexpr size_t kMaxLongDoubleText = 5 * 1024;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// `parse` is strtod or strtold; `text` ends with a NUL behind `size` bytes.
template <typename Number, typename Parse>
bool ParseWhole(const char* text, size_t size, Parse parse, Number* value) {
  if (size == 0 || std::isspace(static_cast<unsigned char>(text[0]))) return false;
  char* end = nullptr;
  errno = 0;
  const Number parsed = parse(text, &end);
  const int error = errno;
  if (end != text + size || std::isnan(parsed)) return false;
  // A denormal result is reported as out of range as well, but is good.
  if (error == ERANGE && (std::isinf(parsed) || parsed == 0)) return false;
  *value = parsed;
  return true;
}

// A finite number as its shortest digits, an integer, times ten to the power of `exponent`.
struct Digits {
  char text[20];
  int size = 0;
  int exponent = 0;
};

Digits ShortestDigits(double magnitude) {
  char scientific[32];
  const auto [end, error] =
      std::to_chars(scientific, std::end(scientific), magnitude, std::chars_format::scientific);
  CHECK(error == std::errc());
  Digits digits;
  const char* at = scientific;
  for (; at != end && *at != 'e'; ++at) {
    if (IsDigit(*at)) digits.text[digits.size++] = *at;
  }
  ++at;  // the e
  if (*at == '+') ++at;
  std::from_chars(at, end, digits.exponent);
  digits.exponent -= digits.size - 1;
  return digits;
}

std::string FormatDigits(const Digits& digits) {
  constexpr int kMaxZerosAppended = 7;
  constexpr int kMaxFraction = 6;
  constexpr int kMaxSmallExponent = 3;
  const std::string_view text(digits.text, digits.size);
  const int leading = digits.exponent + digits.size - 1;  // the first digit's power of ten
  const int magnitude = std::abs(leading);
  std::string out;
  if (digits.exponent >= 0 && digits.exponent <= kMaxZerosAppended) {
    return out.append(text).append(digits.exponent, '0');
  }
  if (digits.exponent < 0 && (digits.exponent >= -kMaxFraction || magnitude <= kMaxSmallExponent)) {
    const int whole = digits.size + digits.exponent;
    if (whole <= 0) return out.append("0.").append(-whole, '0').append(text);
    return out.append(text.substr(0, whole)).append(".").append(text.substr(whole));
  }
  out.append(text.substr(0, 1));
  if (digits.size > 1) out.append(".").append(text.substr(1));
  out.append(leading < 0 ? "e-" : "e+");
  return out.append(std::to_string(magnitude));
}

}  // namespace

// --- integers

bool ParseInteger(std::string_view text, int64_t* value) {
  if (text.empty() || text.size() > kMaxIntegerDigits) return false;
  const bool negative = text[0] == '-';
  const std::string_view digits = text.substr(negative);
  if (digits.empty() || !IsDigit(digits[0])) return false;
  if (digits[0] == '0' && text.size() > 1) return false;
  // 19 digits at most, so the sum doesn't overflow.
  if (digits.size() > std::numeric_limits<int64_t>::digits10 + 1) return false;
  uint64_t magnitude = 0;
  for (char c : digits) {
    const auto digit = static_cast<uint8_t>(c - '0');
    if (digit > 9) return false;
    magnitude = magnitude * 10 + digit;
  }
  const uint64_t limit = static_cast<uint64_t>(std::numeric_limits<int64_t>::max()) + negative;
  if (magnitude > limit) return false;
  *value = static_cast<int64_t>(negative ? -magnitude : magnitude);
  return true;
}

int WriteInteger(int64_t value, char* digits) {
  return static_cast<int>(std::to_chars(digits, digits + kMaxIntegerDigits, value).ptr - digits);
}

std::string FormatInteger(int64_t value) {
  char digits[kMaxIntegerDigits];
  return {digits, static_cast<size_t>(WriteInteger(value, digits))};
}

// --- floating point numbers

bool ParseLongDouble(std::string_view text, long double* value) {
  if (text.size() >= kMaxLongDoubleText) return false;
  char copy[kMaxLongDoubleText];
  copy[text.copy(copy, text.size())] = '\0';
  return ParseWhole(copy, text.size(), strtold, value);
}

bool ParseDouble(std::string_view text, double* value) {
  const std::string copy(text);
  return ParseWhole(copy.c_str(), copy.size(), strtod, value);
}

std::string FormatLongDouble(long double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // The biggest long double has 4933 digits before the point.
  char text[kMaxLongDoubleText];
  const int size = std::snprintf(text, sizeof text, "%.17Lf", value);
  CHECK(size > 0 && static_cast<size_t>(size) < sizeof text);
  std::string_view trimmed(text, size);
  trimmed = trimmed.substr(0, trimmed.find_last_not_of('0') + 1);
  if (trimmed.ends_with('.')) trimmed.remove_suffix(1);
  return trimmed == "-0" ? "0" : std::string(trimmed);
}

std::string FormatDouble(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  if (value == 0) return std::signbit(value) ? "-0" : "0";
  // Redis prints integers as such up to half of the range of an int64.
  constexpr double kMaxExact = 0x1p62;
  if (std::abs(value) <= kMaxExact && value == std::trunc(value)) {
    return FormatInteger(static_cast<int64_t>(value));
  }
  std::string text = FormatDigits(ShortestDigits(std::abs(value)));
  if (value < 0) text.insert(text.begin(), '-');
  return text;
}

// --- parts of strings

ByteRange ClampRange(uint64_t length, IndexRange range) {
  auto [first, last] = range;
  if (length == 0 || (first < 0 && last < 0 && first > last)) return {};
  CHECK(length <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  const auto end = static_cast<int64_t>(length);
  if (first < 0) first = std::max<int64_t>(first + end, 0);
  if (last < 0) last = std::max<int64_t>(last + end, 0);
  last = std::min(last, end - 1);
  if (first > last) return {};
  return {static_cast<uint64_t>(first), static_cast<uint64_t>(last - first + 1)};
}

// --- longest common subsequence

namespace {

// The lengths L(i, j) of the common subsequence of the first i bytes of a and j of b are computed
// row by row; what is kept of each pair is only whether L(i - 1, j) > L(i, j - 1), which is all
// that the way back needs.
class LcsTable {
 public:
  LcsTable(LcsInput input, bool keep_way_back) : a_(input.a), b_(input.b) {
    if (keep_way_back) up_.resize(a_.size() * b_.size());
    std::vector<uint32_t> row(b_.size() + 1);
    for (size_t i = 0; i < a_.size(); ++i) NextRow(i, keep_way_back, row.data());
    length_ = row.back();
  }
  uint32_t length() const { return length_; }
  // For the first i and j bytes, whose last ones differ.
  bool GoesUp(size_t i, size_t j) const { return up_[(i - 1) * b_.size() + (j - 1)]; }

 private:
  // Turns L(i, ...) into L(i + 1, ...).
  void NextRow(size_t i, bool keep_way_back, uint32_t* row) {
    uint32_t diagonal = 0;
    uint32_t left = 0;
    for (size_t j = 0; j < b_.size(); ++j) {
      const uint32_t up = row[j + 1];
      if (a_[i] == b_[j]) {
        left = diagonal + 1;
      } else {
        if (keep_way_back && up > left) up_[i * b_.size() + j] = true;
        left = std::max(up, left);
      }
      diagonal = up;
      row[j + 1] = left;
    }
  }

  std::string_view a_;
  std::string_view b_;
  std::vector<bool> up_;
  uint32_t length_ = 0;
};

}  // namespace

bool LcsAccepts(LcsInput input) {
  constexpr uint64_t kLimit = std::numeric_limits<uint32_t>::max() - 1;
  return input.a.size() < kLimit && input.b.size() < kLimit;
}

uint64_t LcsTableBytes(LcsInput input) {
  CHECK(LcsAccepts(input));
  uint64_t bytes;
  const uint64_t cells = (input.a.size() + 1) * (input.b.size() + 1);
  if (__builtin_mul_overflow(cells, sizeof(uint32_t), &bytes)) return ~uint64_t{0};
  return bytes;
}

LcsResult LongestCommonSubsequence(LcsInput input, LcsWanted wanted, uint64_t min_match_size) {
  CHECK(LcsAccepts(input));
  const LcsTable table(input, wanted != LcsWanted::kLength);
  LcsResult result;
  result.length = table.length();
  if (wanted == LcsWanted::kLength) return result;

  LcsMatch match;
  bool in_match = false;
  auto end_match = [&] {
    if (in_match && wanted == LcsWanted::kMatches && match.length() >= min_match_size) {
      result.matches.push_back(match);
    }
    in_match = false;
  };
  if (wanted == LcsWanted::kSequence) result.common.resize(table.length());
  auto i = static_cast<uint32_t>(input.a.size());
  auto j = static_cast<uint32_t>(input.b.size());
  uint32_t left = table.length();
  while (i > 0 && j > 0) {
    if (input.a[i - 1] == input.b[j - 1]) {
      --i, --j, --left;
      if (wanted == LcsWanted::kSequence) result.common[left] = input.a[i];
      if (!in_match) match = {.a_last = i, .b_last = j};
      match.a_first = i;
      match.b_first = j;
      in_match = true;
    } else {
      end_match();
      if (table.GoesUp(i, j)) {
        --i;
      } else {
        --j;
      }
    }
  }
  end_match();
  return result;
}

}  // namespace firn
