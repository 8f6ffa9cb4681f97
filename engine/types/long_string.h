// LongString: a string in pages. The string is cut at multiples of kPageBytes; page number n + 1
// holds the n-th part. A part that is nothing but zeros needn't have a page, and what a page lacks
// at its end is zeros, so that a sparse bitmap takes what is set in it.
//
// The root has the form of a tree's (root_format.h), so that all who handle pages by number find
// what they need; its `count` is the length in bytes, its `word` the number of pages. A bitmap
// follows the header: the lowest bit of byte 0 says whether the first part has a page, and so on;
// bits behind its end are 0.
//
// Executor thread, as its PageSpace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/types/page_space.h"

namespace firn {

// Longer strings are in pages.
inline constexpr uint64_t kLongStringBytes = 64 << 10;
// No string may be longer: the bitmap of its pages, which is one piece of RAM, takes 257 KiB then.
inline constexpr uint64_t kMaxStringBytes = uint64_t{16} << 30;

// The bytes [begin, end) of a string; what lies behind its end doesn't count.
struct StringRange {
  uint64_t begin = 0;
  uint64_t end = UINT64_MAX;
};

class LongString {
 public:
  // An entry that holds so many fills a block of 8 KiB.
  static constexpr uint64_t kPageBytes = 8160;

  // REQUIRES: the value exists.
  explicit LongString(PageSpace* pages) : pages_(*pages) {}

  uint64_t size() const;
  // Whether the pages of a range are in RAM, also where it is behind the end; those that are not
  // are wanted.
  bool Want(StringRange range);
  // Calls `visit` with the pieces of a range, in order, until it says false; answers whether it
  // never did. REQUIRES: Want(range).
  template <typename Visit>
  bool ForEach(StringRange range, Visit&& visit);
  // Adds the bytes of a range to `to`. REQUIRES: Want(range).
  void Read(StringRange range, std::string* to);
  // Writes over what is there, and makes the string longer if it has to. REQUIRES: Want of the same
  // range.
  void Write(uint64_t offset, std::string_view bytes);

  // --- making one of bytes, for those who write roots and pages themselves
  static uint64_t PartsOf(uint64_t size) { return (size + kPageBytes - 1) / kPageBytes; }
  static std::string_view Part(std::string_view bytes, uint64_t part) {
    return part * kPageBytes < bytes.size() ? bytes.substr(part * kPageBytes, kPageBytes)
                                            : std::string_view();
  }
  static PageNumber PageOf(uint64_t part) { return static_cast<PageNumber>(part + 1); }
  // Whether a part has a page, by the bytes of the root.
  static bool HasPage(std::string_view root, uint64_t part);
  // Such a part needs no page.
  static bool IsZero(std::string_view part);
  static std::string MakeRoot(std::string_view bytes, uint64_t value_id);
  // Of `size` bytes; `parts` has a byte for each part, which is 0 if it has no page. What it lacks
  // at its end hasn't either.
  static std::string MakeRoot(uint64_t size, std::string_view parts, uint64_t value_id);

 private:
  static constexpr uint64_t kZeroBytes = kPageBytes;
  static std::string_view Zeros(uint64_t size);
  StringRange Clip(StringRange range) const;
  bool HasPage(uint64_t part) const { return HasPage(pages_.Root(), part); }
  // The bytes that are stored of a part.
  std::string_view Stored(uint64_t part) {
    return HasPage(part) ? pages_.Read(PageOf(part)) : std::string_view();
  }
  void WritePart(uint64_t part, uint64_t offset, std::string_view bytes);
  struct NewPages {
    uint64_t first = 0;
    uint64_t last = 0;
    std::string bits;  // one byte for each part from `first` to `last`
  };
  void ChangeRoot(const NewPages& made, uint64_t size);

  PageSpace& pages_;
};

template <typename Visit>
bool LongString::ForEach(StringRange range, Visit&& visit) {
  range = Clip(range);
  for (uint64_t at = range.begin; at < range.end;) {
    const uint64_t offset = at % kPageBytes;
    uint64_t left = std::min(kPageBytes - offset, range.end - at);
    const std::string_view stored = Stored(at / kPageBytes);
    at += left;
    if (offset < stored.size()) {
      const std::string_view piece = stored.substr(offset, left);
      left -= piece.size();
      if (!visit(piece)) return false;
    }
    if (left > 0 && !visit(Zeros(left))) return false;
  }
  return true;
}

}  // namespace firn
