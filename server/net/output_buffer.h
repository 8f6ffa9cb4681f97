// OutputBuffer: the bytes that wait to be sent to one client: chunks of copied bytes, and
// references to pages of long values that are sent without a copy. Executor thread.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "engine/page/page.h"

namespace firn::server {

class OutputBuffer {
 public:
  OutputBuffer();
  ~OutputBuffer();
  OutputBuffer(const OutputBuffer&) = delete;
  OutputBuffer& operator=(const OutputBuffer&) = delete;

  void Append(std::string_view bytes);
  // A writable tail of at least `size` bytes; Commit tells how many were used.
  char* Reserve(size_t size);
  void Commit(size_t size);
  // Takes a reference to the page.
  void AppendPage(Page* page);
  // Inserts bytes at a mark that Mark() gave, once: for deferred headers. What follows the mark is
  // not sent before.
  uint64_t Mark();
  void InsertAt(uint64_t mark, std::string_view bytes);
  // Drops what was appended since the mark: nothing of it was sent.
  void TruncateTo(uint64_t mark);

  // Where the next byte goes, as long as nothing is sent: the same again if nothing was appended
  // since, and no mark is left.
  struct Position {
    uint64_t bytes = 0;
    size_t chunks = 0;
    bool operator==(const Position&) const = default;
  };
  Position position() const { return {pending_bytes_, chunks_.size()}; }

  bool empty() const { return pending_bytes_ == 0; }
  uint64_t pending_bytes() const { return pending_bytes_; }  // pages included
  uint64_t memory_bytes() const { return memory_bytes_; }    // what the process holds for it

  // Up to `max` parts, and `max_bytes`, from the front; the bytes stay where they are until Consume
  // even if more is appended, the array until the next Peek.
  std::span<const iovec> Peek(size_t max, uint64_t max_bytes);
  void Consume(uint64_t bytes);
  void Clear();
  // Gives back what an idle connection needn't hold.
  void ReleaseSpare();

 private:
  struct Chunk {
    std::unique_ptr<char[]> bytes;
    uint64_t capacity = 0;
    uint64_t size = 0;
    Page* page = nullptr;
    uint64_t id = 0;  // of the mark that it begins
  };
  size_t FindMark(uint64_t mark) const;
  void Drop(Chunk* chunk);
  std::deque<Chunk> chunks_;
  Chunk spare_;  // an emptied one, for the next reply
  size_t chunk_bytes_;
  std::vector<iovec> parts_;
  uint64_t next_mark_ = 1;
  uint64_t front_sent_ = 0;
  uint64_t pending_bytes_ = 0;
  uint64_t memory_bytes_ = 0;
};

}  // namespace firn::server
