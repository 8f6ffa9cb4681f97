// Writing packed blocks; packed_readers.cc reads them.
#include "engine/rdb/listpack.h"

#include "engine/base/check.h"
#include "engine/base/coding.h"

namespace firn {
namespace {

constexpr uint32_t kHeaderSize = 6;
constexpr uint32_t kUnknownCount = 65535;
constexpr size_t kMaxIntegerText = 20;

void AppendByte(std::string* out, uint64_t byte) { out->push_back(static_cast<char>(byte)); }

// The lower `count` bytes of a number.
void AppendBytes(std::string* out, uint64_t value, int count) {
  out->append(reinterpret_cast<const char*>(&value), static_cast<size_t>(count));
}

bool Fits(int64_t value, int bits) {
  const int64_t limit = int64_t{1} << (bits - 1);
  return value >= -limit && value < limit;
}

}  // namespace

void ListpackBuilder::Clear() {
  bytes_.assign(kHeaderSize, '\0');
  elements_ = 0;
}

void ListpackBuilder::Add(std::string_view element) {
  int64_t integer;
  if (element.size() <= kMaxIntegerText && ParseInteger(element, &integer)) {
    return AddInteger(integer);
  }
  const size_t begin = bytes_.size();
  const uint64_t size = element.size();
  if (size < 64) {
    AppendByte(&bytes_, 0x80 | size);
  } else if (size < 4096) {
    AppendByte(&bytes_, 0xe0 | size >> 8);
    AppendByte(&bytes_, size & 255);
  } else {
    AppendByte(&bytes_, 0xf0);
    AppendFixed(&bytes_, static_cast<uint32_t>(size));
  }
  bytes_.append(element);
  EndElement(begin);
}

void ListpackBuilder::AddInteger(int64_t value) {
  const size_t begin = bytes_.size();
  const auto bits = static_cast<uint64_t>(value);
  if (value >= 0 && value < 128) {
    AppendByte(&bytes_, bits);
  } else if (Fits(value, 13)) {
    AppendByte(&bytes_, 0xc0 | (bits >> 8 & 31));
    AppendByte(&bytes_, bits & 255);
  } else if (Fits(value, 16)) {
    AppendByte(&bytes_, 0xf1);
    AppendBytes(&bytes_, bits, 2);
  } else if (Fits(value, 24)) {
    AppendByte(&bytes_, 0xf2);
    AppendBytes(&bytes_, bits, 3);
  } else if (Fits(value, 32)) {
    AppendByte(&bytes_, 0xf3);
    AppendBytes(&bytes_, bits, 4);
  } else {
    AppendByte(&bytes_, 0xf4);
    AppendBytes(&bytes_, bits, 8);
  }
  EndElement(begin);
}

// The size comes in groups of seven bits, the highest first; all but the first byte are marked.
void ListpackBuilder::EndElement(size_t begin) {
  const uint64_t size = bytes_.size() - begin;
  const int groups = size <= 127        ? 1
                     : size < 16383     ? 2
                     : size < 2097151   ? 3
                     : size < 268435455 ? 4
                                        : 5;
  for (int group = groups - 1; group >= 0; --group) {
    AppendByte(&bytes_, (size >> (7 * group) & 127) | (group == groups - 1 ? 0 : 128));
  }
  ++elements_;
}

std::string_view ListpackBuilder::Finish() {
  bytes_.push_back('\xff');
  CHECK(bytes_.size() <= UINT32_MAX);
  StoreFixed(bytes_.data(), static_cast<uint32_t>(bytes_.size()));
  StoreFixed(bytes_.data() + 4,
             static_cast<uint16_t>(elements_ < kUnknownCount ? elements_ : kUnknownCount));
  return bytes_;
}

std::string BuildIntset(std::span<const int64_t> members) {
  const bool narrow = members.empty() || (Fits(members.front(), 16) && Fits(members.back(), 16));
  const bool middle = members.empty() || (Fits(members.front(), 32) && Fits(members.back(), 32));
  const int width = narrow ? 2 : middle ? 4 : 8;
  std::string block;
  block.reserve(8 + members.size() * static_cast<size_t>(width));
  AppendFixed(&block, static_cast<uint32_t>(width));
  AppendFixed(&block, static_cast<uint32_t>(members.size()));
  for (int64_t member : members) AppendBytes(&block, static_cast<uint64_t>(member), width);
  return block;
}

}  // namespace firn
