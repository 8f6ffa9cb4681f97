#include "engine/rdb/crc64.h"

#include <array>

#include "engine/base/coding.h"

namespace firn {
namespace {

constexpr uint64_t kPolynomial = 0x95ac9329ac4bc9b5;  // reflected
constexpr int kSlices = 8;

using Tables = std::array<std::array<uint64_t, 256>, kSlices>;

// Table k: the effect of a byte that k others follow.
constexpr Tables MakeTables() {
  Tables tables = {};
  for (uint64_t byte = 0; byte < 256; ++byte) {
    uint64_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = crc;
  }
  for (size_t byte = 0; byte < 256; ++byte) {
    for (int slice = 1; slice < kSlices; ++slice) {
      const uint64_t before = tables[slice - 1][byte];
      tables[slice][byte] = tables[0][before & 255] ^ (before >> 8);
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

// A linear map of checksums: where each single bit goes.
using Matrix = std::array<uint64_t, 64>;

uint64_t Apply(const Matrix& matrix, uint64_t crc) {
  uint64_t result = 0;
  for (int bit = 0; crc != 0; ++bit, crc >>= 1) {
    if ((crc & 1) != 0) result ^= matrix[bit];
  }
  return result;
}

Matrix Square(const Matrix& matrix) {
  Matrix result;
  for (int bit = 0; bit < 64; ++bit) result[bit] = Apply(matrix, matrix[bit]);
  return result;
}

}  // namespace

uint64_t Crc64(uint64_t crc, std::string_view bytes) {
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= kSlices; at += kSlices, left -= kSlices) {
    crc ^= LoadFixed<uint64_t>(at);
    crc = kTables[7][crc & 255] ^ kTables[6][crc >> 8 & 255] ^ kTables[5][crc >> 16 & 255] ^
          kTables[4][crc >> 24 & 255] ^ kTables[3][crc >> 32 & 255] ^ kTables[2][crc >> 40 & 255] ^
          kTables[1][crc >> 48 & 255] ^ kTables[0][crc >> 56];
  }
  for (; left > 0; ++at, --left) {
    crc = kTables[0][(crc ^ static_cast<uint8_t>(*at)) & 255] ^ (crc >> 8);
  }
  return crc;
}

uint64_t Crc64Zeros(uint64_t crc, uint64_t zeros) {
  Matrix step;  // one byte
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t single = 1ull << bit;
    step[bit] = kTables[0][single & 255] ^ (single >> 8);
  }
  for (; zeros != 0; zeros >>= 1) {
    if ((zeros & 1) != 0) crc = Apply(step, crc);
    step = Square(step);
  }
  return crc;
}

}  // namespace firn
