// SHA-1 (RFC 3174). It names things, such as scripts and digests of data; it is no longer fit for
// anything that an attacker may want to forge.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace firn {

using Sha1Digest = std::array<uint8_t, 20>;

Sha1Digest Sha1(std::string_view bytes);

}  // namespace firn
