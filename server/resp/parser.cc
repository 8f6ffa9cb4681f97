#include "server/resp/parser.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "server/options/config_syntax.h"

namespace firn::server {
namespace {

constexpr int64_t kMaxUnauthenticatedArguments = 10;
constexpr int64_t kMaxUnauthenticatedBulk = 16384;
// Room for so many arguments is made at once; more as they come, so that a count alone takes no
// memory.
constexpr int64_t kReservedArguments = 1024;

bool ParseNumber(std::string_view text, int64_t* value) {
  bool leading = text.size() > 1 && (text[0] == '0' || (text[0] == '-' && text[1] == '0'));
  if (text.empty() || leading) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void RequestParser::Restart() {
  position_ = 0;
  arguments_left_ = -1;
  bulk_size_ = -1;
  request_bytes_ = 0;
  discarding_ = false;
  ranges_.clear();
}

RequestParser::Outcome RequestParser::Fail(std::string text) {
  error_ = std::move(text);
  consumed_ = 0;
  Restart();
  return Outcome::kError;
}

RequestParser::Outcome RequestParser::NeedMore() {
  // What is read past need not be kept.
  consumed_ = discarding_ ? position_ : 0;
  position_ -= consumed_;
  return Outcome::kNeedMore;
}

bool RequestParser::TakeLine(std::string_view bytes, std::string_view* line) {
  const void* end = std::memchr(bytes.data() + position_, '\r', bytes.size() - position_);
  if (end == nullptr) return false;
  size_t at = static_cast<size_t>(static_cast<const char*>(end) - bytes.data());
  if (at + 1 >= bytes.size()) return false;
  *line = bytes.substr(position_, at - position_);
  position_ = at + 2;
  return true;
}

RequestParser::Outcome RequestParser::Parse(std::string_view bytes, const ParserLimits& limits) {
  if (bytes.empty()) return Outcome::kNeedMore;
  needed_ = 0;
  consumed_ = 0;
  if (arguments_left_ < 0 && bytes[0] != '*') return ParseInline(bytes);
  return ParseArray(bytes, limits);
}

RequestParser::Outcome RequestParser::ParseInline(std::string_view bytes) {
  const void* newline = std::memchr(bytes.data(), '\n', bytes.size());
  if (newline == nullptr) {
    if (bytes.size() > kMaxInlineBytes) return Fail("Protocol error: too big inline request");
    return Outcome::kNeedMore;
  }
  size_t end = static_cast<size_t>(static_cast<const char*>(newline) - bytes.data());
  std::string_view line = bytes.substr(0, end);
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  auto words = SplitWords(line);
  if (!words) return Fail("Protocol error: unbalanced quotes in request");
  inline_words_ = std::move(*words);
  args_.assign(inline_words_.begin(), inline_words_.end());
  consumed_ = end + 1;
  return Outcome::kRequest;
}

RequestParser::Outcome RequestParser::ParseArray(std::string_view bytes,
                                                 const ParserLimits& limits) {
  std::string_view line;
  if (arguments_left_ < 0) {
    position_ = 1;
    if (!TakeLine(bytes, &line)) {
      if (bytes.size() > kMaxInlineBytes) {
        return Fail("Protocol error: too big mbulk count string");
      }
      position_ = 0;
      return Outcome::kNeedMore;
    }
    int64_t count;
    if (!ParseNumber(line, &count) || count > kMaxArguments) {
      return Fail("Protocol error: invalid multibulk length");
    }
    if (!limits.authenticated && count > kMaxUnauthenticatedArguments) {
      return Fail("Protocol error: unauthenticated multibulk length");
    }
    arguments_left_ = std::max<int64_t>(count, 0);
    ranges_.reserve(static_cast<size_t>(std::min(arguments_left_, kReservedArguments)));
  }
  while (arguments_left_ > 0) {
    if (bulk_size_ < 0) {
      if (position_ >= bytes.size()) return NeedMore();
      size_t line_begin = position_;
      if (!TakeLine(bytes, &line)) {
        if (bytes.size() - line_begin > kMaxInlineBytes) {
          return Fail("Protocol error: too big bulk count string");
        }
        return NeedMore();
      }
      if (line.empty() || line[0] != '$') {
        std::string got(1, line.empty() ? '\r' : line[0]);
        return Fail("Protocol error: expected '$', got '" + got + "'");
      }
      int64_t size;
      if (!ParseNumber(line.substr(1), &size) || size < 0 ||
          static_cast<uint64_t>(size) > limits.max_bulk_bytes) {
        return Fail("Protocol error: invalid bulk length");
      }
      if (!limits.authenticated && size > kMaxUnauthenticatedBulk) {
        return Fail("Protocol error: unauthenticated bulk length");
      }
      bulk_size_ = size;
      request_bytes_ += static_cast<uint64_t>(size) + 16;
      if (request_bytes_ > limits.max_request_bytes && !discarding_) {
        discarding_ = true;
        ranges_.clear();
      }
    }
    uint64_t end = position_ + static_cast<uint64_t>(bulk_size_) + 2;
    if (end > bytes.size()) {
      if (discarding_) {
        // Read past what is here, and remember how much of this argument is still to come.
        uint64_t skipped = std::min<uint64_t>(bytes.size() - position_, bulk_size_);
        position_ += skipped;
        bulk_size_ -= static_cast<int64_t>(skipped);
      }
      needed_ = discarding_ ? 0 : end;
      return NeedMore();
    }
    if (!discarding_) ranges_.push_back({position_, static_cast<size_t>(bulk_size_)});
    position_ = end;
    bulk_size_ = -1;
    --arguments_left_;
  }
  return Finish(bytes);
}

RequestParser::Outcome RequestParser::Finish(std::string_view bytes) {
  bool too_large = discarding_;
  args_.clear();
  for (const Range& range : ranges_) args_.push_back(bytes.substr(range.offset, range.size));
  consumed_ = position_;
  Restart();
  return too_large ? Outcome::kTooLarge : Outcome::kRequest;
}

}  // namespace firn::server
