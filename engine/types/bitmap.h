// What the bitmap commands compute: pure functions on byte strings. Bits count from the most
// significant bit of the first byte, as Redis has them; what lies behind the end of a string is
// zero.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace firn {

// Bits in [begin, end).
struct BitRange {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool empty() const { return begin >= end; }
};

// The bit at `offset`, false behind the end.
inline bool BitAt(std::string_view bytes, uint64_t offset) {
  const uint64_t byte = offset >> 3;
  return byte < bytes.size() && (static_cast<uint8_t>(bytes[byte]) >> (7 - (offset & 7)) & 1) != 0;
}
// A byte with one of its bits changed.
inline char WithBit(char byte, uint64_t offset, bool value) {
  const auto mask = static_cast<uint8_t>(0x80u >> (offset & 7));
  return static_cast<char>(value ? static_cast<uint8_t>(byte) | mask
                                 : static_cast<uint8_t>(byte) & static_cast<uint8_t>(~mask));
}

// How many bits are set.
uint64_t CountBits(std::string_view bytes);
// REQUIRES: the range lies within the bytes.
uint64_t CountBits(std::string_view bytes, BitRange range);
// The place of the first bit of this value, range.end if there is none. REQUIRES: the range lies
// within the bytes.
uint64_t FindBit(std::string_view bytes, BitRange range, bool value);

enum class BitOperation : uint8_t { kAnd, kOr, kXor, kNot };
// As long as the longest source; shorter ones go on with zeros. REQUIRES: at least one source, with
// kNot exactly one.
std::string CombineBits(BitOperation operation, std::span<const std::string_view> sources);
// The same for `to.size()` bytes, to which shorter sources go on with zeros, with kNot too.
// REQUIRES: no source is longer.
void CombineBits(BitOperation operation, std::span<const std::string_view> sources,
                 std::span<char> to);

// --- bit fields

enum class BitOverflow : uint8_t { kWrap, kSaturate, kFail };

// An integer of 1 to 64 bits (63 if unsigned) somewhere among the bits.
struct BitField {
  static constexpr uint32_t kMaxBytes = 9;  // that it reaches into

  uint64_t offset = 0;
  uint8_t bits = 8;
  bool is_signed = false;

  uint64_t first_byte() const { return offset >> 3; }
  uint64_t end_byte() const { return (offset + bits + 7) >> 3; }
};
// Unsigned ones fit an int64_t too.
int64_t ReadBitField(std::string_view bytes, const BitField& field);
// The bytes [first_byte, end_byte) as they are after a change: `bytes` holds the string before it.
// Returns how many were written to `changed`. The low bits of `value` count.
uint32_t WriteBitField(std::string_view bytes, const BitField& field, int64_t value,
                       char (&changed)[BitField::kMaxBytes]);
// Adds to a value that a field holds, or is to hold; false if the sum does not fit and the overflow
// is kFail. A negative value for an unsigned field counts as a very large one.
bool AddToBitField(const BitField& field, int64_t value, int64_t by, BitOverflow overflow,
                   int64_t* sum);

}  // namespace firn
