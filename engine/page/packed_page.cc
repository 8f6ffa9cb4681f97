#include "engine/page/packed_page.h"

#include <algorithm>
#include <bit>
#include <cmath>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "engine/page/packed_few.h"
#include "engine/page/packed_rows.h"

namespace firn {
namespace {

#ifdef __SSE2__
// Sixteen bytes from `kLastBytes + n` on keep the last n of a chunk of sixteen.
constexpr uint8_t kLastBytes[32] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

__m128i LoadChunk(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}
#endif

uint64_t SumBytes(const uint8_t* bytes, uint32_t count) {
  uint64_t sum = 0;
  uint32_t i = 0;
#ifdef __SSE2__
  if (count >= 16) {
    const __m128i zero = _mm_setzero_si128();
    // What is left at the end is the end of the last chunk.
    const __m128i last =
        _mm_and_si128(LoadChunk(bytes + count - 16), LoadChunk(kLastBytes + count % 16));
    __m128i total = _mm_sad_epu8(last, zero);
    for (; i + 16 <= count; i += 16) {
      total = _mm_add_epi64(total, _mm_sad_epu8(LoadChunk(bytes + i), zero));
    }
    return static_cast<uint64_t>(_mm_cvtsi128_si64(total)) +
           static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_unpackhi_epi64(total, total)));
  }
#endif
  for (; i < count; ++i) sum += bytes[i];
  return sum;
}

// The first place from `first` on that holds `byte`.
uint32_t FindByte(const uint8_t* bytes, uint32_t first, uint32_t count, uint8_t byte) {
  uint32_t i = first;
#ifdef __SSE2__
  __m128i wanted = _mm_set1_epi8(static_cast<char>(byte));
  auto matches = [&](uint32_t at) {
    return static_cast<uint32_t>(_mm_movemask_epi8(_mm_cmpeq_epi8(LoadChunk(bytes + at), wanted)));
  };
  for (; i + 16 <= count; i += 16) {
    const uint32_t mask = matches(i);
    if (mask != 0) return i + static_cast<uint32_t>(std::countr_zero(mask));
  }
  if (count >= 16 && i < count) {
    // The chunk that ends with the last byte, without those that are no longer searched.
    const uint32_t mask = matches(count - 16) >> (i + 16 - count);
    return mask != 0 ? i + static_cast<uint32_t>(std::countr_zero(mask)) : count;
  }
#endif
  for (; i < count; ++i) {
    if (bytes[i] == byte) return i;
  }
  return count;
}

void AddBytes(uint32_t offset, std::string_view bytes, PageEdit* edit) {
  if (IsLong(bytes)) edit->AddNumber(offset, 0, static_cast<uint32_t>(bytes.size()));
  if (!bytes.empty()) edit->Add(offset, 0, bytes);
}

}  // namespace

const PackedPage::Shape& PackedPage::ShapeOf(PackedKind kind) {
  static constexpr Shape kShapes[] = {
      {}, {1, {1}}, {2, {1, 1}}, {3, {1, 1, 1}}, {4, {1, 1, 1, 8}}, {2, {8, 1}}, {2, {8, 8}}, {},
  };
  return kShapes[static_cast<size_t>(kind)];
}

uint32_t PackedPage::FixedSize(PackedKind kind) {
  static constexpr uint32_t kSizes[] = {0, 1, 2, 3, 11, 9, 16, 2};
  return kSizes[static_cast<size_t>(kind)];
}

const char* PackedPage::Column(uint32_t column) const {
  const Shape& shape = ShapeOf(kind());
  uint32_t offset = kHeaderSize;
  for (uint32_t i = 0; i < column; ++i) offset += rows() * shape.width[i];
  return bytes_.data() + offset;
}

const uint8_t* PackedPage::Lengths() const {
  if (kind() == PackedKind::kZsetIndex) return nullptr;
  uint32_t offset = kHeaderSize;
  if (HasTag(kind())) offset += rows();
  if (kind() == PackedKind::kZset) offset += 8 * rows();
  return reinterpret_cast<const uint8_t*>(bytes_.data() + offset);
}

const uint8_t* PackedPage::ValueLengths() const {
  return IsHash(kind()) ? Lengths() + rows() : nullptr;
}

bool PackedPage::Validate(std::string_view bytes) {
  if (bytes.size() < kHeaderSize) return false;
  auto kind = static_cast<uint8_t>(bytes[0]);
  if (kind < 1 || kind > static_cast<uint8_t>(PackedKind::kHashFew)) return false;
  PackedPage page(bytes);
  if (page.few()) return FewFields::Validate(bytes);
  uint64_t offset = kHeaderSize + uint64_t{page.FixedSize(page.kind())} * page.rows();
  if (offset > bytes.size()) return false;
  const uint8_t* lengths = page.Lengths();
  if (lengths == nullptr) return offset == bytes.size();
  const uint8_t* value_lengths = page.ValueLengths();
  uint32_t long_rows = 0;
  auto skip = [&](uint8_t length) {
    uint64_t size = length;
    if (length == kLong) {
      if (offset + kLongPrefix > bytes.size()) return false;
      size = LoadFixed<uint32_t>(bytes.data() + offset);
      if (size < kLong) return false;
      size += kLongPrefix;
    }
    offset += size;
    return offset <= bytes.size();
  };
  for (uint32_t i = 0; i < page.rows(); ++i) {
    bool is_long = lengths[i] == kLong;
    if (!skip(lengths[i])) return false;
    if (value_lengths != nullptr) {
      is_long |= value_lengths[i] == kLong;
      if (!skip(value_lengths[i])) return false;
    }
    long_rows += is_long;
  }
  return offset == bytes.size() && long_rows == page.long_rows();
}

std::string PackedPage::Empty(PackedKind kind) {
  static_assert(FewFields::kEmptySize == kHeaderSize);
  std::string bytes(kHeaderSize, '\0');
  bytes[0] = static_cast<char>(kind);
  return bytes;
}

uint64_t PackedPage::RowOffset(uint32_t i) const {
  if (few()) return FewFields(bytes_).RowOffset(i);
  const uint8_t* lengths = Lengths();
  uint64_t offset = BytesOffset();
  if (lengths == nullptr) return offset;
  const uint8_t* value_lengths = ValueLengths();
  if (long_rows() == 0) {
    constexpr uint32_t kFew = 4;
    if (const uint32_t behind = rows() - i; behind < kFew) {
      const uint64_t values = value_lengths != nullptr ? SumBytes(value_lengths + i, behind) : 0;
      return size() - SumBytes(lengths + i, behind) - values;
    }
    offset += SumBytes(lengths, i);
    if (value_lengths != nullptr) offset += SumBytes(value_lengths, i);
    return offset;
  }
  const char* at = bytes_.data() + offset;
  for (uint32_t row = 0; row < i; ++row) {
    TakeBytes(lengths[row], &at);
    if (value_lengths != nullptr) TakeBytes(value_lengths[row], &at);
  }
  return static_cast<uint64_t>(at - bytes_.data());
}

std::vector<uint32_t> PackedPage::RowOffsets() const {
  if (few()) return FewFields(bytes_).RowOffsets();
  const uint32_t count = rows();
  std::vector<uint32_t> offsets(count + 1);
  const uint8_t* lengths = Lengths();
  const uint8_t* value_lengths = ValueLengths();
  const char* at = bytes_.data() + BytesOffset();
  for (uint32_t i = 0; i < count; ++i) {
    offsets[i] = static_cast<uint32_t>(at - bytes_.data());
    if (lengths != nullptr) TakeBytes(lengths[i], &at);
    if (value_lengths != nullptr) TakeBytes(value_lengths[i], &at);
  }
  offsets[count] = static_cast<uint32_t>(at - bytes_.data());
  return offsets;
}

uint32_t PackedPage::CountLong(uint32_t first, uint32_t count) const {
  const uint8_t* lengths = Lengths();
  if (lengths == nullptr || long_rows() == 0) return 0;
  const uint8_t* value_lengths = ValueLengths();
  uint32_t found = 0;
  for (uint32_t i = first; i < first + count; ++i) {
    found += lengths[i] == kLong || (value_lengths != nullptr && value_lengths[i] == kLong);
  }
  return found;
}

PackedRow PackedPage::Row(uint32_t i) const {
  if (few()) return FewFields(bytes_).Row(i);
  PackedRow row;
  if (kind() == PackedKind::kZsetIndex) {
    row.hash = Hash(i);
    row.score = IndexedScore(i);
    return row;
  }
  const char* at = bytes_.data() + RowOffset(i);
  row.bytes = TakeBytes(Lengths()[i], &at);
  if (const uint8_t* value_lengths = ValueLengths()) row.value = TakeBytes(value_lengths[i], &at);
  if (HasTag(kind())) row.tag = static_cast<uint8_t>(bytes_[kHeaderSize + i]);
  if (kind() == PackedKind::kHashTtl) row.expiry_ms = LoadFixed<int64_t>(Column(3) + 8 * i);
  if (kind() == PackedKind::kZset) row.score = Score(i);
  return row;
}

PackedPage::Cursor::Cursor(const PackedPage& page, uint32_t first)
    : page_(page), rows_(page.rows()), i_(first), offset_(page.RowOffset(first)) {
  if (valid()) Load();
}

void PackedPage::Cursor::Load() {
  if (page_.few()) {
    row_ = FewFields(page_.bytes_).RowAt(i_, &offset_);
    return;
  }
  if (page_.kind() == PackedKind::kZsetIndex) {
    row_ = page_.Row(i_);
    return;
  }
  const char* at = page_.bytes_.data() + offset_;
  row_.bytes = TakeBytes(page_.Lengths()[i_], &at);
  if (const uint8_t* lengths = page_.ValueLengths()) row_.value = TakeBytes(lengths[i_], &at);
  offset_ = static_cast<uint64_t>(at - page_.bytes_.data());
  if (HasTag(page_.kind())) row_.tag = static_cast<uint8_t>(page_.bytes_[kHeaderSize + i_]);
  if (page_.kind() == PackedKind::kHashTtl) {
    row_.expiry_ms = LoadFixed<int64_t>(page_.Column(3) + 8 * i_);
  }
  if (page_.kind() == PackedKind::kZset) row_.score = page_.Score(i_);
}

void PackedPage::Cursor::Next() {
  ++i_;
  if (valid()) Load();
}

// --- searches

uint32_t PackedPage::FindTagged(uint8_t tag, std::string_view bytes) const {
  if (few()) return FewFields(bytes_).Find(bytes);
  uint32_t count = rows();
  const auto* tags = reinterpret_cast<const uint8_t*>(bytes_.data() + kHeaderSize);
  const uint8_t* lengths = Lengths();
  for (uint32_t i = FindByte(tags, 0, count, tag); i < count;
       i = FindByte(tags, i + 1, count, tag)) {
    if (lengths[i] != LengthByte(bytes)) continue;
    if (Row(i).bytes == bytes) return i;
  }
  return count;
}

const char* PackedPage::FirstTagged(uint8_t tag) const {
  const auto* tags = reinterpret_cast<const uint8_t*>(bytes_.data() + kHeaderSize);
  const uint32_t row = FindByte(tags, 0, rows(), tag);
  return row == rows() ? nullptr : bytes_.data() + RowOffset(row);
}

uint32_t PackedPage::FindBytes(std::string_view bytes, uint32_t first) const {
  uint32_t count = rows();
  const uint8_t* lengths = Lengths();
  uint8_t length = LengthByte(bytes);
  uint32_t i = FindByte(lengths, first, count, length);
  if (i == count) return count;
  // Elements of one length are common: their places are added up on the way, not for each anew. And
  // most names differ in their ends.
  constexpr size_t kEnd = sizeof(uint64_t);
  const uint64_t end = bytes.size() < kEnd ? 0 : LoadFixed<uint64_t>(bytes.end() - kEnd);
  const char* at = bytes_.data() + RowOffset(i);
  for (; i < count; ++i) {
    std::string_view row = TakeBytes(lengths[i], &at);
    if (lengths[i] != length) continue;
    if (row.size() >= kEnd && LoadFixed<uint64_t>(row.end() - kEnd) != end) continue;
    if (row == bytes) return i;
  }
  return count;
}

uint8_t PackedPage::LongestLength() const {
  const uint8_t* lengths = Lengths();
  uint8_t longest = 0;
  uint32_t i = 0;
#ifdef __SSE2__
  __m128i most = _mm_setzero_si128();
  for (; i + 16 <= rows(); i += 16) {
    most = _mm_max_epu8(most, _mm_loadu_si128(reinterpret_cast<const __m128i*>(lengths + i)));
  }
  alignas(16) uint8_t parts[16];
  _mm_store_si128(reinterpret_cast<__m128i*>(parts), most);
  for (uint8_t part : parts) longest = std::max(longest, part);
#endif
  for (; i < rows(); ++i) longest = std::max(longest, lengths[i]);
  return longest;
}

// --- edits

bool PackedPage::TakesRow(const PackedRow& row) const {
  return !few() || (rows() < FewFields::kMaxRows && !IsLong(row.bytes) && !IsLong(row.value));
}
bool PackedPage::TakesValue(std::string_view value) const { return !few() || !IsLong(value); }

uint64_t PackedPage::RowSize(PackedKind kind, const PackedRow& row) {
  uint64_t size = FixedSize(kind);
  if (kind == PackedKind::kZsetIndex) return size;
  size += StoredSize(row.bytes);
  if (IsHash(kind)) size += StoredSize(row.value);
  return size;
}

void PackedPage::Insert(uint32_t i, const PackedRow& row, PageEdit* edit) const {
  uint32_t count = rows();
  CHECK(i <= count && count < kMaxRows);
  if (few()) return FewFields(bytes_).Insert(i, row, edit);
  bool is_long = kind() != PackedKind::kZsetIndex &&
                 (IsLong(row.bytes) || (IsHash(kind()) && IsLong(row.value)));
  edit->Overwrite(2, static_cast<uint16_t>(count + 1));
  if (is_long) edit->Overwrite(4, static_cast<uint16_t>(long_rows() + 1));
  uint32_t at = kHeaderSize;
  switch (kind()) {
    case PackedKind::kZsetIndex:
      edit->AddNumber(at + 8 * i, 0, row.hash);
      edit->AddNumber(at + 8 * count + 8 * i, 0, row.score);
      return;
    case PackedKind::kZset:
      edit->AddNumber(at + 8 * i, 0, row.score);
      at += 8 * count;
      break;
    case PackedKind::kSet:
    case PackedKind::kHash:
    case PackedKind::kHashTtl:
      edit->AddNumber(at + i, 0, row.tag);
      at += count;
      break;
    case PackedKind::kList:
    case PackedKind::kHashFew:
      break;
  }
  edit->AddNumber(at + i, 0, LengthByte(row.bytes));
  at += count;
  if (IsHash(kind())) {
    edit->AddNumber(at + i, 0, LengthByte(row.value));
    at += count;
  }
  if (kind() == PackedKind::kHashTtl) edit->AddNumber(at + 8 * i, 0, row.expiry_ms);
  auto offset = static_cast<uint32_t>(RowOffset(i));
  AddBytes(offset, row.bytes, edit);
  if (IsHash(kind())) AddBytes(offset, row.value, edit);
}

void PackedPage::InsertPage(uint32_t i, const PackedPage& other, PageEdit* edit) const {
  uint32_t count = rows();
  uint32_t added = other.rows();
  CHECK(other.kind() == kind() && !few() && i <= count && count + added <= kMaxRows);
  edit->Overwrite(2, static_cast<uint16_t>(count + added));
  if (other.long_rows() > 0) {
    edit->Overwrite(4, static_cast<uint16_t>(long_rows() + other.long_rows()));
  }
  const Shape& shape = ShapeOf(kind());
  uint32_t at = kHeaderSize;
  for (uint32_t column = 0; column < shape.columns; ++column) {
    uint32_t width = shape.width[column];
    edit->Add(at + i * width, 0, {other.Column(column), added * width});
    at += count * width;
  }
  std::string_view bytes = other.bytes_.substr(other.BytesOffset());
  if (!bytes.empty()) edit->Add(static_cast<uint32_t>(RowOffset(i)), 0, bytes);
}

void PackedPage::Remove(uint32_t first, uint32_t removed, PageEdit* edit) const {
  uint32_t count = rows();
  CHECK(removed > 0 && first + removed <= count);
  if (few()) return FewFields(bytes_).Remove(first, removed, edit);
  edit->Overwrite(2, static_cast<uint16_t>(count - removed));
  if (uint32_t gone = CountLong(first, removed); gone > 0) {
    edit->Overwrite(4, static_cast<uint16_t>(long_rows() - gone));
  }
  const Shape& shape = ShapeOf(kind());
  uint32_t at = kHeaderSize;
  for (uint32_t i = 0; i < shape.columns; ++i) {
    edit->Add(at + first * shape.width[i], removed * shape.width[i], {});
    at += count * shape.width[i];
  }
  if (kind() == PackedKind::kZsetIndex) return;
  auto begin = static_cast<uint32_t>(RowOffset(first));
  auto end = static_cast<uint32_t>(first + removed == count ? size() : RowOffset(first + removed));
  if (end > begin) edit->Add(begin, end - begin, {});
}

void PackedPage::SetValue(uint32_t i, std::string_view value, PageEdit* edit) const {
  if (few()) return FewFields(bytes_).SetValue(i, value, edit);
  CHECK(IsHash(kind()) && i < rows());
  PackedRow old = Row(i);
  bool was_long = IsLong(old.bytes) || IsLong(old.value);
  bool is_long = IsLong(old.bytes) || IsLong(value);
  if (was_long != is_long) {
    edit->Overwrite(4, static_cast<uint16_t>(long_rows() + (is_long ? 1 : -1)));
  }
  uint8_t length = LengthByte(value);
  const auto* place = ValueLengths() + i;
  if (*place != length) {
    edit->Overwrite(static_cast<uint32_t>(reinterpret_cast<const char*>(place) - bytes_.data()),
                    length);
  }
  auto offset = static_cast<uint32_t>(old.value.data() - bytes_.data());
  auto removed = static_cast<uint32_t>(old.value.size());
  if (IsLong(old.value)) {
    offset -= kLongPrefix;
    removed += kLongPrefix;
  }
  if (IsLong(value)) {
    edit->AddNumber(offset, removed, static_cast<uint32_t>(value.size()));
    offset += removed;
    removed = 0;
  }
  if (removed > 0 || !value.empty()) edit->Add(offset, removed, value);
}

void PackedPage::SetBytes(uint32_t i, std::string_view bytes, PageEdit* edit) const {
  CHECK(kind() == PackedKind::kList && i < rows());
  PackedRow old = Row(i);
  if (IsLong(old.bytes) != IsLong(bytes)) {
    edit->Overwrite(4, static_cast<uint16_t>(long_rows() + (IsLong(bytes) ? 1 : -1)));
  }
  edit->Overwrite(kHeaderSize + i, LengthByte(bytes));
  auto offset = static_cast<uint32_t>(RowOffset(i));
  auto removed = static_cast<uint32_t>(StoredSize(old.bytes));
  if (IsLong(bytes)) {
    edit->AddNumber(offset, removed, static_cast<uint32_t>(bytes.size()));
    offset += removed;
    removed = 0;
  }
  if (removed > 0 || !bytes.empty()) edit->Add(offset, removed, bytes);
}

void PackedPage::SetExpiry(uint32_t i, int64_t expiry_ms, PageEdit* edit) const {
  CHECK(kind() == PackedKind::kHashTtl && i < rows());
  edit->Overwrite(kHeaderSize + 3 * rows() + 8 * i, expiry_ms);
}

void PackedPage::SetIndexedScore(uint32_t i, double score, PageEdit* edit) const {
  CHECK(kind() == PackedKind::kZsetIndex && i < rows());
  edit->Overwrite(kHeaderSize + 8 * rows() + 8 * i, score);
}

void PackedPage::MoveScored(uint32_t i, uint32_t to, double score, std::string_view bytes,
                            PageEdit* edit) const {
  CHECK(kind() == PackedKind::kZset && i < rows() && to <= rows());
  if (to == i || to == i + 1) {
    edit->Overwrite(kHeaderSize + 8 * i, score);
    return;
  }
  uint8_t length = LengthByte(bytes);
  auto from_offset = static_cast<uint32_t>(RowOffset(i));
  auto to_offset = static_cast<uint32_t>(RowOffset(to));
  auto stored = static_cast<uint32_t>(StoredSize(bytes));
  uint32_t lengths = kHeaderSize + 8 * rows();
  if (to < i) {
    edit->AddNumber(kHeaderSize + 8 * to, 0, score);
    edit->Add(kHeaderSize + 8 * i, 8, {});
    edit->AddNumber(lengths + to, 0, length);
    edit->Add(lengths + i, 1, {});
    AddBytes(to_offset, bytes, edit);
    if (stored > 0) edit->Add(from_offset, stored, {});
  } else {
    edit->Add(kHeaderSize + 8 * i, 8, {});
    edit->AddNumber(kHeaderSize + 8 * to, 0, score);
    edit->Add(lengths + i, 1, {});
    edit->AddNumber(lengths + to, 0, length);
    if (stored > 0) edit->Add(from_offset, stored, {});
    AddBytes(to_offset, bytes, edit);
  }
}

}  // namespace firn
