// Reading packed blocks. Every length is checked against what is left of the block.
#include "engine/base/coding.h"
#include "engine/rdb/listpack.h"

namespace firn {
namespace {

constexpr uint8_t kEnd = 255;
constexpr uint32_t kUnknownCount = 65535;
constexpr uint64_t kListpackHeader = 6;
constexpr uint64_t kZiplistHeader = 10;
constexpr uint64_t kIntsetHeader = 8;

uint8_t ByteAt(std::string_view block, uint64_t at) { return static_cast<uint8_t>(block[at]); }

// The number in the `size` bytes at `at`, with its sign.
int64_t SignedAt(std::string_view block, uint64_t at, int size) {
  uint64_t bits = 0;
  for (int i = 0; i < size; ++i) bits |= uint64_t{ByteAt(block, at + i)} << (8 * i);
  const int unused = 64 - 8 * size;
  return static_cast<int64_t>(bits << unused) >> unused;
}

}  // namespace

// --- listpack

ListpackReader::ListpackReader(std::string_view block) : block_(block), at_(kListpackHeader) {
  if (block.size() < kListpackHeader + 1 || LoadFixed<uint32_t>(block.data()) != block.size()) {
    at_ = 0;
    Fail("has a wrong size");
  } else if (ByteAt(block, block.size() - 1) != kEnd) {
    at_ = block.size() - 1;
    Fail("has no end");
  }
}

bool ListpackReader::Fail(const char* reason) {
  status_ = Status::Corruption("the listpack " + std::string(reason));
  return false;
}

bool ListpackReader::Next(PackedElement* element) {
  if (!status_.ok()) return false;
  const uint64_t end = block_.size() - 1;
  if (at_ == end) {
    const uint32_t count = LoadFixed<uint16_t>(block_.data() + 4);
    if (count != kUnknownCount && count != elements_) return Fail("has a wrong count");
    return false;
  }
  const uint64_t left = end - at_;
  const uint8_t first = ByteAt(block_, at_);
  uint64_t header = 1;
  uint64_t body = 0;
  bool integer = true;
  if (first < 0x80) {
    *element = PackedElement(static_cast<int64_t>(first));
  } else if (first < 0xc0) {
    integer = false;
    body = first & 63;
  } else if (first < 0xe0) {
    header = 2;
    if (left < 2) return Fail("has an element past its end");
    const uint64_t bits = (first & 31u) << 8 | ByteAt(block_, at_ + 1);
    *element = PackedElement(static_cast<int64_t>(bits << 51) >> 51);
  } else if (first < 0xf0) {
    integer = false;
    header = 2;
    if (left < 2) return Fail("has an element past its end");
    body = (first & 15u) << 8 | ByteAt(block_, at_ + 1);
  } else if (first == 0xf0) {
    integer = false;
    header = 5;
    if (left < 5) return Fail("has an element past its end");
    body = LoadFixed<uint32_t>(block_.data() + at_ + 1);
  } else if (first <= 0xf4) {
    const int size = first == 0xf4 ? 8 : first - 0xf1 + 2;
    header = 1 + static_cast<uint64_t>(size);
    if (left < header) return Fail("has an element past its end");
    *element = PackedElement(SignedAt(block_, at_ + 1, size));
  } else {
    return Fail("has an element of an unknown kind");
  }
  const uint64_t size = header + body;
  if (size > left) return Fail("has an element past its end");
  if (!integer) *element = PackedElement(block_.substr(at_ + header, body));
  // Its size again, backwards.
  const int groups = size <= 127        ? 1
                     : size < 16383     ? 2
                     : size < 2097151   ? 3
                     : size < 268435455 ? 4
                                        : 5;
  if (left - size < static_cast<uint64_t>(groups)) return Fail("has an element past its end");
  for (int group = 0; group < groups; ++group) {
    const uint64_t shift = 7 * static_cast<uint64_t>(groups - 1 - group);
    const uint64_t expected = (size >> shift & 127) | (group == 0 ? 0 : 128);
    if (ByteAt(block_, at_ + size + static_cast<uint64_t>(group)) != expected) {
      return Fail("has an element whose two sizes differ");
    }
  }
  at_ += size + static_cast<uint64_t>(groups);
  ++elements_;
  return true;
}

// --- ziplist
//
//   u32 bytes in all | u32 offset of the last element | u16 elements | elements ... | 255
//   element  size of the one before (1 byte, or 254 and 4 bytes) | kind and length | bytes

ZiplistReader::ZiplistReader(std::string_view block) : block_(block), at_(kZiplistHeader) {
  if (block.size() < kZiplistHeader + 1 || LoadFixed<uint32_t>(block.data()) != block.size()) {
    at_ = 0;
    Fail("has a wrong size");
  } else if (ByteAt(block, block.size() - 1) != kEnd) {
    at_ = block.size() - 1;
    Fail("has no end");
  }
}

bool ZiplistReader::Fail(const char* reason) {
  status_ = Status::Corruption("the ziplist " + std::string(reason));
  return false;
}

bool ZiplistReader::Next(PackedElement* element) {
  if (!status_.ok()) return false;
  if (at_ == block_.size() - 1) {
    const uint32_t count = LoadFixed<uint16_t>(block_.data() + 8);
    const uint32_t last = LoadFixed<uint32_t>(block_.data() + 4);
    if (count != kUnknownCount && count != elements_) return Fail("has a wrong count");
    if (last != (elements_ == 0 ? kZiplistHeader : previous_at_)) {
      return Fail("has a wrong offset of its last element");
    }
    return false;
  }
  return ReadElement(element);
}

bool ZiplistReader::ReadElement(PackedElement* element) {
  const uint64_t end = block_.size() - 1;
  uint64_t at = at_;
  uint64_t before = ByteAt(block_, at++);
  if (before == 255) return Fail("ends too early");
  if (before == 254) {
    if (end - at < 4) return Fail("has an element past its end");
    before = LoadFixed<uint32_t>(block_.data() + at);
    at += 4;
  }
  if (before != (elements_ == 0 ? 0 : at_ - previous_at_)) {
    return Fail("has an element whose size does not fit the next one's word");
  }
  if (at >= end) return Fail("has an element past its end");
  const uint8_t kind = ByteAt(block_, at++);
  const uint64_t left = end - at;
  uint64_t size = 0;
  if (kind < 0xc0) {
    uint64_t header = 0;
    if (kind < 0x40) {
      size = kind & 63;
    } else if (kind < 0x80) {
      header = 1;
      if (left < 1) return Fail("has an element past its end");
      size = (kind & 63u) << 8 | ByteAt(block_, at);
    } else if (kind == 0x80) {
      header = 4;
      if (left < 4) return Fail("has an element past its end");
      size = LoadBig32(block_.data() + at);
    } else {
      return Fail("has an element of an unknown kind");
    }
    if (size > left - header) return Fail("has an element past its end");
    at += header;
    *element = PackedElement(block_.substr(at, size));
  } else if (kind >= 0xf1 && kind <= 0xfd) {
    *element = PackedElement(static_cast<int64_t>(kind - 0xf1));
  } else {
    switch (kind) {
      case 0xc0:
        size = 2;
        break;
      case 0xd0:
        size = 4;
        break;
      case 0xe0:
        size = 8;
        break;
      case 0xf0:
        size = 3;
        break;
      case 0xfe:
        size = 1;
        break;
      default:
        return Fail("has an element of an unknown kind");
    }
    if (size > left) return Fail("has an element past its end");
    *element = PackedElement(SignedAt(block_, at, static_cast<int>(size)));
  }
  previous_at_ = at_;
  at_ = at + size;
  ++elements_;
  return true;
}

// --- zipmap
//
//   u8 pairs (254: not known) | pairs ... | 255
//   pair  length | field | length | u8 unused bytes | value | unused bytes
//   length: 1 byte, or 254 and 4 bytes

ZipmapReader::ZipmapReader(std::string_view block) : block_(block), at_(1) {
  if (block.size() < 2) {
    at_ = 0;
    Fail("has a wrong size");
  } else if (ByteAt(block, block.size() - 1) != kEnd) {
    at_ = block.size() - 1;
    Fail("has no end");
  }
}

bool ZipmapReader::Fail(const char* reason) {
  status_ = Status::Corruption("the zipmap " + std::string(reason));
  return false;
}

bool ZipmapReader::ReadLength(uint64_t* length) {
  const uint64_t end = block_.size() - 1;
  if (at_ >= end) return Fail("ends too early");
  *length = ByteAt(block_, at_++);
  if (*length == 255) return Fail("ends too early");
  if (*length < 254) return true;
  if (end - at_ < 4) return Fail("has an element past its end");
  *length = LoadFixed<uint32_t>(block_.data() + at_);
  at_ += 4;
  return true;
}

bool ZipmapReader::Next(PackedElement* element) {
  if (!status_.ok()) return false;
  const uint64_t end = block_.size() - 1;
  const bool value = elements_ % 2 != 0;
  if (at_ == end && !value) {
    const uint8_t count = ByteAt(block_, 0);
    if (count < 254 && count != elements_ / 2) Fail("has a wrong count");
    return false;
  }
  uint64_t length = 0;
  if (!ReadLength(&length)) return false;
  uint64_t unused = 0;
  if (value) {
    if (at_ >= end) return Fail("ends too early");
    unused = ByteAt(block_, at_++);
  }
  if (length + unused > end - at_) return Fail("has an element past its end");
  *element = PackedElement(block_.substr(at_, length));
  at_ += length + unused;
  ++elements_;
  return true;
}

// --- intset

IntsetReader::IntsetReader(std::string_view block) : block_(block), at_(kIntsetHeader) {
  if (block.size() < kIntsetHeader) {
    at_ = 0;
    Fail("has a wrong size");
    return;
  }
  width_ = LoadFixed<uint32_t>(block.data());
  const uint64_t count = LoadFixed<uint32_t>(block.data() + 4);
  if (width_ != 2 && width_ != 4 && width_ != 8) {
    at_ = 0;
    Fail("has an unknown width");
  } else if (kIntsetHeader + count * width_ != block.size()) {
    at_ = 4;
    Fail("has a wrong count");
  }
}

bool IntsetReader::Fail(const char* reason) {
  status_ = Status::Corruption("the intset " + std::string(reason));
  return false;
}

bool IntsetReader::Next(PackedElement* element) {
  if (!status_.ok() || at_ == block_.size()) return false;
  const int64_t member = SignedAt(block_, at_, static_cast<int>(width_));
  if (at_ > kIntsetHeader && member <= previous_) return Fail("is not in order");
  previous_ = member;
  *element = PackedElement(member);
  at_ += width_;
  return true;
}

}  // namespace firn
