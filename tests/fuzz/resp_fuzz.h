// What the fuzzer of the RESP parser does with one input, shared with the test that replays its
// corpus. The first byte chooses the limits and how the rest is cut into pieces; the rest is a
// client's byte stream.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "server/resp/parser.h"

namespace firn::server {

// What a parser made of a stream: its requests, and how it ended.
struct ParsedStream {
  std::vector<std::vector<std::string>> requests;  // empty for one that was too large
  std::string error;
  bool operator==(const ParsedStream&) const = default;
};

// Feeds a parser `piece` bytes at a time, as a connection does: what was not used up is kept, and
// what comes next is appended to it.
inline ParsedStream ParseInPieces(std::string_view stream, size_t piece,
                                  const ParserLimits& limits) {
  RequestParser parser;
  ParsedStream out;
  std::string kept;
  while (!stream.empty()) {
    // A copy of its own, so that a sanitizer sees what reads beyond the end.
    kept += std::string(stream.substr(0, piece));
    stream.remove_prefix(std::min(piece, stream.size()));
    const std::string bytes = std::exchange(kept, {});
    size_t used = 0;
    while (used < bytes.size()) {
      auto outcome = parser.Parse(std::string_view(bytes).substr(used), limits);
      CHECK(parser.consumed() <= bytes.size() - used);
      used += parser.consumed();
      if (outcome == RequestParser::Outcome::kNeedMore) break;
      if (outcome == RequestParser::Outcome::kError) {
        CHECK(!parser.error().empty());
        out.error = parser.error();
        return out;
      }
      CHECK(parser.consumed() > 0);
      auto& request = out.requests.emplace_back();
      if (outcome == RequestParser::Outcome::kTooLarge) continue;
      for (std::string_view arg : parser.args()) request.emplace_back(arg);
    }
    kept = bytes.substr(used);
  }
  return out;
}

inline void FuzzResp(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const uint8_t choice = data[0];
  std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  ParserLimits limits;
  limits.authenticated = (choice & 1) != 0;
  if (choice & 2) limits.max_request_bytes = 256;
  if (choice & 4) limits.max_bulk_bytes = 1024;
  const ParsedStream whole = ParseInPieces(stream, stream.size() + 1, limits);
  const ParsedStream pieces = ParseInPieces(stream, 1 + (choice >> 3), limits);
  // How the network cut the stream must not matter.
  CHECK(whole == pieces);
}

}  // namespace firn::server
