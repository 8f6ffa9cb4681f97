// Reply: builds one client's replies in RESP2 or RESP3
// (https://redis.io/docs/reference/protocol-spec), appended to an OutputBuffer. A command calls one
// method a reply element; a header announces how many elements follow (pairs, for maps). Types that
// RESP2 lacks are downgraded as Redis does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/net/output_buffer.h"

namespace firn {
class StringValue;
}

namespace firn::server {

class Reply {
 public:
  explicit Reply(OutputBuffer* out) : out_(out) {}

  int protocol() const { return protocol_; }
  void set_protocol(int protocol) { protocol_ = protocol; }
  // While muted (CLIENT REPLY OFF or SKIP) everything is dropped.
  void set_muted(bool muted) { muted_ = muted; }

  void Ok();
  void SimpleString(std::string_view text);
  // `text` begins with the code, as in "ERR syntax error"; CR and LF in it become spaces.
  void Error(std::string_view text);
  void Integer(int64_t value);
  void Bulk(std::string_view bytes);
  void Bulk(const StringValue& value);  // shares the page of a long value
  void BulkInteger(int64_t value);
  void Double(double value);           // RESP2: bulk
  void LongDouble(long double value);  // as INCRBYFLOAT formats it, a bulk
  void Bool(bool value);               // RESP2: 1 or 0
  void BigNumber(std::string_view digits);
  void Verbatim(std::string_view format, std::string_view text);  // format: three letters
  void Null();
  void NullArray();  // RESP3: null
  void ArrayHeader(int64_t elements);
  void MapHeader(int64_t pairs);  // RESP2: an array of twice as many
  void SetHeader(int64_t elements);
  void PushHeader(int64_t elements);
  void AttributeHeader(int64_t pairs);  // RESP3 only
  void EmptyArray() { ArrayHeader(0); }
  // A reply that is already encoded.
  void Raw(std::string_view resp);

  // For collections whose length is known only at the end.
  enum class Collection { kArray, kMap, kSet };
  uint64_t DeferHeader();
  void ResolveHeader(uint64_t mark, Collection collection, int64_t count);

  // The same again if nothing was replied since: see OutputBuffer.
  OutputBuffer::Position position() const { return out_->position(); }
  // The number of error replies so far: the dispatcher tells by it whether a command failed.
  uint64_t errors() const { return errors_; }
  const std::string& last_error() const { return last_error_; }

 private:
  void Header(char type, int64_t value);

  OutputBuffer* out_;
  int protocol_ = 2;
  bool muted_ = false;
  uint64_t errors_ = 0;
  std::string last_error_;
};

}  // namespace firn::server
