#include "engine/page/page.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/base/allocation.h"
#include "engine/base/check.h"

namespace firn {

Page* Page::Create(uint64_t size, uint64_t capacity) {
  CHECK(size <= capacity);
  return new (AllocateBlock(sizeof(Page) + capacity)) Page(size, capacity);
}

Page* Page::CopyOf(std::string_view bytes, uint64_t capacity) {
  Page* page = Create(bytes.size(), capacity);
  std::copy_n(bytes.data(), bytes.size(), page->data());
  return page;
}

void Page::Release() {
  const uint32_t before = references_.fetch_sub(1, std::memory_order_acq_rel);
  CHECK(before > 0);
  if (before == 1) FreeBlock(this, sizeof(Page) + capacity_);
}

uint64_t Page::MemoryBytes() const { return BlockMemoryBytes(this, sizeof(Page) + capacity_); }

Page* Page::MakeUnique(Page* page, uint64_t size, uint64_t capacity) {
  CHECK(size <= capacity);
  const uint64_t kept = std::min(page->size_, size);
  if (page->IsShared()) {
    Page* copy = CopyOf(page->bytes().substr(0, kept), capacity);
    page->Release();
    page = copy;
  } else if (page->capacity_ < capacity) {
    // The allocator can often extend a big block in place.
    page = static_cast<Page*>(ReallocateBlock(page, sizeof(Page) + capacity));
    page->capacity_ = capacity;
  }
  page->size_ = size;
  std::memset(page->data() + kept, 0, size - kept);
  return page;
}

}  // namespace firn
