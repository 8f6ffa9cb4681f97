// Receive buffers that are shared with the kernel: a receive takes one when bytes are there, so
// that connections that wait for something need none.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <string_view>

#include "engine/base/status.h"

namespace firn::io {

// One group of them. Belongs to the thread of its ring, and must outlive that.
class UringBuffers {
 public:
  struct Spec {
    uint16_t group = 0;
    uint32_t size_bytes = 0;
    uint32_t count = 0;  // power of two
  };
  UringBuffers() = default;
  ~UringBuffers();
  UringBuffers(const UringBuffers&) = delete;
  UringBuffers& operator=(const UringBuffers&) = delete;

  // Once, before anything else.
  Status Register(io_uring* ring, const Spec& spec);

  uint16_t group() const { return spec_.group; }
  // The bytes that a receive's completion with this result and these flags has brought. Valid until
  // the buffer is given back.
  std::string_view Bytes(int32_t result, uint32_t flags) const;
  // To the kernel at the next Publish.
  void GiveBack(uint32_t flags);
  void Publish();

 private:
  char* At(uint32_t id) const { return area_ + size_t{id} * stride_; }
  uint32_t IdOf(uint32_t flags) const;
  void Add(uint32_t id, uint32_t place);

  Spec spec_;
  uint32_t stride_ = 0;
  char* area_ = nullptr;
  io_uring_buf_ring* ring_ = nullptr;
  uint32_t given_back_ = 0;  // since the last Publish
};

}  // namespace firn::io
