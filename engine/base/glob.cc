#include "engine/base/glob.h"

#include <cstddef>
#include <utility>

namespace firn {
namespace {

// Redis compares the ends of a range as signed chars; bytes above 127 sort before ASCII.
using Byte = signed char;

Byte Lower(Byte c) { return c >= 'A' && c <= 'Z' ? static_cast<Byte>(c + ('a' - 'A')) : c; }

bool Equal(Byte a, Byte b, GlobCase letter_case) {
  return a == b || (letter_case == GlobCase::kIgnoreAscii && Lower(a) == Lower(b));
}

bool InRange(Byte from, Byte to, Byte c, GlobCase letter_case) {
  if (from > to) {
    std::swap(from, to);
  }
  if (letter_case == GlobCase::kIgnoreAscii) {
    return Lower(c) >= Lower(from) && Lower(c) <= Lower(to);
  }
  return c >= from && c <= to;
}

// Matches `c` against the class whose '[' is at `*position`, and moves `*position` behind it.
bool MatchClass(std::string_view pattern, size_t* position, Byte c, GlobCase letter_case) {
  size_t i = *position + 1;
  const bool negated = i < pattern.size() && pattern[i] == '^';
  if (negated) {
    i++;
  }
  bool matched = false;
  while (i < pattern.size()) {
    const size_t left = pattern.size() - i;
    if (pattern[i] == '\\' && left >= 2) {
      matched |= static_cast<Byte>(pattern[i + 1]) == c;  // an escape is compared as it is written
      i += 2;
    } else if (pattern[i] == ']') {
      i++;
      break;
    } else if (left >= 3 && pattern[i + 1] == '-') {
      matched |= InRange(pattern[i], pattern[i + 2], c, letter_case);
      i += 3;
    } else {
      matched |= Equal(pattern[i], c, letter_case);
      i++;
    }
  }
  *position = i;
  return matched != negated;
}

// Matches one byte against the element at `*position` and moves behind it. The element is no star.
bool MatchOne(std::string_view pattern, size_t* position, Byte c, GlobCase letter_case) {
  switch (pattern[*position]) {
    case '?':
      ++*position;
      return true;
    case '[':
      return MatchClass(pattern, position, c, letter_case);
    case '\\':
      if (*position + 1 < pattern.size()) {
        ++*position;
      }
      [[fallthrough]];
    default:
      return Equal(pattern[(*position)++], c, letter_case);
  }
}

// Redis gives up on patterns that nest deeper.
constexpr int kMaxStars = 1000;

}  // namespace

bool GlobMatch(std::string_view pattern, std::string_view text, GlobCase letter_case) {
  if (text.empty()) {
    return pattern.empty();
  }
  size_t p = 0;
  size_t t = 0;
  // Where to go on when an element does not match: the last star takes one byte more. Earlier stars
  // need no second try: whatever they could take, the last one can take as well.
  bool star_seen = false;
  int stars = 0;
  size_t after_star = 0;
  size_t star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      const bool adjacent = star_seen && p == after_star;
      if (!adjacent && p + 1 < pattern.size() && ++stars > kMaxStars) {
        return false;
      }
      after_star = ++p;
      star_text = t;
      star_seen = true;
      if (p == pattern.size()) {
        return true;
      }
      continue;
    }
    if (p < pattern.size() && MatchOne(pattern, &p, static_cast<Byte>(text[t]), letter_case)) {
      t++;
      continue;
    }
    if (!star_seen) {
      return false;
    }
    p = after_star;
    t = ++star_text;
  }
  while (p < pattern.size() && pattern[p] == '*') {
    p++;
  }
  return p == pattern.size();
}

bool IsGlobPattern(std::string_view pattern) {
  return pattern.find_first_of("[*?") != std::string_view::npos;
}

}  // namespace firn
