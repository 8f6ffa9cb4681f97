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
constexpr ptrdiff_t kPlainDigits = 17;
// What a request that is taken in one go has at most: arguments, and digits of a length.
constexpr uint64_t kFewArguments = 64;
constexpr ptrdiff_t kFewDigits = 9;

bool ParseNumber(std::string_view text, int64_t* value) {
  bool leading = text.size() > 1 && (text[0] == '0' || (text[0] == '-' && text[1] == '0'));
  if (text.empty() || leading) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// The number in the line that begins at `at`, which it moves behind the line; false unless all of
// the line is there, and the number is short, plain and not negative.
inline bool TakePlainNumber(const char*& at, const char* end, uint64_t* number) {
  const char* digit = at;
  if (digit >= end || static_cast<uint8_t>(*digit - '0') > 9) return false;
  uint64_t value = static_cast<uint8_t>(*digit++ - '0');
  while (digit < end && static_cast<uint8_t>(*digit - '0') <= 9) {
    value = 10 * value + static_cast<uint8_t>(*digit++ - '0');
  }
  const bool leading = *at == '0' && digit - at > 1;
  if (leading || digit - at > kFewDigits || end - digit < 2 || *digit != '\r') return false;
  at = digit + 2;
  *number = value;
  return true;
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

RequestParser::Header RequestParser::TakeHeader(std::string_view bytes, int64_t* number) {
  const char* const begin = bytes.data() + position_ + 1;
  const char* const end = bytes.data() + bytes.size();
  // Nearly every number is short and plain.
  const char* at = begin;
  int64_t value = 0;
  while (at < end && at - begin < kPlainDigits && *at >= '0' && *at <= '9') {
    value = 10 * value + (*at++ - '0');
  }
  if (end - at >= 2 && *at == '\r' && at > begin && (*begin != '0' || at == begin + 1)) {
    *number = value;
    position_ = static_cast<size_t>(at + 2 - bytes.data());
    return Header::kNumber;
  }
  const auto* newline =
      static_cast<const char*>(std::memchr(begin - 1, '\r', static_cast<size_t>(end - begin + 1)));
  if (newline == nullptr) {
    bool too_long = bytes.size() - position_ > kMaxInlineBytes;
    return too_long ? Header::kTooLong : Header::kNeedMore;
  }
  if (newline + 1 >= end) return Header::kNeedMore;
  position_ = static_cast<size_t>(newline + 2 - bytes.data());
  if (newline < begin) return Header::kNotANumber;
  bool fits = ParseNumber({begin, static_cast<size_t>(newline - begin)}, number);
  return fits ? Header::kNumber : Header::kNotANumber;
}

RequestParser::Outcome RequestParser::Parse(std::string_view bytes, const ParserLimits& limits) {
  if (bytes.empty()) return Outcome::kNeedMore;
  needed_ = 0;
  consumed_ = 0;
  is_inline_ = false;
  if (arguments_left_ < 0) {
    if (bytes[0] != '*') return ParseInline(bytes);
    if (limits.authenticated && ParseWhole(bytes, limits)) return Outcome::kRequest;
  }
  return ParseArray(bytes, limits);
}

bool RequestParser::ParseWhole(std::string_view bytes, const ParserLimits& limits) {
  const char* at = bytes.data() + 1;
  const char* const end = bytes.data() + bytes.size();
  uint64_t count;
  if (!TakePlainNumber(at, end, &count) || count == 0 || count > kFewArguments) return false;
  args_.clear();
  uint64_t request_bytes = count * kArgumentOverhead;
  for (; count > 0; --count) {
    uint64_t size;
    if (at >= end || *at++ != '$' || !TakePlainNumber(at, end, &size)) return false;
    if (size > limits.max_bulk_bytes || static_cast<uint64_t>(end - at) < size + 2) return false;
    args_.emplace_back(at, size);
    request_bytes += size;
    at += size + 2;
  }
  if (request_bytes > limits.max_request_bytes) return false;
  consumed_ = static_cast<size_t>(at - bytes.data());
  return true;
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
  is_inline_ = true;
  return Outcome::kRequest;
}

RequestParser::Outcome RequestParser::TakeCount(std::string_view bytes,
                                                const ParserLimits& limits) {
  int64_t count = 0;
  switch (TakeHeader(bytes, &count)) {
    case Header::kNumber:
      break;
    case Header::kNeedMore:
      return Outcome::kNeedMore;
    case Header::kTooLong:
      return Fail("Protocol error: too big mbulk count string");
    case Header::kNotANumber:
      return Fail("Protocol error: invalid multibulk length");
  }
  if (count > kMaxArguments) return Fail("Protocol error: invalid multibulk length");
  if (!limits.authenticated && count > kMaxUnauthenticatedArguments) {
    return Fail("Protocol error: unauthenticated multibulk length");
  }
  arguments_left_ = std::max<int64_t>(count, 0);
  ranges_.reserve(static_cast<size_t>(std::min(arguments_left_, kReservedArguments)));
  return Outcome::kRequest;
}

RequestParser::Outcome RequestParser::TakeBulkSize(std::string_view bytes,
                                                   const ParserLimits& limits) {
  if (position_ >= bytes.size()) return NeedMore();
  const char type = bytes[position_];
  int64_t size = 0;
  Header header = TakeHeader(bytes, &size);
  if (header == Header::kTooLong) return Fail("Protocol error: too big bulk count string");
  if (header == Header::kNeedMore) return NeedMore();
  if (type != '$') return Fail(std::string("Protocol error: expected '$', got '") + type + "'");
  if (header == Header::kNotANumber || size < 0 ||
      static_cast<uint64_t>(size) > limits.max_bulk_bytes) {
    return Fail("Protocol error: invalid bulk length");
  }
  if (!limits.authenticated && size > kMaxUnauthenticatedBulk) {
    return Fail("Protocol error: unauthenticated bulk length");
  }
  bulk_size_ = size;
  request_bytes_ += static_cast<uint64_t>(size) + kArgumentOverhead;
  if (request_bytes_ > limits.max_request_bytes && !discarding_) {
    discarding_ = true;
    ranges_.clear();
  }
  return Outcome::kRequest;
}

RequestParser::Outcome RequestParser::ParseArray(std::string_view bytes,
                                                 const ParserLimits& limits) {
  if (arguments_left_ < 0) {
    Outcome outcome = TakeCount(bytes, limits);
    if (outcome != Outcome::kRequest) return outcome;
  }
  while (arguments_left_ > 0) {
    if (bulk_size_ < 0) {
      Outcome outcome = TakeBulkSize(bytes, limits);
      if (outcome != Outcome::kRequest) return outcome;
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
  args_.resize(ranges_.size());
  for (size_t i = 0; i < ranges_.size(); ++i) {
    args_[i] = {bytes.data() + ranges_[i].offset, ranges_[i].size};
  }
  consumed_ = position_;
  Restart();
  return too_large ? Outcome::kTooLarge : Outcome::kRequest;
}

}  // namespace firn::server
