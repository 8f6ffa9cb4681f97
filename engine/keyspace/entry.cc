#include "engine/keyspace/entry.h"

#include <cstring>

#include "engine/base/allocation.h"

namespace firn {
namespace {

constexpr uint8_t kSpecFlags =
    Entry::kRaw | Entry::kDirty | Entry::kTransient | Entry::kBlind | Entry::kPinned;

int DecimalSize(int64_t value) {
  uint64_t magnitude = value < 0 ? -static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  int digits = 1;
  for (; magnitude >= 10; magnitude /= 10) ++digits;
  return digits + (value < 0);
}

}  // namespace

Entry* Entry::Create(const Spec& spec) {
  CHECK((spec.flags & ~kSpecFlags) == 0);
  CHECK(spec.access <= 0xffffff);
  CHECK(spec.position >> 40 == 0);
  uint8_t flags = spec.flags;
  uint8_t word[kWordSize];
  std::string_view payload(reinterpret_cast<const char*>(word), kWordSize);
  if (spec.kind != Kind::kHot) {
    CHECK(spec.page == nullptr && !spec.is_integer && spec.value.empty());
    StoreFixed(word, spec.stub_size);
    payload = payload.substr(0, spec.stub_size == 0 ? 0 : sizeof spec.stub_size);
  } else if (spec.is_integer) {
    CHECK(spec.page == nullptr);
    flags |= kInteger;
    StoreFixed(word, spec.integer);
  } else if (spec.page != nullptr || spec.value.size() > kMaxInlineValueSize) {
    flags |= kPaged;
    Page* page = spec.page != nullptr ? spec.page : Page::CopyOf(spec.value, spec.value.size());
    StoreFixed(word, page);
  } else if (spec.reserved != 0) {
    payload = {static_cast<const char*>(nullptr), 0};
  } else {
    payload = spec.value;
  }
  const uint64_t payload_size = payload.size() + spec.reserved;
  if (spec.expiry_ms != kNoExpiry) flags |= kHasExpiry;

  uint8_t sizes[2 * kMaxVarintBytes];
  int sizes_size = StoreVarint(sizes, spec.key.size());
  sizes_size += StoreVarint(sizes + sizes_size, payload_size);
  const uint64_t expiry_size = flags & kHasExpiry ? kWordSize : 0;
  auto* block = static_cast<uint8_t*>(
      AllocateBlock(kHeaderSize + sizes_size + expiry_size + spec.key.size() + payload_size));
  block[0] = static_cast<uint8_t>(static_cast<int>(spec.kind) | static_cast<int>(spec.type) << 4);
  block[1] = flags;
  uint8_t* at = block + kHeaderSize;
  at = static_cast<uint8_t*>(std::memcpy(at, sizes, sizes_size)) + sizes_size;
  if (expiry_size != 0) StoreFixed(at, spec.expiry_ms);
  at += expiry_size;
  if (!spec.key.empty()) std::memcpy(at, spec.key.data(), spec.key.size());
  if (!payload.empty()) std::memcpy(at + spec.key.size(), payload.data(), payload.size());

  auto* entry = reinterpret_cast<Entry*>(block);
  entry->set_access(spec.access);
  entry->set_position(spec.position);
  return entry;
}

void Entry::Free(Entry* entry) {
  Layout layout = entry->Decode();
  if (entry->Has(kPaged)) LoadFixed<Page*>(layout.payload)->Release();
  FreeBlock(entry, layout.BlockSize(entry));
}

Entry* Entry::CopyBlock() const {
  const uint64_t size = Decode().BlockSize(this);
  return static_cast<Entry*>(std::memcpy(AllocateBlockElsewhere(size), bytes_, size));
}

void Entry::FreeCopiedBlock(Entry* entry) {
  FreeLeftBlock(entry, entry->Decode().BlockSize(entry));
}

void Entry::set_expiry_ms(int64_t expiry_ms) {
  CHECK(Has(kHasExpiry));
  CHECK(expiry_ms != kNoExpiry);
  StoreFixed(const_cast<uint8_t*>(Decode().expiry), expiry_ms);
}

void Entry::set_integer(int64_t value) {
  CHECK(Has(kInteger));
  StoreFixed(MutablePayload(), value);
}

Page* Entry::exchange_page(Page* page) {
  Page* old = this->page();
  StoreFixed(MutablePayload(), page);
  return old;
}

void Entry::OverwriteInline(std::string_view value) {
  CHECK(kind() == Kind::kHot && !Has(kInteger) && !Has(kPaged));
  Layout layout = Decode();
  CHECK(value.size() == layout.payload_size);
  if (!value.empty()) std::memmove(const_cast<char*>(layout.payload), value.data(), value.size());
}

bool Entry::SpliceInPlace(std::span<const Splice> splices, uint64_t new_size) {
  CHECK(kind() == Kind::kHot && !Has(kInteger));
  Layout layout = Decode();
  if (Has(kPaged)) {
    auto* page = LoadFixed<Page*>(layout.payload);
    if (page->IsShared() || new_size > page->capacity() || new_size < page->capacity() / 2) {
      return false;
    }
    ApplySplices(splices, page->data(), page->size());
    page->set_size(new_size);
    return true;
  }
  if (new_size == layout.payload_size) {
    ApplySplices(splices, const_cast<char*>(layout.payload), new_size);
    return true;
  }
  if (new_size > kMaxInlineValueSize || VarintSize(new_size) != VarintSize(layout.payload_size)) {
    return false;
  }
  // Blocks are freed by their size: it must stay in the class that they were allocated in.
  uint64_t old_block = layout.BlockSize(this);
  uint64_t new_block = old_block - layout.payload_size + new_size;
  if (!FitsBlock(this, old_block, new_block)) return false;
  ApplySplices(splices, const_cast<char*>(layout.payload), layout.payload_size);
  uint8_t* at = bytes_ + kHeaderSize + VarintSize(layout.key_size);
  StoreVarint(at, new_size);
  return true;
}

Entry* Entry::Spliced(std::span<const Splice> splices, uint64_t new_size) const {
  CHECK(kind() == Kind::kHot && !Has(kInteger));
  Spec spec{.kind = Kind::kHot,
            .type = type(),
            .key = key(),
            .expiry_ms = expiry_ms(),
            .access = access(),
            .position = position(),
            .flags = static_cast<uint8_t>(flags() & kSpecFlags)};
  Entry* entry;
  if (new_size > kMaxInlineValueSize) {
    // Room to grow by a quarter, so that what grows bit by bit is seldom copied.
    spec.page = Page::Create(new_size, new_size + new_size / 4);
    CopySpliced(splices, value(), spec.page->data());
    entry = Create(spec);
  } else {
    spec.reserved = new_size;
    entry = Create(spec);
    CopySpliced(splices, value(), entry->MutablePayload());
  }
  entry->set_referenced(referenced());
  return entry;
}

Entry* Entry::WithExpiry(int64_t expiry_ms) const {
  CHECK(kind() == Kind::kHot);
  Spec spec{.kind = Kind::kHot,
            .type = type(),
            .key = key(),
            .expiry_ms = expiry_ms,
            .access = access(),
            .position = position(),
            .flags = static_cast<uint8_t>(flags() & kSpecFlags)};
  if (Has(kInteger)) {
    spec.is_integer = true;
    spec.integer = integer();
  } else if (Has(kPaged)) {
    spec.page = page();
    spec.page->Acquire();
  } else {
    spec.value = value();
  }
  Entry* entry = Create(spec);
  entry->set_referenced(referenced());
  return entry;
}

uint32_t Entry::stub_size() const {
  CHECK(kind() == Kind::kStub);
  Layout layout = Decode();
  return layout.payload_size == 0 ? 0 : LoadFixed<uint32_t>(layout.payload);
}

uint64_t Entry::StringLength() const {
  return Has(kInteger) ? DecimalSize(integer()) : value().size();
}

uint64_t Entry::MemoryBytes() const {
  Layout layout = Decode();
  uint64_t bytes = BlockMemoryBytes(this, layout.BlockSize(this));
  if (Has(kPaged)) bytes += LoadFixed<Page*>(layout.payload)->MemoryBytes();
  return bytes;
}

}  // namespace firn
