#include "server/resp/reply.h"

#include <charconv>
#include <cmath>
#include <cstring>

#include "engine/types/string_ops.h"
#include "tiering/store.h"

namespace firn::server {
namespace {

constexpr size_t kHeaderBytes = 24;  // a type, 20 digits, CR LF

size_t WriteHeader(char* to, char type, int64_t value) {
  to[0] = type;
  char* end = std::to_chars(to + 1, to + kHeaderBytes, value).ptr;
  end[0] = '\r';
  end[1] = '\n';
  return static_cast<size_t>(end + 2 - to);
}

}  // namespace

void Reply::Header(char type, int64_t value) {
  if (muted_) return;
  char* to = out_->Reserve(kHeaderBytes);
  out_->Commit(WriteHeader(to, type, value));
}

void Reply::Raw(std::string_view resp) {
  if (!muted_) out_->Append(resp);
}

void Reply::Ok() { Raw("+OK\r\n"); }

void Reply::SimpleString(std::string_view text) {
  if (muted_) return;
  char* to = out_->Reserve(text.size() + 3);
  to[0] = '+';
  std::memcpy(to + 1, text.data(), text.size());
  std::memcpy(to + 1 + text.size(), "\r\n", 2);
  out_->Commit(text.size() + 3);
}

void Reply::Error(std::string_view text) {
  ++errors_;
  last_error_.assign(text);
  for (char& c : last_error_) {
    if (c == '\r' || c == '\n') c = ' ';
  }
  if (muted_) return;
  Raw("-");
  Raw(last_error_);
  Raw("\r\n");
}

void Reply::Integer(int64_t value) {
  if (value < 0 || value > 99) return Header(':', value);
  const char tens = static_cast<char>('0' + value / 10);
  const char text[] = {':', tens, static_cast<char>('0' + value % 10), '\r', '\n'};
  if (value > 9) return Raw({text, sizeof text});
  const char digit[] = {':', text[2], '\r', '\n'};
  Raw({digit, sizeof digit});
}

void Reply::Bulk(std::string_view bytes) {
  if (muted_) return;
  char* to = out_->Reserve(kHeaderBytes + bytes.size() + 2);
  size_t header = WriteHeader(to, '$', static_cast<int64_t>(bytes.size()));
  std::memcpy(to + header, bytes.data(), bytes.size());
  std::memcpy(to + header + bytes.size(), "\r\n", 2);
  out_->Commit(header + bytes.size() + 2);
}

void Reply::Bulk(const StringValue& value) {
  if (value.page() == nullptr || muted_) {
    Bulk(value.bytes());
    return;
  }
  Header('$', static_cast<int64_t>(value.page()->size()));
  out_->AppendPage(value.page());
  Raw("\r\n");
}

void Reply::BulkInteger(int64_t value) {
  char digits[24];
  char* end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  Bulk(std::string_view(digits, static_cast<size_t>(end - digits)));
}

void Reply::Double(double value) {
  std::string text = FormatDouble(value);
  if (protocol_ < 3) {
    Bulk(text);
    return;
  }
  Raw(",");
  Raw(text);
  Raw("\r\n");
}

void Reply::LongDouble(long double value) { Bulk(FormatLongDouble(value)); }

void Reply::Bool(bool value) {
  if (protocol_ < 3) {
    Integer(value ? 1 : 0);
  } else {
    Raw(value ? "#t\r\n" : "#f\r\n");
  }
}

void Reply::BigNumber(std::string_view digits) {
  if (protocol_ < 3) {
    Bulk(digits);
    return;
  }
  Raw("(");
  Raw(digits);
  Raw("\r\n");
}

void Reply::Verbatim(std::string_view format, std::string_view text) {
  if (protocol_ < 3) {
    Bulk(text);
    return;
  }
  Header('=', static_cast<int64_t>(text.size() + 4));
  Raw(format);
  Raw(":");
  Raw(text);
  Raw("\r\n");
}

void Reply::Null() { Raw(protocol_ < 3 ? "$-1\r\n" : "_\r\n"); }
void Reply::NullArray() { Raw(protocol_ < 3 ? "*-1\r\n" : "_\r\n"); }
void Reply::ArrayHeader(int64_t elements) { Header('*', elements); }

void Reply::MapHeader(int64_t pairs) {
  if (protocol_ < 3) {
    Header('*', 2 * pairs);
  } else {
    Header('%', pairs);
  }
}

void Reply::SetHeader(int64_t elements) { Header(protocol_ < 3 ? '*' : '~', elements); }
void Reply::PushHeader(int64_t elements) { Header(protocol_ < 3 ? '*' : '>', elements); }
void Reply::AttributeHeader(int64_t pairs) { Header('|', pairs); }

uint64_t Reply::DeferHeader() { return muted_ ? 0 : out_->Mark(); }

void Reply::ResolveHeader(uint64_t mark, Collection collection, int64_t count) {
  if (mark == 0) return;
  char type = '*';
  if (protocol_ >= 3 && collection == Collection::kMap) type = '%';
  if (protocol_ >= 3 && collection == Collection::kSet) type = '~';
  if (protocol_ < 3 && collection == Collection::kMap) count *= 2;
  char header[kHeaderBytes];
  out_->InsertAt(mark, {header, WriteHeader(header, type, count)});
}

}  // namespace firn::server
