#include <cstring>

#include "engine/page/packed_rows.h"

namespace firn {

void PackedBuilder::Add(const PackedRow& row) {
  CHECK(rows_ < PackedPage::kMaxRows && kind_ != PackedKind::kHashFew);
  ++rows_;
  switch (kind_) {
    case PackedKind::kZsetIndex:
      AppendFixed(&columns_[0], row.hash);
      AppendFixed(&columns_[1], row.score);
      return;
    case PackedKind::kZset:
      AppendFixed(&columns_[0], row.score);
      break;
    case PackedKind::kSet:
    case PackedKind::kHash:
    case PackedKind::kHashTtl:
      AppendFixed(&columns_[0], row.tag);
      break;
    case PackedKind::kList:
    case PackedKind::kHashFew:
      break;
  }
  bool is_long = IsLong(row.bytes);
  AppendFixed(&columns_[1], LengthByte(row.bytes));
  AppendBytes(&bytes_, row.bytes);
  if (IsHash(kind_)) {
    AppendFixed(&columns_[2], LengthByte(row.value));
    AppendBytes(&bytes_, row.value);
    is_long |= IsLong(row.value);
  }
  if (kind_ == PackedKind::kHashTtl) AppendFixed(&columns_[3], row.expiry_ms);
  long_rows_ += is_long;
}

void PackedBuilder::AddRows(const PackedPage& page, uint32_t first, uint32_t count) {
  CHECK(first + count <= page.rows());
  CHECK(!page.few());  // its rows have no tags
  if (page.kind() != kind_) {
    PackedPage::Cursor cursor(page, first);
    for (uint32_t i = 0; i < count; ++i, cursor.Next()) Add(cursor.row());
    return;
  }
  CHECK(rows_ + count <= PackedPage::kMaxRows);
  rows_ += count;
  long_rows_ += page.CountLong(first, count);
  const PackedPage::Shape& shape = PackedPage::ShapeOf(kind_);
  // A list's only column is the one of the lengths.
  const uint32_t skipped = kind_ == PackedKind::kList ? 1 : 0;
  for (uint32_t i = 0; i < shape.columns; ++i) {
    const uint32_t width = shape.width[i];
    columns_[i + skipped].append(page.Column(i) + first * width, count * width);
  }
  const uint64_t begin = page.RowOffset(first);
  const uint64_t end = first + count == page.rows() ? page.size() : page.RowOffset(first + count);
  bytes_.append(page.bytes_, begin, end - begin);
}

void PackedBuilder::PickRows(const PackedPage& page, std::span<const uint32_t> rows) {
  CHECK(page.kind() == kind_ && rows_ + rows.size() <= PackedPage::kMaxRows);
  rows_ += static_cast<uint32_t>(rows.size());
  const PackedPage::Shape& shape = PackedPage::ShapeOf(kind_);
  const uint32_t skipped = kind_ == PackedKind::kList ? 1 : 0;
  for (uint32_t i = 0; i < shape.columns; ++i) {
    const uint32_t width = shape.width[i];
    const char* column = page.Column(i);
    std::string& out = columns_[i + skipped];
    const size_t before = out.size();
    out.resize(before + rows.size() * width);
    char* to = out.data() + before;
    for (uint32_t row : rows) {
      if (width == 1) {
        *to = column[row];
      } else {
        std::memcpy(to, column + 8 * row, 8);
      }
      to += width;
    }
  }
  const std::vector<uint32_t> offsets = page.RowOffsets();
  size_t bytes = bytes_.size();
  for (uint32_t row : rows) bytes += offsets[row + 1] - offsets[row];
  bytes_.reserve(bytes);
  for (uint32_t row : rows) {
    bytes_.append(page.bytes_, offsets[row], offsets[row + 1] - offsets[row]);
    if (page.long_rows() > 0) long_rows_ += page.CountLong(row, 1);
  }
}

uint64_t PackedBuilder::size() const {
  uint64_t size = PackedPage::kHeaderSize + bytes_.size();
  for (const std::string& column : columns_) size += column.size();
  return size;
}

std::string PackedBuilder::Finish() const {
  std::string page;
  page.reserve(size());
  page.resize(PackedPage::kHeaderSize);
  page[0] = static_cast<char>(kind_);
  StoreFixed(page.data() + 2, static_cast<uint16_t>(rows_));
  StoreFixed(page.data() + 4, static_cast<uint16_t>(long_rows_));
  for (const std::string& column : columns_) page += column;
  page += bytes_;
  return page;
}

}  // namespace firn
