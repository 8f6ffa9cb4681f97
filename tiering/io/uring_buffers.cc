#include "tiering/io/uring_buffers.h"

#include <errno.h>
#include <sys/mman.h>

#include <bit>

#include "engine/base/check.h"

namespace firn::io {
namespace {

// Small requests use only the first lines of their buffers. With a stride that is a power of two
// those lines would all fall into a few sets of the processor's caches.
constexpr uint32_t kStridePaddingBytes = 192;

char* MapMemory(size_t size) {
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : static_cast<char*>(memory);
}

}  // namespace

UringBuffers::~UringBuffers() {
  if (ring_ != nullptr) ::munmap(ring_, sizeof(io_uring_buf) * spec_.count);
  if (area_ != nullptr) ::munmap(area_, size_t{stride_} * spec_.count);
}

Status UringBuffers::Register(io_uring* ring, const Spec& spec) {
  CHECK(spec.size_bytes > 0 && std::has_single_bit(spec.count));
  spec_ = spec;
  stride_ = (spec.size_bytes + 63) / 64 * 64 + kStridePaddingBytes;
  area_ = MapMemory(size_t{stride_} * spec.count);
  char* entries = MapMemory(sizeof(io_uring_buf) * spec.count);
  ring_ = reinterpret_cast<io_uring_buf_ring*>(entries);
  if (area_ == nullptr || ring_ == nullptr) {
    return Status::FromErrno(ENOMEM, "map receive buffers");
  }
  io_uring_buf_reg registration = {};
  registration.ring_addr = reinterpret_cast<uintptr_t>(ring_);
  registration.ring_entries = spec.count;
  registration.bgid = spec.group;
  if (const int result = io_uring_register_buf_ring(ring, &registration, 0); result != 0) {
    return Status::FromErrno(-result, "register receive buffers with io_uring");
  }
  io_uring_buf_ring_init(ring_);
  for (uint32_t id = 0; id < spec.count; ++id) Add(id, id);
  io_uring_buf_ring_advance(ring_, static_cast<int>(spec.count));
  return Status::Ok();
}

void UringBuffers::Add(uint32_t id, uint32_t place) {
  io_uring_buf_ring_add(ring_, At(id), spec_.size_bytes, static_cast<uint16_t>(id),
                        io_uring_buf_ring_mask(spec_.count), static_cast<int>(place));
}

uint32_t UringBuffers::IdOf(uint32_t flags) const {
  const uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
  CHECK((flags & IORING_CQE_F_BUFFER) != 0 && id < spec_.count);
  return id;
}

std::string_view UringBuffers::Bytes(int32_t result, uint32_t flags) const {
  CHECK(result >= 0 && static_cast<uint32_t>(result) <= spec_.size_bytes);
  return {At(IdOf(flags)), static_cast<size_t>(result)};
}

void UringBuffers::GiveBack(uint32_t flags) { Add(IdOf(flags), given_back_++); }

void UringBuffers::Publish() {
  if (given_back_ == 0) return;
  io_uring_buf_ring_advance(ring_, static_cast<int>(given_back_));
  given_back_ = 0;
}

}  // namespace firn::io
