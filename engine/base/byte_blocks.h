// ByteBlocks: copies of many strings, one behind the other in blocks that never move.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace firn {

class ByteBlocks {
 public:
  // The copy; valid until Clear.
  std::string_view Copy(std::string_view bytes) {
    if (bytes.size() > room_ - used_) {
      room_ = std::max(kBlockBytes, bytes.size());
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(room_));
      used_ = 0;
    }
    char* to = blocks_.empty() ? nullptr : blocks_.back().get() + used_;
    if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
    used_ += bytes.size();
    return {to, bytes.size()};
  }
  // Keeps a block of the usual size for what comes.
  void Clear() {
    if (blocks_.size() > 1 || room_ > kBlockBytes) {
      blocks_.clear();
      room_ = 0;
    }
    used_ = 0;
  }

 private:
  static constexpr size_t kBlockBytes = 64 << 10;

  std::vector<std::unique_ptr<char[]>> blocks_;
  size_t used_ = 0;  // of the last block
  size_t room_ = 0;  // of the last block
};

}  // namespace firn
