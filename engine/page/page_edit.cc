#include "engine/page/page_edit.h"

#include <utility>

namespace firn {
namespace {

// Most of what is inserted is a number.
void CopyFew(char* to, std::string_view bytes) {
  switch (bytes.size()) {
    case 0:
      return;
    case 1:
      *to = bytes[0];
      return;
    case 2:
      return static_cast<void>(std::memcpy(to, bytes.data(), 2));
    case 4:
      return static_cast<void>(std::memcpy(to, bytes.data(), 4));
    case 8:
      return static_cast<void>(std::memcpy(to, bytes.data(), 8));
    default:
      std::memcpy(to, bytes.data(), bytes.size());
  }
}

int64_t ChangeOf(const Splice& splice) {
  return static_cast<int64_t>(splice.inserted.size()) - static_cast<int64_t>(splice.removed);
}

// Where the bytes that are kept between splice i and the next one begin and end.
std::pair<uint64_t, uint64_t> SegmentBehind(std::span<const Splice> splices, size_t i,
                                            uint64_t size) {
  const uint64_t begin = uint64_t{splices[i].offset} + splices[i].removed;
  return {begin, i + 1 < splices.size() ? splices[i + 1].offset : size};
}

}  // namespace

int64_t PageEdit::SizeChange() const {
  int64_t change = 0;
  for (const Splice& splice : splices()) change += ChangeOf(splice);
  return change;
}

bool CheckSplices(std::span<const Splice> splices, uint64_t size, uint64_t* new_size) {
  uint64_t end = 0;
  uint64_t result = size;
  for (const Splice& splice : splices) {
    if (splice.offset < end) return false;
    end = uint64_t{splice.offset} + splice.removed;
    if (end > size) return false;
    result = result - splice.removed + splice.inserted.size();
  }
  *new_size = result;
  return true;
}

void CopySpliced(std::span<const Splice> splices, std::string_view bytes, char* to) {
  uint64_t from = 0;
  auto copy = [&](std::string_view piece) {
    if (!piece.empty()) std::memcpy(to, piece.data(), piece.size());
    to += piece.size();
  };
  for (const Splice& splice : splices) {
    copy(bytes.substr(from, splice.offset - from));
    copy(splice.inserted);
    from = uint64_t{splice.offset} + splice.removed;
  }
  copy(bytes.substr(from));
}

// The kept bytes between two splices are a segment that moves by the sum of the size changes before
// it. Segments that move down are moved in ascending order, those that move up in descending order;
// as they keep their order, neither kind runs into one that has yet to move.
void ApplySplices(std::span<const Splice> splices, char* bytes, uint64_t size, int64_t shift) {
  auto move = [&](uint64_t begin, uint64_t end) {
    if (begin < end) std::memmove(bytes + begin + shift, bytes + begin, end - begin);
  };
  const uint64_t first = splices.empty() ? size : splices[0].offset;
  if (shift < 0) move(0, first);
  const int64_t first_shift = shift;
  for (size_t i = 0; i < splices.size(); ++i) {
    shift += ChangeOf(splices[i]);
    const auto [begin, end] = SegmentBehind(splices, i, size);
    if (shift < 0) move(begin, end);
  }
  for (size_t i = splices.size(); i-- > 0;) {
    const auto [begin, end] = SegmentBehind(splices, i, size);
    if (shift > 0) move(begin, end);
    shift -= ChangeOf(splices[i]);
    CopyFew(bytes + splices[i].offset + shift, splices[i].inserted);
  }
  CHECK(shift == first_shift);
  if (shift > 0) move(0, first);
}

Growth GrowthOf(std::span<const Splice> splices, uint64_t size) {
  Growth growth;
  uint64_t largest = splices.empty() ? size : splices[0].offset;
  int64_t change = 0;
  for (size_t i = 0; i < splices.size(); ++i) {
    change += ChangeOf(splices[i]);
    const auto [begin, end] = SegmentBehind(splices, i, size);
    if (end - begin <= largest) continue;
    largest = end - begin;
    growth.before = change;
  }
  growth.behind = change - growth.before;
  return growth;
}

}  // namespace firn
