// CRC-32C (Castagnoli polynomial, RFC 3720 B.4): the checksum of every record and header on disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace firn {

// Continues `crc` (0 to begin) over `size` bytes.
uint32_t Crc32c(uint32_t crc, const void* data, size_t size);
inline uint32_t Crc32c(std::string_view bytes) { return Crc32c(0, bytes.data(), bytes.size()); }

}  // namespace firn
