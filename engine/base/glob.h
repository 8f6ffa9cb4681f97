// Redis-style glob patterns, as in KEYS, SCAN MATCH, PSUBSCRIBE and CONFIG GET.
//
//   *        any bytes, also none         [abc]  one of these bytes
//   ?        exactly one byte             [a-z]  one byte of this range (either way round)
//   \x       x itself                     [^a]   one byte that is none of these
//
// Malformed patterns are no error; they mean what they mean in Redis: a class that is not closed
// ends with the pattern, a lone trailing backslash stands for itself, and "-" right before "]"
// makes a range that swallows the bracket.
#pragma once

#include <string_view>

namespace firn {

enum class GlobCase { kSensitive, kIgnoreAscii };

// True if `pattern` matches all of `text`. Both may hold any bytes. As in Redis, the empty text is
// matched by the empty pattern only, not by "*", and no text gets past 1000 runs of stars.
//
// Time is at most |pattern| x |text|, no memory is allocated: any client may send any pattern.
bool GlobMatch(std::string_view pattern, std::string_view text,
               GlobCase letter_case = GlobCase::kSensitive);

// True if `pattern` holds a byte that makes it more than a plain name (the test CONFIG GET uses).
bool IsGlobPattern(std::string_view pattern);

}  // namespace firn
