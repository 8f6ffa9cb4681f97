#include "bench/firn_bench/reply.h"

#include <charconv>
#include <cstring>

namespace firn::bench {

namespace {

constexpr int64_t kMaxBulkBytes = int64_t{1} << 30;
constexpr int64_t kMaxElements = int64_t{1} << 30;
constexpr int kMaxDepth = 8;
constexpr Parsed kGarbageInput = {ParseState::kGarbage, 0};

Parsed ParseNested(std::string_view input, Reply* reply, int depth);

Parsed ParseBulk(std::string_view input, size_t header, Reply* reply) {
  if (reply->integer == -1) {
    reply->kind = ReplyKind::kNull;
    return {ParseState::kDone, header};
  }
  if (reply->integer < 0 || reply->integer > kMaxBulkBytes) return kGarbageInput;
  auto size = static_cast<size_t>(reply->integer);
  if (input.size() < header + size + 2) return {};
  if (input[header + size] != '\r' || input[header + size + 1] != '\n') return kGarbageInput;
  reply->kind = ReplyKind::kBulk;
  reply->text = input.substr(header, size);
  return {ParseState::kDone, header + size + 2};
}

Parsed ParseArray(std::string_view input, size_t header, Reply* reply, int depth) {
  if (reply->integer == -1) {
    reply->kind = ReplyKind::kNull;
    return {ParseState::kDone, header};
  }
  if (reply->integer < 0 || reply->integer > kMaxElements || depth == kMaxDepth) {
    return kGarbageInput;
  }
  size_t at = header;
  for (int64_t i = 0; i < reply->integer; ++i) {
    Reply element;
    Parsed parsed = ParseNested(input.substr(at), &element, depth + 1);
    if (parsed.state != ParseState::kDone) return parsed;
    at += parsed.bytes;
  }
  reply->kind = ReplyKind::kArray;
  reply->text = input.substr(header, at - header);
  return {ParseState::kDone, at};
}

Parsed ParseNested(std::string_view input, Reply* reply, int depth) {
  const void* found = input.empty() ? nullptr : std::memchr(input.data(), '\n', input.size());
  if (found == nullptr) return {};
  size_t header = static_cast<size_t>(static_cast<const char*>(found) - input.data()) + 1;
  if (header < 3 || input[header - 2] != '\r') return kGarbageInput;
  std::string_view line = input.substr(1, header - 3);
  char type = input[0];
  if (type == '+' || type == '-') {
    reply->kind = type == '+' ? ReplyKind::kSimple : ReplyKind::kError;
    reply->text = line;
    return {ParseState::kDone, header};
  }
  auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), reply->integer);
  if (error != std::errc() || end != line.data() + line.size()) return kGarbageInput;
  if (type == '$') return ParseBulk(input, header, reply);
  if (type == '*') return ParseArray(input, header, reply, depth);
  reply->kind = ReplyKind::kInteger;
  return {type == ':' ? ParseState::kDone : ParseState::kGarbage, header};
}

}  // namespace

Parsed ParseReply(std::string_view input, Reply* reply) { return ParseNested(input, reply, 0); }

}  // namespace firn::bench
