#include "engine/keyspace/entry.h"

#include <algorithm>
#include <cstring>

#include "engine/base/fine_blocks.h"

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

// How much of the free bytes should lie before a value that was changed so and may be again.
uint16_t SlackFor(const Growth& growth, uint64_t free) {
  const auto before = static_cast<uint64_t>(std::max<int64_t>(growth.before, 0));
  const auto behind = static_cast<uint64_t>(std::max<int64_t>(growth.behind, 0));
  return before == 0 ? 0 : static_cast<uint16_t>(free * before / (before + behind));
}

}  // namespace

Entry* Entry::Create(const Spec& spec) {
  CHECK((spec.flags & ~kSpecFlags) == 0);
  CHECK(spec.access <= 0xffffff);
  CHECK(spec.position >> 40 == 0);
  uint8_t flags = spec.flags;
  uint8_t word[kWordSize] = {};
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
  uint64_t block_size = kHeaderSize + sizes_size + expiry_size + spec.key.size() + payload_size;
  if (spec.is_loose) {
    CHECK(block_size + kSlackSize + spec.slack <= spec.block_size);
    block_size = spec.block_size;
  }
  auto* block = static_cast<uint8_t*>(AllocateFineBlock(block_size));
  block[0] = static_cast<uint8_t>(static_cast<int>(spec.kind) | (spec.is_loose ? kLooseBit : 0) |
                                  static_cast<int>(spec.type) << 4);
  block[1] = flags;
  uint8_t* at = block + kHeaderSize;
  at = static_cast<uint8_t*>(std::memcpy(at, sizes, sizes_size)) + sizes_size;
  if (expiry_size != 0) StoreFixed(at, spec.expiry_ms);
  at += expiry_size;
  if (spec.is_loose) {
    StoreFixed(at, spec.slack);
    at += kSlackSize;
  }
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
  FreeFineBlock(entry, layout.BlockSize(entry));
}

Entry* Entry::CopyBlock() const {
  const uint64_t size = Decode().BlockSize(this);
  return static_cast<Entry*>(std::memcpy(AllocateFineBlockElsewhere(size), bytes_, size));
}

void Entry::FreeCopiedBlock(Entry* entry) {
  FreeLeftFineBlock(entry, entry->Decode().BlockSize(entry));
}

uint64_t Entry::BlockSize() const { return Decode().BlockSize(this); }

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

bool Entry::Overwrite(const Spec& spec) {
  constexpr uint8_t kShape = kHasExpiry | kInteger | kPaged;
  constexpr uint8_t kStays = kShape | kPinned | kBlind;
  const uint8_t shape =
      (spec.expiry_ms != kNoExpiry ? kHasExpiry : 0) | (spec.is_integer ? kInteger : 0);
  const bool is_alike = kind() == Kind::kHot && spec.kind == Kind::kHot && type() == spec.type &&
                        (flags() & kShape) == shape && spec.page == nullptr && spec.reserved == 0;
  if (!is_alike) return false;
  const Layout layout = Decode();
  char* payload = const_cast<char*>(layout.payload);
  if (spec.is_integer) {
    StoreFixed(payload, spec.integer);
  } else {
    if (spec.value.size() != layout.payload_size) return false;
    if (!spec.value.empty()) std::memmove(payload, spec.value.data(), spec.value.size());
  }
  if (Has(kHasExpiry)) StoreFixed(const_cast<uint8_t*>(layout.expiry), spec.expiry_ms);
  bytes_[1] = static_cast<uint8_t>((flags() & kStays) | spec.flags);
  set_referenced(false);
  set_access(spec.access);
  set_position(spec.position);
  return true;
}

bool Entry::SpliceInPlace(std::span<const Splice> splices, uint64_t new_size) {
  CHECK(kind() == Kind::kHot && !Has(kInteger));
  Layout layout = Decode();
  const bool overwrites =
      splices.size() == 1 && !Has(kPaged) && splices[0].removed == splices[0].inserted.size();
  if (overwrites) {
    const std::string_view inserted = splices[0].inserted;
    CHECK(splices[0].offset + inserted.size() <= layout.payload_size);
    char* to = const_cast<char*>(layout.payload) + splices[0].offset;
    if (!inserted.empty()) std::memmove(to, inserted.data(), inserted.size());
    return true;
  }
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
  // Blocks are freed by their size: it must stay in the class that they were allocated in, which is
  // the least for what is needed.
  const uint64_t old_needed = layout.BlockSize(this) - layout.slack;
  const uint64_t new_needed = old_needed - layout.payload_size + new_size;
  if (!FitsFineBlock(this, old_needed, new_needed)) return false;
  int64_t shift = 0;
  if (is_loose()) {
    const uint64_t free = FineBlockMemoryBytes(this, new_needed) - new_needed;
    const Growth growth = GrowthOf(splices, layout.payload_size);
    shift = -growth.before;
    int64_t slack = static_cast<int64_t>(layout.slack) + shift;
    if (slack < 0 || slack > static_cast<int64_t>(free)) {
      slack = SlackFor(growth, free);
      shift = slack - static_cast<int64_t>(layout.slack);
    }
    StoreFixed(layout.slack_at(), static_cast<uint16_t>(slack));
  }
  ApplySplices(splices, const_cast<char*>(layout.payload), layout.payload_size, shift);
  uint8_t* at = bytes_ + kHeaderSize + VarintSize(layout.key_size);
  StoreVarint(at, new_size);
  return true;
}

bool Entry::Patch(std::span<const Splice> splices) {
  if (Has(kPaged)) return false;
  const Layout layout = Decode();
  auto* payload = const_cast<char*>(layout.payload);
  for (const Splice& splice : splices) {
    CHECK(splice.offset + splice.inserted.size() <= layout.payload_size);
    std::memcpy(payload + splice.offset, splice.inserted.data(), splice.inserted.size());
  }
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
    PlanLoose(splices, &spec);
    entry = Create(spec);
    CopySpliced(splices, value(), entry->MutablePayload());
  }
  entry->set_referenced(referenced());
  return entry;
}

// Makes what is to be created loose if that takes no more memory.
void Entry::PlanLoose(std::span<const Splice> splices, Spec* spec) const {
  if (spec->type == ValueType::kString) return;
  const uint64_t plain_size =
      kHeaderSize + VarintSize(spec->key.size()) + VarintSize(spec->reserved) +
      (spec->expiry_ms != kNoExpiry ? kWordSize : 0) + spec->key.size() + spec->reserved;
  if (plain_size <= kLeastLooseBlock) return;
  const uint64_t block_size = BlockClassBytes(plain_size);
  if (plain_size + kSlackSize > block_size) return;
  spec->is_loose = true;
  spec->block_size = block_size;
  spec->slack = SlackFor(GrowthOf(splices, value().size()), block_size - plain_size - kSlackSize);
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
  uint64_t bytes = FineBlockMemoryBytes(this, layout.BlockSize(this));
  if (Has(kPaged)) bytes += LoadFixed<Page*>(layout.payload)->MemoryBytes();
  return bytes;
}

}  // namespace firn
