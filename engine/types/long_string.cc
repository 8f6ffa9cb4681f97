#include "engine/types/long_string.h"

#include <cstring>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/types/root_format.h"

namespace firn {
namespace {

constexpr uint32_t kBitmapAt = kTreeRootHeader;

std::string_view Bitmap(std::string_view root) { return root.substr(kBitmapAt); }

bool BitOf(std::string_view bitmap, uint64_t part) {
  const uint64_t byte = part / 8;
  return byte < bitmap.size() && (static_cast<uint8_t>(bitmap[byte]) >> (part % 8) & 1) != 0;
}

void SetBit(char* byte, uint64_t part) {
  *byte = static_cast<char>(static_cast<uint8_t>(*byte) | 1u << (part % 8));
}

}  // namespace

std::string_view LongString::Zeros(uint64_t size) {
  static constexpr char kZeros[kZeroBytes] = {};
  CHECK(size <= kZeroBytes);
  return {kZeros, size};
}

bool LongString::IsZero(std::string_view part) {
  return part.empty() ||
         (part[0] == '\0' && std::memcmp(part.data(), part.data() + 1, part.size() - 1) == 0);
}

std::string LongString::MakeRoot(std::string_view bytes, uint64_t value_id) {
  std::string parts(PartsOf(bytes.size()), '\0');
  for (uint64_t part = 0; part < parts.size(); ++part) {
    parts[part] = IsZero(Part(bytes, part)) ? '\0' : '\1';
  }
  return MakeRoot(bytes.size(), parts, value_id);
}

std::string LongString::MakeRoot(uint64_t size, std::string_view parts, uint64_t value_id) {
  const uint64_t count = PartsOf(size);
  std::string root(kBitmapAt + (count + 7) / 8, '\0');
  int64_t pages = 0;
  for (uint64_t part = 0; part < std::min<uint64_t>(count, parts.size()); ++part) {
    if (parts[part] == '\0') continue;
    SetBit(root.data() + kBitmapAt + part / 8, part);
    ++pages;
  }
  root[0] = static_cast<char>(RootForm::kTree);
  StoreFixed(root.data() + kRootNextPageAt, PageOf(count));
  StoreFixed(root.data() + kRootValueIdAt, value_id);
  StoreFixed(root.data() + kRootCountAt, size);
  StoreFixed(root.data() + kRootWordAt, pages);
  return root;
}

uint64_t LongString::size() const { return RootView(pages_.Root()).count(); }

StringRange LongString::Clip(StringRange range) const {
  return {range.begin, std::min(range.end, size())};
}

bool LongString::HasPage(std::string_view root, uint64_t part) { return BitOf(Bitmap(root), part); }

bool LongString::Want(StringRange range) {
  // A write behind the end may still be one to the last page.
  const uint64_t most = Bitmap(pages_.Root()).size() * 8 * kPageBytes;
  const uint64_t end = std::min(range.end, most);
  if (range.begin >= end) return true;
  bool complete = true;
  for (uint64_t part = range.begin / kPageBytes; part < PartsOf(end); ++part) {
    if (HasPage(part)) complete &= !pages_.Read(PageOf(part)).empty();
  }
  return complete;
}

void LongString::Read(StringRange range, std::string* to) {
  range = Clip(range);
  if (range.begin >= range.end) return;
  to->reserve(to->size() + (range.end - range.begin));
  ForEach(range, [to](std::string_view piece) {
    to->append(piece);
    return true;
  });
}

void LongString::Write(uint64_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  const uint64_t end = offset + bytes.size();
  const uint64_t first = offset / kPageBytes;
  const uint64_t last = (end - 1) / kPageBytes;
  NewPages made{.first = first, .last = last, .bits = std::string(last - first + 1, '\0')};
  for (uint64_t part = first; part <= last; ++part) {
    const uint64_t begin = std::max(offset, part * kPageBytes);
    const uint64_t part_end = std::min(end, (part + 1) * kPageBytes);
    const std::string_view piece = bytes.substr(begin - offset, part_end - begin);
    if (HasPage(part)) {
      WritePart(part, begin % kPageBytes, piece);
    } else if (!IsZero(piece)) {
      std::string page(begin % kPageBytes, '\0');
      page.append(piece);
      pages_.Create(PageOf(part), page);
      made.bits[part - first] = 1;
    }
  }
  ChangeRoot(made, std::max(size(), end));
}

// REQUIRES: the part has a page, in RAM.
void LongString::WritePart(uint64_t part, uint64_t offset, std::string_view bytes) {
  const uint64_t stored = Stored(part).size();
  PageEdit edit;
  if (offset > stored) {
    edit.Add(static_cast<uint32_t>(stored), 0, Zeros(offset - stored));
    edit.Add(static_cast<uint32_t>(stored), 0, bytes);
  } else {
    const uint64_t replaced = std::min(bytes.size(), stored - offset);
    edit.Add(static_cast<uint32_t>(offset), static_cast<uint32_t>(replaced), bytes);
  }
  pages_.Edit(PageOf(part), edit);
}

void LongString::ChangeRoot(const NewPages& made, uint64_t size) {
  const std::string_view root = pages_.Root();
  const RootView view(root);
  PageEdit edit;
  const auto created = static_cast<int64_t>(std::ranges::count(made.bits, 1));
  if (created > 0) {
    const uint64_t next = std::max<uint64_t>(view.next_page(), PageOf(made.last) + uint64_t{1});
    edit.Overwrite(kRootNextPageAt, static_cast<PageNumber>(next));
  }
  if (size != view.count()) edit.Overwrite(kRootCountAt, size);
  std::string bits;
  if (created > 0) {
    edit.Overwrite(kRootWordAt, view.word() + created);
    const std::string_view bitmap = Bitmap(root);
    // Those bytes of the bitmap that change, and what is missing before them.
    const uint64_t begin = std::min<uint64_t>(made.first / 8, bitmap.size());
    const uint64_t end = made.last / 8 + 1;
    bits = bitmap.substr(begin, end - begin);
    const auto replaced = static_cast<uint32_t>(bits.size());
    bits.resize(end - begin, '\0');
    for (uint64_t part = made.first; part <= made.last; ++part) {
      if (made.bits[part - made.first] != 0) SetBit(bits.data() + (part / 8 - begin), part);
    }
    edit.Add(static_cast<uint32_t>(kBitmapAt + begin), replaced, bits);
  }
  if (!edit.empty()) pages_.Edit(kRootPage, edit);
}

}  // namespace firn
