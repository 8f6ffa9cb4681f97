#include "tiering/io/sim_content.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/base/check.h"

namespace firn::io {
namespace {

constexpr uint64_t kMinArenaBytes = 64ull << 20;
constexpr size_t kMaxPooledArenas = 16;
alignas(kSimChunkSize) constexpr char kZeros[kSimChunkSize] = {};

uint64_t Blocks(uint64_t bytes) { return (bytes + kSimChunkSize - 1) / kSimChunkSize; }

}  // namespace

void SimContent::Resize(uint64_t size) {
  if (size < size_) {
    uint64_t keep = Blocks(size);
    for (uint64_t i = keep; i < blocks_.size(); ++i) present_ -= blocks_[i] != nullptr;
    if (blocks_.size() > keep) blocks_.resize(keep);
    uint64_t tail = size % kSimChunkSize;
    if (tail != 0 && !IsHole(size)) {
      std::memset(OwnBlock(size / kSimChunkSize).bytes + tail, 0, kSimChunkSize - tail);
    }
    reserved_ = std::min(reserved_, keep * kSimChunkSize);
  }
  size_ = size;
}

void SimContent::Reserve(uint64_t size) {
  reserved_ = std::max(reserved_, Blocks(size) * kSimChunkSize);
  size_ = std::max(size_, size);
}

void SimContent::Write(uint64_t offset, std::string_view bytes) {
  size_ = std::max<uint64_t>(size_, offset + bytes.size());
  while (!bytes.empty()) {
    uint64_t within = offset % kSimChunkSize;
    uint64_t count = std::min<uint64_t>(bytes.size(), kSimChunkSize - within);
    std::memcpy(OwnBlock(offset / kSimChunkSize).bytes + within, bytes.data(), count);
    bytes.remove_prefix(count);
    offset += count;
  }
}

size_t SimContent::Read(uint64_t offset, std::span<char> into) const {
  if (offset >= size_) return 0;
  size_t total = std::min<uint64_t>(into.size(), size_ - offset);
  for (size_t done = 0; done < total;) {
    uint64_t within = (offset + done) % kSimChunkSize;
    size_t count = std::min<uint64_t>(total - done, kSimChunkSize - within);
    std::memcpy(into.data() + done, Chunk((offset + done) / kSimChunkSize) + within, count);
    done += count;
  }
  return total;
}

const char* SimContent::Chunk(uint64_t index) const {
  return index < blocks_.size() && blocks_[index] ? blocks_[index]->bytes : kZeros;
}

bool SimContent::IsHole(uint64_t offset) const {
  uint64_t index = offset / kSimChunkSize;
  return index >= blocks_.size() || blocks_[index] == nullptr;
}

uint64_t SimContent::AllocatedBytes() const {
  return std::max(present_ * kSimChunkSize, reserved_);
}

SimContent::Block& SimContent::OwnBlock(uint64_t index) {
  if (index >= blocks_.size()) blocks_.resize(index + 1);
  std::shared_ptr<Block>& block = blocks_[index];
  if (block == nullptr) {
    block = std::make_shared<Block>();  // zeroed
    ++present_;
    return *block;
  }
  return Own(block);
}

SimArena::SimArena(uint64_t capacity) : capacity_(capacity) {
  void* address = mmap(nullptr, capacity, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(address != MAP_FAILED);
  base_ = static_cast<char*>(address);
}

void SimArena::Clear() {
  std::memset(base_, 0, used_);
  used_ = 0;
}

SimArena::~SimArena() { munmap(base_, capacity_); }

std::unique_ptr<SimArena> SimArenaPool::Take(uint64_t size) {
  std::lock_guard lock(mutex_);
  for (auto& arena : free_) {
    if (arena->capacity() < size) continue;
    std::unique_ptr<SimArena> taken = std::move(arena);
    arena = std::move(free_.back());
    free_.pop_back();
    taken->Clear();
    return taken;
  }
  return std::make_unique<SimArena>(std::bit_ceil(std::max(size, kMinArenaBytes)));
}

void SimArenaPool::Give(std::unique_ptr<SimArena> arena) {
  std::lock_guard lock(mutex_);
  if (free_.size() < kMaxPooledArenas) free_.push_back(std::move(arena));
}

}  // namespace firn::io
