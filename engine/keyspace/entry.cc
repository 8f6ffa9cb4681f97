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
  } else {
    payload = spec.value;
  }
  if (spec.expiry_ms != kNoExpiry) flags |= kHasExpiry;

  uint8_t sizes[2 * kMaxVarintBytes];
  int sizes_size = StoreVarint(sizes, spec.key.size());
  sizes_size += StoreVarint(sizes + sizes_size, payload.size());
  const uint64_t expiry_size = flags & kHasExpiry ? kWordSize : 0;
  auto* block = static_cast<uint8_t*>(
      AllocateBlock(kHeaderSize + sizes_size + expiry_size + spec.key.size() + payload.size()));
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
