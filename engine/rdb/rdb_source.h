// RdbSource: where a dump is read from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "engine/base/status.h"

namespace firn {

class RdbSource {
 public:
  static constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

  virtual ~RdbSource() = default;
  // Some of the next bytes, at most `size`; 0 at the end.
  virtual Result<size_t> Read(char* to, size_t size) = 0;
  // All bytes there are, those read included, kUnknown for a pipe. No string that claims to be
  // longer than the rest is believed.
  virtual uint64_t size() const { return kUnknown; }
};

// A dump in RAM, which must outlive the source.
class RdbStringSource final : public RdbSource {
 public:
  explicit RdbStringSource(std::string_view bytes) : size_(bytes.size()), rest_(bytes) {}
  Result<size_t> Read(char* to, size_t size) override {
    size = std::min(size, rest_.size());
    if (size > 0) std::memcpy(to, rest_.data(), size);
    rest_.remove_prefix(size);
    return size;
  }
  uint64_t size() const override { return size_; }

 private:
  const uint64_t size_;
  std::string_view rest_;
};

}  // namespace firn
