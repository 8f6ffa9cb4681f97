// One option is one row: how its words are read, checked and written, when it may change, what it
// does in this server, and a sentence for the reference. CONFIG, the start-up parser, --help and
// docs/configuration.md derive from the rows.
//
// Rows are built by the factories at the end and refined by chained calls:
//
//   Integer("timeout", "0", {0, kIntMax}, "Closes clients idle for so long; 0 never does.")
//       .In(Unit::kSeconds)
//       .Store<&OptionValues::timeout_seconds>()
#pragma once

#include <climits>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "engine/base/status.h"
#include "server/options/option_values.h"

namespace firn::server {

enum class OptionType : uint8_t {
  kBool,     // yes or no
  kInteger,  // within [min, max]
  kEnum,     // one of `names`
  kFlags,    // one or several of `names`, or-ed
  kString,   // any bytes
  kWords,    // a grammar of its own: `parse_words`
};

enum class Unit : uint8_t {
  kNone,
  kMemory,           // read with b, k, kb, m, mb, g, gb; in bytes
  kMemoryOrPercent,  // the same or "n%", kept as -n
  kOctal,
  // These only tell a reader what is counted:
  kSeconds,
  kMinutes,
  kMilliseconds,
  kMicroseconds,
  kPercent,
};

enum class Effect : uint8_t {
  kLive,     // acts
  kIgnored,  // means nothing in this server: accepted and remembered
  kPending,  // tunes something that is not there yet: accepted and remembered
  kFuture,   // would turn something on that is not there yet: accepted at its default only
};

enum OptionFlag : uint32_t {
  kImmutable = 1 << 0,        // CONFIG SET is refused
  kHidden = 1 << 1,           // CONFIG GET answers it by its exact name only
  kProtectedOption = 1 << 2,  // CONFIG SET is refused unless enable-protected-configs allows it
  kSensitive = 1 << 3,        // its value must not appear in logs
  kDenyLoading = 1 << 4,      // CONFIG SET is refused while data is loaded
  kManyWords = 1 << 5,        // several words make one value
  kUnsigned = 1 << 6,         // kInteger: the bounds are unsigned 64-bit numbers
  kStartOnly = 1 << 7,        // CONFIG SET accepts only the value in force
  kAccumulates = 1 << 8,      // lines of a file add up; the first one replaces the default
  kDirectory = 1 << 9,        // kString: an existing directory, kept as an absolute path
  kEmptyIsUnset = 1 << 10     // kString: empty is "not set", and CONFIG REWRITE leaves it out
};

struct EnumName {
  std::string_view name;
  int64_t value;
};

// A parsed value of any type.
struct OptionValue {
  int64_t number = 0;              // kBool, kInteger (unsigned ones as their bits), kEnum, kFlags
  std::string text;                // kString
  std::vector<std::string> words;  // kWords, in canonical form
  bool operator==(const OptionValue&) const = default;
};

// Validates a parsed value, and may bring it into the range that is in force.
using CheckFunction = Status (*)(OptionValue& value);
// Reads `words` into `value`, which holds the value in force before.
using ParseWordsFunction = Status (*)(std::span<const std::string> words, OptionValue& value);
using StoreFunction = void (*)(const OptionValue& value, OptionValues& values);

struct Bounds {
  int64_t min;
  int64_t max;
};

// Copies a value into a member of OptionValues.
template <auto kMember>
void StoreMember(const OptionValue& value, OptionValues& values) {
  auto& member = values.*kMember;
  using Member = std::remove_reference_t<decltype(member)>;
  if constexpr (std::is_same_v<Member, std::string>) {
    member = value.text;
  } else if constexpr (std::is_same_v<Member, std::vector<std::string>>) {
    member = value.words;
  } else {
    member = static_cast<Member>(value.number);
  }
}

struct OptionRow {
  std::string_view name;
  OptionType type;
  std::string_view default_text;  // as in redis.conf
  std::string_view doc;           // one or two sentences
  Bounds bounds = {0, 0};
  std::span<const EnumName> names = {};
  std::string_view alias = {};
  Unit unit = Unit::kNone;
  uint32_t flags = 0;  // of OptionFlag
  Effect effect = Effect::kLive;
  std::string_view derived_default = {};  // for people, if default_text is not all of it
  std::string_view feature = {};          // kPending, kFuture: what is missing
  ParseWordsFunction parse_words = nullptr;
  CheckFunction check = nullptr;
  StoreFunction store = nullptr;

  bool Has(OptionFlag flag) const { return (flags & flag) != 0; }

  constexpr OptionRow Alias(std::string_view other_name) const {
    OptionRow row = *this;
    row.alias = other_name;
    return row;
  }
  constexpr OptionRow In(Unit value_unit) const {
    OptionRow row = *this;
    row.unit = value_unit;
    return row;
  }
  constexpr OptionRow With(uint32_t more_flags) const {
    OptionRow row = *this;
    row.flags |= more_flags;
    return row;
  }
  // A grammar of its own within one word: CONFIG SET and files do not split the value.
  constexpr OptionRow OneWord() const {
    OptionRow row = *this;
    row.flags &= ~static_cast<uint32_t>(kManyWords);
    return row;
  }
  constexpr OptionRow DefaultMeans(std::string_view text) const {
    OptionRow row = *this;
    row.derived_default = text;
    return row;
  }
  constexpr OptionRow Ignored() const {
    OptionRow row = *this;
    row.effect = Effect::kIgnored;
    return row;
  }
  constexpr OptionRow Pending(std::string_view missing) const {
    OptionRow row = *this;
    row.effect = Effect::kPending;
    row.feature = missing;
    return row;
  }
  constexpr OptionRow Future(std::string_view missing) const {
    OptionRow row = *this;
    row.effect = Effect::kFuture;
    row.feature = missing;
    return row;
  }
  constexpr OptionRow Check(CheckFunction function) const {
    OptionRow row = *this;
    row.check = function;
    return row;
  }
  template <auto kMember>
  constexpr OptionRow Store() const {
    return StoreBy(&StoreMember<kMember>);
  }
  constexpr OptionRow StoreBy(StoreFunction function) const {
    OptionRow row = *this;
    row.store = function;
    return row;
  }
};

inline constexpr int64_t kIntMax = INT_MAX;
inline constexpr int64_t kIntMin = INT_MIN;
inline constexpr int64_t kLongMax = INT64_MAX;
inline constexpr int64_t kUnsignedMax = -1;  // UINT64_MAX, for kUnsigned

constexpr OptionRow Bool(std::string_view name, std::string_view default_text,
                         std::string_view doc) {
  return {.name = name, .type = OptionType::kBool, .default_text = default_text, .doc = doc};
}
constexpr OptionRow Integer(std::string_view name, std::string_view default_text, Bounds bounds,
                            std::string_view doc) {
  return {.name = name,
          .type = OptionType::kInteger,
          .default_text = default_text,
          .doc = doc,
          .bounds = bounds};
}
constexpr OptionRow Enum(std::string_view name, std::string_view default_text,
                         std::span<const EnumName> names, std::string_view doc) {
  return {.name = name,
          .type = OptionType::kEnum,
          .default_text = default_text,
          .doc = doc,
          .names = names};
}
constexpr OptionRow Flags(std::string_view name, std::string_view default_text,
                          std::span<const EnumName> names, std::string_view doc) {
  return {.name = name,
          .type = OptionType::kFlags,
          .default_text = default_text,
          .doc = doc,
          .names = names,
          .flags = kManyWords};
}
constexpr OptionRow String(std::string_view name, std::string_view default_text,
                           std::string_view doc) {
  return {.name = name, .type = OptionType::kString, .default_text = default_text, .doc = doc};
}
constexpr OptionRow Words(std::string_view name, std::string_view default_text,
                          ParseWordsFunction parse_words, std::string_view doc) {
  return {.name = name,
          .type = OptionType::kWords,
          .default_text = default_text,
          .doc = doc,
          .flags = kManyWords,
          .parse_words = parse_words};
}

}  // namespace firn::server
