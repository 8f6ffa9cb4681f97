// HyperLogLog values: byte strings of the layout that Redis 7.2 has, byte for byte, so that what
// one of them writes the other reads. A header of 16 bytes ("HYLL", the encoding, three unused
// bytes, the cached count in little endian, whose top bit says that it is stale), then 16384
// registers: either dense, six bits each, or sparse, as runs of equal ones.
//
// Pure functions on byte strings. What they are given may be anything that a client has stored: a
// value that passes IsHyperLogLog may still turn out to be corrupt.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/page/page_edit.h"

namespace firn {

inline constexpr uint32_t kHllRegisters = 16384;
inline constexpr uint32_t kHllHeaderSize = 16;
inline constexpr uint32_t kHllDenseSize = kHllHeaderSize + kHllRegisters * 6 / 8;

// One byte a register.
using HllRegisters = std::array<uint8_t, kHllRegisters>;

// Whether the header is one and the length may be right.
bool IsHyperLogLog(std::string_view bytes);
// REQUIRES (here and below): IsHyperLogLog.
inline bool IsDenseHll(std::string_view bytes) { return bytes[4] == 0; }
// An empty one, sparse.
std::string EmptyHll();

// What an element says: the register that it belongs to, and the least value that it gives it.
struct HllElement {
  uint32_t index = 0;
  uint8_t value = 0;
};
HllElement HashHllElement(std::string_view element);

// --- changing

enum class HllResult : uint8_t {
  kSame,
  kChanged,
  kCorrupt,
  kTooLong,  // it must become dense
};

// How raising one register changes the bytes. The splices stand for the register and the mark that
// the cached count is stale, and live in this object.
class HllChange {
 public:
  // Nothing changes but with kChanged. A sparse value that grows beyond `sparse_max_bytes`, or that
  // has no way to hold the value, is kTooLong.
  HllResult Raise(std::string_view bytes, const HllElement& element, uint64_t sparse_max_bytes);
  std::span<const Splice> splices() const { return {splices_, count_}; }

 private:
  HllResult RaiseDense(std::string_view bytes, const HllElement& element);
  HllResult RaiseSparse(std::string_view bytes, const HllElement& element,
                        uint64_t sparse_max_bytes);
  void MarkStale(std::string_view bytes);

  Splice splices_[2];
  uint32_t count_ = 0;
  char stale_ = 0;
  char scratch_[32];
};

// The same in place; kTooLong makes the value dense.
HllResult RaiseHll(std::string* bytes, const HllElement& element, uint64_t sparse_max_bytes);
// False if the value is corrupt. Does nothing to a dense one.
bool MakeHllDense(std::string* bytes);
inline constexpr uint32_t kHllStaleByte = 15;
inline constexpr uint8_t kHllStaleBit = 0x80;
// Marks the cached count as stale.
void MarkHllStale(std::string* bytes);

// --- reading

// Raises each of `registers` to the value's; false if it is corrupt.
bool MergeHll(std::string_view bytes, HllRegisters* registers);
// The estimated number of elements; false if the value is corrupt.
bool CountHll(std::string_view bytes, uint64_t* count);
uint64_t CountHll(const HllRegisters& registers);
// The count that was stored last, unless it is stale.
inline constexpr uint32_t kHllCountOffset = 8;
bool CachedHllCount(std::string_view bytes, uint64_t* count);

// The runs of a sparse value as PFDEBUG DECODE shows them. REQUIRES: sparse.
std::string DescribeHll(std::string_view bytes);

// Whether both encodings agree and count well: for PFSELFTEST. What is wrong, or nothing.
std::string SelfTestHll(uint64_t seed, uint64_t sparse_max_bytes);

}  // namespace firn
