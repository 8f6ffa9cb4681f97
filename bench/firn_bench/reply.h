// RESP2 replies, parsed in place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace firn::bench {

enum class ReplyKind : uint8_t { kSimple, kError, kInteger, kBulk, kNull, kArray };

// Views into the buffer that was parsed.
struct Reply {
  ReplyKind kind = ReplyKind::kNull;
  // Line or bulk; of an array, all of its elements, as they came.
  std::string_view text;
  // The integer; of an array, the number of its elements.
  int64_t integer = 0;
};

enum class ParseState : uint8_t { kDone, kIncomplete, kGarbage };

struct Parsed {
  ParseState state = ParseState::kIncomplete;
  size_t bytes = 0;
};

// Parses one reply at the start of `input`.
Parsed ParseReply(std::string_view input, Reply* reply);

}  // namespace firn::bench
