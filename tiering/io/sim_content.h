// The bytes of a simulated file, shared between a disk and its crash images until one of them
// changes them, and the memory that a simulated mapping is made of.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

namespace firn::io {

inline constexpr uint64_t kSimChunkSize = 4096;
inline constexpr uint64_t kSimSectorSize = 512;

// The object behind `pointer`, alone: copied first if others share it.
template <typename T>
T& Own(std::shared_ptr<T>& pointer) {
  if (pointer.use_count() != 1) pointer = std::make_shared<T>(*pointer);
  return *pointer;
}

// A value: copying it shares the chunks. Holes read as zeros. Bytes past size() are always zero.
class SimContent {
 public:
  uint64_t size() const { return size_; }
  // Growing adds a hole, shrinking forgets what is past the end, reservation included.
  void Resize(uint64_t size);
  // Blocks for [0, size) are held from now on, written or not; grows the file to that size.
  void Reserve(uint64_t size);
  bool IsReserved(uint64_t offset) const { return offset < reserved_; }
  void Write(uint64_t offset, std::string_view bytes);
  // Returns the number of bytes read: fewer than asked for only at the end.
  size_t Read(uint64_t offset, std::span<char> into) const;
  // The kSimChunkSize bytes of a chunk, zeros for a hole.
  const char* Chunk(uint64_t index) const;
  bool IsHole(uint64_t offset) const;
  // Blocks held on the disk. Approximate for a file that was reserved and written past that.
  uint64_t AllocatedBytes() const;

 private:
  struct Block {
    char bytes[kSimChunkSize];
  };
  Block& OwnBlock(uint64_t index);

  std::vector<std::shared_ptr<Block>> blocks_;
  uint64_t size_ = 0;
  uint64_t reserved_ = 0;
  uint64_t present_ = 0;  // blocks that are no holes
};

// Address space for the mappings of one file: page i of the file is at base + i * kSimChunkSize,
// so that overlapping mappings are coherent. Only pages that are touched take memory.
class SimArena {
 public:
  explicit SimArena(uint64_t capacity);
  ~SimArena();
  SimArena(const SimArena&) = delete;
  SimArena& operator=(const SimArena&) = delete;

  char* base() const { return base_; }
  uint64_t capacity() const { return capacity_; }
  // Bytes from here on are zeros, as far as the owner has told by NoteUsed.
  uint64_t used() const { return used_; }
  void NoteUsed(uint64_t end) { used_ = std::max(used_, end); }
  void Clear();

 private:
  char* base_;
  uint64_t capacity_;
  uint64_t used_ = 0;
};

// Arenas for reuse, shared by a disk and all its images: page faults would cost more than the rest
// of an image. Thread-safe.
class SimArenaPool {
 public:
  // At least `size` bytes, all of them zeros.
  std::unique_ptr<SimArena> Take(uint64_t size);
  void Give(std::unique_ptr<SimArena> arena);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<SimArena>> free_;
};

}  // namespace firn::io
