// Listpacks and intsets, as dumps of Redis have them: the packed blocks of small values.
//
//   listpack  u32 bytes in all | u16 elements (65535: not known) | elements ... | 255
//   element   kind and length | bytes | its own size, to be read backwards
//   intset    u32 width (2, 4, 8) | u32 members | members, ascending
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/types/string_ops.h"

namespace firn {

// An element of a packed block: bytes, or an integer that stands for its digits.
class PackedElement {
 public:
  PackedElement() = default;
  // The bytes must outlive the element.
  explicit PackedElement(std::string_view bytes) : view_(bytes) {}
  explicit PackedElement(int64_t integer)
      : integer_(integer), size_(static_cast<uint8_t>(WriteInteger(integer, digits_))) {}

  bool is_integer() const { return size_ > 0; }
  // REQUIRES: is_integer().
  int64_t integer() const { return integer_; }
  std::string_view bytes() const { return is_integer() ? std::string_view(digits_, size_) : view_; }

 private:
  std::string_view view_;
  int64_t integer_ = 0;
  uint8_t size_ = 0;
  char digits_[kMaxIntegerDigits + 4];
};

class ListpackBuilder {
 public:
  ListpackBuilder() { Clear(); }
  void Clear();
  // Integers in their shortest form are kept as integers.
  void Add(std::string_view element);
  void AddInteger(int64_t value);
  uint32_t elements() const { return elements_; }
  // Of the finished block.
  uint64_t size() const { return bytes_.size() + 1; }
  // The whole block. REQUIRES: size() fits 32 bits. Clear begins the next.
  std::string_view Finish();

 private:
  void EndElement(size_t begin);

  std::string bytes_;
  uint32_t elements_ = 0;
};

// REQUIRES: ascending, each once, fewer than 2^31.
std::string BuildIntset(std::span<const int64_t> members);

// Reads a block that nobody has checked: every element is checked before it is given, the whole by
// the end.
class ListpackReader {
 public:
  explicit ListpackReader(std::string_view block);
  // The next element, valid while the block is. False at the end, or if the block is damaged.
  bool Next(PackedElement* element);
  // Ok after the end of a good block.
  const Status& status() const { return status_; }
  // Where in the block the reader is.
  uint64_t offset() const { return at_; }

 private:
  bool Fail(const char* reason);

  std::string_view block_;
  uint64_t at_ = 0;
  uint64_t elements_ = 0;
  Status status_;
};

// The same for ziplists, the packed blocks of Redis before 7.0.
class ZiplistReader {
 public:
  explicit ZiplistReader(std::string_view block);
  bool Next(PackedElement* element);
  const Status& status() const { return status_; }
  uint64_t offset() const { return at_; }

 private:
  bool Fail(const char* reason);
  bool ReadElement(PackedElement* element);

  std::string_view block_;
  uint64_t at_ = 0;
  uint64_t previous_at_ = 0;
  uint64_t elements_ = 0;
  Status status_;
};

// The same for zipmaps, the small hashes of Redis before 2.6: fields and values in turn.
class ZipmapReader {
 public:
  explicit ZipmapReader(std::string_view block);
  bool Next(PackedElement* element);
  const Status& status() const { return status_; }
  uint64_t offset() const { return at_; }

 private:
  bool Fail(const char* reason);
  bool ReadLength(uint64_t* length);

  std::string_view block_;
  uint64_t at_ = 0;
  uint64_t elements_ = 0;
  Status status_;
};

class IntsetReader {
 public:
  explicit IntsetReader(std::string_view block);
  bool Next(PackedElement* element);
  const Status& status() const { return status_; }
  uint64_t offset() const { return at_; }

 private:
  bool Fail(const char* reason);

  std::string_view block_;
  uint64_t at_ = 0;
  uint32_t width_ = 0;
  int64_t previous_ = 0;
  Status status_;
};

}  // namespace firn
