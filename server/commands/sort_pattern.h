// The patterns of SORT's BY and GET.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/command.h"

namespace firn::server {

// The first star stands for the element; behind it, "->" stands before a field of a hash.
struct SortPattern {
  bool element_itself = false;  // "#"
  bool constant = false;        // no star: names nothing
  std::string_view prefix;
  std::string_view suffix;
  std::optional<std::string_view> field;

  explicit SortPattern(std::string_view text);
  bool names_keys() const { return !element_itself && !constant; }
  void KeyFor(std::string_view element, std::string* key) const;
};

// What a pattern leads to from an element. REQUIRES: the key that it names is planned with kRead.
class SortValueReader {
 public:
  enum class Got : uint8_t { kMissing, kAbsent, kPresent };
  // Gives the value, if there is one, to `take`.
  Got Read(CommandContext& context, const SortPattern& pattern, std::string_view element,
           const std::function<void(std::string_view value)>& take);
  // Of all that has been read, the first that expires does so then.
  int64_t first_expiry_ms() const { return first_expiry_ms_; }

 private:
  void NoteExpiry(int64_t expiry_ms);

  std::string key_;
  int64_t first_expiry_ms_ = INT64_MAX;
};

}  // namespace firn::server
