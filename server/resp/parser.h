// RequestParser: takes one client's byte stream apart into requests: RESP arrays of bulk strings,
// or inline lines. Incremental: it goes on where it stopped when more bytes have come. Limits and
// error texts are Redis'.
//
// The caller keeps the bytes: Parse gets everything from the begin of the current request on;
// arguments are views into that.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn::server {

struct ParserLimits {
  uint64_t max_bulk_bytes = 512ull << 20;   // proto-max-bulk-len
  uint64_t max_request_bytes = UINT64_MAX;  // longer ones are read past and not kept
  bool authenticated = true;                // unauthenticated clients get little
};

class RequestParser {
 public:
  enum class Outcome : uint8_t {
    kRequest,   // args() holds it; consumed() bytes are its
    kNeedMore,  // consumed() bytes needn't be kept (of a request that is too large)
    kTooLarge,  // a request above max_request_bytes has been read past; consumed() bytes are gone
    kError,     // error() is for the client, which is then disconnected
  };
  Outcome Parse(std::string_view bytes, const ParserLimits& limits);

  std::span<const std::string_view> args() const { return args_; }
  // Exchanges the arguments for a vector of the caller's, so that several requests can be held at
  // once. Those of an inline request are views into the parser: valid until the next Parse.
  void SwapArgs(std::vector<std::string_view>* args) { args_.swap(*args); }
  bool is_inline() const { return is_inline_; }
  // Nothing of a request has been read.
  bool between_requests() const { return arguments_left_ < 0; }
  // Forgets what has been read of a request: the caller gives its bytes again.
  void Restart();
  size_t consumed() const { return consumed_; }
  const std::string& error() const { return error_; }
  // After kNeedMore: how many bytes the request has at least, to reserve room once.
  uint64_t needed() const { return needed_; }

  static constexpr int64_t kMaxArguments = INT32_MAX;
  static constexpr size_t kMaxInlineBytes = 64 * 1024;
  // What an argument takes in RAM besides its bytes: its views, and the header before it. It bounds
  // the number of arguments as well.
  static constexpr uint64_t kArgumentOverhead = 32;

 private:
  struct Range {
    size_t offset;
    size_t size;
  };
  Outcome ParseInline(std::string_view bytes);
  // Takes a request that is all here, and neither large nor odd: nearly every one. False, with
  // nothing taken, if it isn't such a one.
  bool ParseWhole(std::string_view bytes, const ParserLimits& limits);
  Outcome ParseArray(std::string_view bytes, const ParserLimits& limits);
  // The number in the line at position_, which begins with a byte that the caller has seen.
  enum class Header : uint8_t { kNumber, kNeedMore, kTooLong, kNotANumber };
  Header TakeHeader(std::string_view bytes, int64_t* number);
  Outcome TakeCount(std::string_view bytes, const ParserLimits& limits);
  Outcome TakeBulkSize(std::string_view bytes, const ParserLimits& limits);
  Outcome Fail(std::string text);
  Outcome Finish(std::string_view bytes);
  Outcome NeedMore();

  size_t position_ = 0;          // in the bytes of the current request
  int64_t arguments_left_ = -1;  // -1: the header hasn't been read
  int64_t bulk_size_ = -1;       // -1: its header hasn't been read
  uint64_t request_bytes_ = 0;
  bool discarding_ = false;
  bool is_inline_ = false;
  std::vector<Range> ranges_;
  std::vector<std::string> inline_words_;
  std::vector<std::string_view> args_;
  size_t consumed_ = 0;
  uint64_t needed_ = 0;
  std::string error_;
};

}  // namespace firn::server
