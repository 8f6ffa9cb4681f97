#include "server/net/output_buffer.h"

#include <algorithm>
#include <cstring>

#include "engine/base/check.h"

namespace firn::server {
namespace {

constexpr size_t kChunkBytes = 16 * 1024;
// Most connections get short replies now and then: their chunk is small.
constexpr size_t kFirstChunkBytes = 1024;

}  // namespace

OutputBuffer::OutputBuffer() : chunk_bytes_(kFirstChunkBytes) {}
OutputBuffer::~OutputBuffer() { Clear(); }

char* OutputBuffer::Reserve(size_t size) {
  bool fits = !chunks_.empty() && chunks_.back().page == nullptr &&
              chunks_.back().capacity - chunks_.back().size >= size;
  if (!fits) {
    // A second chunk means that there is much to say.
    if (!chunks_.empty()) chunk_bytes_ = kChunkBytes;
    size_t capacity = std::max(size, chunk_bytes_);
    if (spare_.bytes != nullptr && spare_.capacity >= size) {
      chunks_.push_back(std::move(spare_));
      spare_ = {};
    } else {
      chunks_.push_back(
          {.bytes = std::make_unique_for_overwrite<char[]>(capacity), .capacity = capacity});
      memory_bytes_ += capacity;
    }
  }
  return chunks_.back().bytes.get() + chunks_.back().size;
}

void OutputBuffer::Commit(size_t size) {
  chunks_.back().size += size;
  pending_bytes_ += size;
}

void OutputBuffer::Append(std::string_view bytes) {
  if (bytes.empty()) return;
  char* to = Reserve(bytes.size());
  std::memcpy(to, bytes.data(), bytes.size());
  Commit(bytes.size());
}

void OutputBuffer::AppendPage(Page* page) {
  page->Acquire();
  chunks_.push_back({.size = page->size(), .page = page});
  pending_bytes_ += page->size();
  memory_bytes_ += page->size();
}

uint64_t OutputBuffer::Mark() {
  // What follows begins a chunk of its own, so that a header can be put before it.
  chunks_.push_back({.id = next_mark_});
  return next_mark_++;
}

size_t OutputBuffer::FindMark(uint64_t mark) const {
  for (size_t i = chunks_.size(); i-- > 0;) {
    if (chunks_[i].id == mark) return i;
  }
  CHECK_MSG(false, "a mark that was already sent");
  return 0;
}

void OutputBuffer::InsertAt(uint64_t mark, std::string_view bytes) {
  Chunk& chunk = chunks_[FindMark(mark)];
  chunk.id = 0;
  if (chunk.size > 0) {
    // Bytes were appended to the mark's own chunk: make room before them.
    auto moved = std::make_unique_for_overwrite<char[]>(chunk.size + bytes.size());
    std::memcpy(moved.get(), bytes.data(), bytes.size());
    std::memcpy(moved.get() + bytes.size(), chunk.bytes.get(), chunk.size);
    memory_bytes_ += chunk.size + bytes.size() - chunk.capacity;
    chunk.capacity = chunk.size + bytes.size();
    chunk.size = chunk.capacity;
    chunk.bytes = std::move(moved);
  } else {
    chunk.bytes = std::make_unique_for_overwrite<char[]>(bytes.size());
    std::memcpy(chunk.bytes.get(), bytes.data(), bytes.size());
    chunk.size = chunk.capacity = bytes.size();
    memory_bytes_ += bytes.size();
  }
  pending_bytes_ += bytes.size();
}

void OutputBuffer::TruncateTo(uint64_t mark) {
  size_t keep = FindMark(mark);
  while (chunks_.size() > keep) {
    pending_bytes_ -= chunks_.back().size;
    Drop(&chunks_.back());
    chunks_.pop_back();
  }
}

void OutputBuffer::Drop(Chunk* chunk) {
  if (chunk->page != nullptr) {
    memory_bytes_ -= chunk->page->size();
    chunk->page->Release();
    return;
  }
  bool regular = chunk->capacity == kFirstChunkBytes || chunk->capacity == kChunkBytes;
  if (regular && chunk->capacity >= spare_.capacity) {
    memory_bytes_ -= spare_.capacity;
    spare_ = {.bytes = std::move(chunk->bytes), .capacity = chunk->capacity};
    return;
  }
  memory_bytes_ -= chunk->capacity;
}

std::span<const iovec> OutputBuffer::Peek(size_t max, uint64_t max_bytes) {
  parts_.clear();
  uint64_t skip = front_sent_;
  for (Chunk& chunk : chunks_) {
    // What follows a mark waits for the bytes that will be inserted there.
    if (parts_.size() >= max || max_bytes == 0 || chunk.id != 0) break;
    char* data = chunk.page != nullptr ? chunk.page->data() : chunk.bytes.get();
    uint64_t size = std::min(chunk.size - skip, max_bytes);
    if (size > 0) parts_.push_back({data + skip, size});
    max_bytes -= size;
    skip = 0;
  }
  return parts_;
}

void OutputBuffer::Consume(uint64_t bytes) {
  CHECK(bytes <= pending_bytes_);  // and not beyond a mark: see Peek
  pending_bytes_ -= bytes;
  while (!chunks_.empty() && chunks_.front().id == 0) {
    Chunk& front = chunks_.front();
    uint64_t rest = front.size - front_sent_;
    if (bytes < rest) {
      front_sent_ += bytes;
      return;
    }
    bytes -= rest;
    front_sent_ = 0;
    Drop(&front);
    chunks_.pop_front();
    if (bytes == 0 && (chunks_.empty() || chunks_.front().size > 0)) return;
  }
}

void OutputBuffer::ReleaseSpare() {
  if (!chunks_.empty()) return;
  memory_bytes_ -= spare_.capacity;
  spare_ = {};
  chunk_bytes_ = kFirstChunkBytes;
}

void OutputBuffer::Clear() {
  for (Chunk& chunk : chunks_) {
    if (chunk.page != nullptr) chunk.page->Release();
  }
  chunks_.clear();
  spare_ = {};
  parts_.clear();
  pending_bytes_ = memory_bytes_ = front_sent_ = 0;
}

}  // namespace firn::server
