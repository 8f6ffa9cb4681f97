#include "engine/page/packed_few.h"

#include <cstring>

#include "engine/page/packed_rows.h"

namespace firn {

uint64_t FewFields::Column::Sum(uint32_t rows) const {
  if (step == 0) return uint64_t{lengths[0]} * rows;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < rows; ++i) sum += lengths[i];
  return sum;
}

FewFields::FewFields(std::string_view page)
    : bytes_(page),
      rows_(LoadFixed<uint16_t>(page.data() + kRowsAt)),
      flags_(static_cast<uint8_t>(page[kFlagsAt])) {
  const auto* columns = reinterpret_cast<const uint8_t*>(page.data()) + kColumnsAt;
  lengths_ = {columns, (flags_ & kLengthsDiffer) != 0};
  values_ = {columns + lengths_.size(rows_), (flags_ & kValueLengthsDiffer) != 0};
}

bool FewFields::Validate(std::string_view page) {
  if (page.size() < kEmptySize) return false;
  if ((static_cast<uint8_t>(page[kFlagsAt]) & ~(kLengthsDiffer | kValueLengthsDiffer)) != 0) {
    return false;
  }
  const FewFields few(page);
  if (few.rows_ > kMaxRows || few.bytes_at() > page.size()) return false;
  for (uint32_t i = 0; i < few.rows_; ++i) {
    if (few.lengths_[i] == kLong || few.values_[i] == kLong) return false;
  }
  return few.RowOffset(few.rows_) == page.size();
}

uint64_t FewFields::RowOffset(uint32_t i) const {
  return bytes_at() + lengths_.Sum(i) + values_.Sum(i);
}

std::vector<uint32_t> FewFields::RowOffsets() const {
  std::vector<uint32_t> offsets(rows_ + 1);
  for (uint32_t i = 0; i <= rows_; ++i) offsets[i] = static_cast<uint32_t>(RowOffset(i));
  return offsets;
}

PackedRow FewFields::RowAt(uint32_t i, uint64_t* offset) const {
  const char* at = bytes_.data() + *offset;
  *offset += lengths_[i] + values_[i];
  return {.bytes = {at, lengths_[i]}, .value = {at + lengths_[i], values_[i]}};
}

uint32_t FewFields::Find(std::string_view bytes) const {
  const char* at = bytes_.data() + bytes_at();
  for (uint32_t i = 0; i < rows_; ++i) {
    const size_t length = lengths_[i];
    // Most names differ in their last byte.
    if (length == bytes.size() &&
        (length == 0 ||
         (at[length - 1] == bytes[length - 1] && std::memcmp(at, bytes.data(), length - 1) == 0))) {
      return i;
    }
    at += length + values_[i];
  }
  return rows_;
}

// --- edits

void FewFields::Column::Insert(uint32_t at, uint32_t i, uint32_t rows, uint8_t length,
                               PageEdit* edit) const {
  if (step != 0) {
    edit->AddNumber(at + i, 0, length);
  } else if (rows == 0) {
    edit->Overwrite(at, length);
  } else if (length != lengths[0]) {
    char* all = edit->AddScratch(at, 1, rows + 1);
    std::memset(all, lengths[0], rows + 1);
    all[i] = static_cast<char>(length);
  }
}

void FewFields::Column::Set(uint32_t at, uint32_t i, uint32_t rows, uint8_t length,
                            PageEdit* edit) const {
  if (length == (*this)[i]) return;
  if (step != 0 || rows == 1) return edit->Overwrite(at + i, length);
  char* all = edit->AddScratch(at, 1, rows);
  std::memset(all, lengths[0], rows);
  all[i] = static_cast<char>(length);
}

void FewFields::Insert(uint32_t i, const PackedRow& row, PageEdit* edit) const {
  CHECK(rows_ < kMaxRows && row.bytes.size() < kLong && row.value.size() < kLong);
  const auto length = static_cast<uint8_t>(row.bytes.size());
  const auto value_length = static_cast<uint8_t>(row.value.size());
  uint8_t flags = flags_;
  if (lengths_.Splits(rows_, length)) flags |= kLengthsDiffer;
  if (values_.Splits(rows_, value_length)) flags |= kValueLengthsDiffer;
  if (flags != flags_) edit->Overwrite(kFlagsAt, flags);
  edit->Overwrite(kRowsAt, static_cast<uint16_t>(rows_ + 1));
  lengths_.Insert(kColumnsAt, i, rows_, length, edit);
  values_.Insert(values_at(), i, rows_, value_length, edit);
  const auto offset = static_cast<uint32_t>(RowOffset(i));
  if (!row.bytes.empty()) edit->Add(offset, 0, row.bytes);
  if (!row.value.empty()) edit->Add(offset, 0, row.value);
}

void FewFields::Remove(uint32_t first, uint32_t count, PageEdit* edit) const {
  CHECK(count < rows_);  // the last row goes with the page
  edit->Overwrite(kRowsAt, static_cast<uint16_t>(rows_ - count));
  if (lengths_.step != 0) edit->Add(kColumnsAt + first, count, {});
  if (values_.step != 0) edit->Add(values_at() + first, count, {});
  const auto begin = static_cast<uint32_t>(RowOffset(first));
  const auto end = static_cast<uint32_t>(RowOffset(first + count));
  if (end > begin) edit->Add(begin, end - begin, {});
}

void FewFields::SetValue(uint32_t i, std::string_view value, PageEdit* edit) const {
  CHECK(i < rows_ && value.size() < kLong);
  const auto length = static_cast<uint8_t>(value.size());
  if (rows_ > 1 && values_.Splits(rows_, length)) {
    edit->Overwrite(kFlagsAt, static_cast<uint8_t>(flags_ | kValueLengthsDiffer));
  }
  values_.Set(values_at(), i, rows_, length, edit);
  const auto offset = static_cast<uint32_t>(RowOffset(i)) + lengths_[i];
  const uint32_t removed = values_[i];
  if (removed > 0 || !value.empty()) edit->Add(offset, removed, value);
}

}  // namespace firn
