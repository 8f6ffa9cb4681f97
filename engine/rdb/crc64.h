// CRC-64 as dumps of Redis have it: the polynomial of D. T. Jones (ad93d23594c935a9, reflected),
// from zero, not inverted.
#pragma once

#include <cstdint>
#include <string_view>

namespace firn {

// Goes on from `crc`, 0 at the beginning. crc64("123456789") is e9c6d914c4b8d9ca.
uint64_t Crc64(uint64_t crc, std::string_view bytes);
// What the checksum of some bytes becomes with `zeros` more of value 0 behind them. The checksum is
// linear, so this is how the change of an early byte shows in the checksum of a long file.
uint64_t Crc64Zeros(uint64_t crc, uint64_t zeros);

}  // namespace firn
