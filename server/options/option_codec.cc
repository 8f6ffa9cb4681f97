#include "server/options/option_codec.h"

#include <cstdio>
#include <optional>

#include "engine/base/check.h"
#include "server/options/config_syntax.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

constexpr int kOctalBase = 8;
// Redis cuts its list of names there.
constexpr size_t kErrorLengthMax = 255;

std::unexpected<Status> Refuse(std::string message) {
  return std::unexpected(Status::Invalid(std::move(message)));
}

std::string Octal(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof(text), "%llo", static_cast<unsigned long long>(number));
  return text;
}

std::string FormatInteger(const OptionRow& row, int64_t number) {
  if (row.unit == Unit::kOctal) {
    return Octal(static_cast<uint64_t>(number));
  }
  if (row.unit == Unit::kMemoryOrPercent && number < 0) {
    return std::to_string(-number) + "%";
  }
  return row.Has(kUnsigned) ? std::to_string(static_cast<uint64_t>(number))
                            : std::to_string(number);
}

Status CheckBounds(const OptionRow& row, int64_t number) {
  const auto [min, max] = row.bounds;
  if (row.unit == Unit::kMemoryOrPercent && number < 0) {
    return number >= min ? Status::Ok()
                         : Status::Invalid("percentage argument must be less or equal to " +
                                           std::to_string(-min));
  }
  const bool inside = row.Has(kUnsigned)
                          ? static_cast<uint64_t>(number) >= static_cast<uint64_t>(min) &&
                                static_cast<uint64_t>(number) <= static_cast<uint64_t>(max)
                          : number >= min && number <= max;
  if (inside) {
    return Status::Ok();
  }
  OptionRow bound_row = row;
  bound_row.unit = row.unit == Unit::kOctal ? Unit::kOctal : Unit::kNone;
  return Status::Invalid("argument must be between " + FormatInteger(bound_row, min) + " and " +
                         FormatInteger(bound_row, max) + " inclusive");
}

std::optional<int64_t> ReadNumber(const OptionRow& row, std::string_view text) {
  switch (row.unit) {
    case Unit::kMemoryOrPercent:
      if (text.size() > 1 && text.ends_with('%')) {
        const std::optional<int64_t> percent = ParseInteger(text.substr(0, text.size() - 1));
        return percent && *percent >= 0 ? std::optional<int64_t>(-*percent) : std::nullopt;
      }
      [[fallthrough]];
    case Unit::kMemory: {
      const std::optional<uint64_t> bytes = ParseMemory(text);
      return bytes ? std::optional<int64_t>(static_cast<int64_t>(*bytes)) : std::nullopt;
    }
    case Unit::kOctal:
      return ParseLooseInteger(text, kOctalBase);
    default:
      return ParseInteger(text);
  }
}

Result<OptionValue> ParseNumber(const OptionRow& row, std::string_view text) {
  const std::optional<int64_t> number = ReadNumber(row, text);
  if (!number) {
    switch (row.unit) {
      case Unit::kMemoryOrPercent:
        return Refuse("argument must be a memory or percent value");
      case Unit::kMemory:
        return Refuse("argument must be a memory value");
      case Unit::kOctal:
        return Refuse("argument couldn't be parsed as an octal number");
      default:
        return Refuse("argument couldn't be parsed into an integer");
    }
  }
  if (Status status = CheckBounds(row, *number); !status.ok()) {
    return std::unexpected(status);
  }
  return OptionValue{.number = *number, .text = {}, .words = {}};
}

Result<OptionValue> ParseNames(const OptionRow& row, std::span<const std::string> words) {
  OptionValue value;
  bool known = !words.empty();
  for (const std::string& word : words) {
    bool found = false;
    for (const EnumName& name : row.names) {
      if (EqualIgnoringCase(word, name.name)) {
        value.number |= name.value;
        found = true;
      }
    }
    known = known && found;
  }
  if (known) {
    return value;
  }
  std::string message = "argument(s) must be one of the following: ";
  for (const EnumName& name : row.names) {
    message.append(&name == &row.names.front() ? "" : ", ").append(name.name);
  }
  return Refuse(message.substr(0, kErrorLengthMax));
}

Result<OptionValue> ParseByType(const OptionRow& row, std::span<const std::string> words,
                                const OptionValue& before) {
  if (row.type != OptionType::kWords && row.type != OptionType::kFlags && words.size() != 1) {
    return Refuse("wrong number of arguments");
  }
  OptionValue value;
  switch (row.type) {
    case OptionType::kBool:
      if (!EqualIgnoringCase(words[0], "yes") && !EqualIgnoringCase(words[0], "no")) {
        return Refuse("argument must be 'yes' or 'no'");
      }
      value.number = EqualIgnoringCase(words[0], "yes");
      return value;
    case OptionType::kInteger:
      return ParseNumber(row, words[0]);
    case OptionType::kEnum:
    case OptionType::kFlags:
      return ParseNames(row, words);
    case OptionType::kString:
      // Most strings become paths and names, where a zero byte would cut them silently.
      if (!row.Has(kSensitive) && words[0].find('\0') != std::string::npos) {
        return Refuse("argument must not contain zero bytes");
      }
      value.text = words[0];
      return value;
    case OptionType::kWords:
      value = before;
      if (Status status = row.parse_words(words, value); !status.ok()) {
        return std::unexpected(status);
      }
      return value;
  }
  return Refuse("unknown type");
}

std::string FormatNames(const OptionRow& row, int64_t bits) {
  std::string names;
  int64_t left = bits;
  for (const EnumName& name : row.names) {
    if (name.value == bits) {
      return std::string(name.name);
    }
    if (row.type == OptionType::kFlags && name.value != 0 && (left & name.value) == name.value) {
      names.append(names.empty() ? "" : " ").append(name.name);
      left &= ~name.value;
    }
  }
  CHECK(left == 0);
  return names;
}

// A word that needs no quotes stays as it is, as people write it.
std::string WordForFile(const std::string& word) {
  for (const char c : word) {
    if (c <= ' ' || c >= 0x7f || c == '"' || c == '\'' || c == '\\') {
      return QuoteWord(word);
    }
  }
  return word.empty() ? "\"\"" : word;
}

std::vector<FileLine> OutputBufferLines(const OptionRow& row, const OptionValue& value,
                                        const OptionValue& default_value) {
  constexpr size_t kWordsEach = 4;
  std::vector<FileLine> lines;
  for (size_t i = 0; i + kWordsEach <= value.words.size(); i += kWordsEach) {
    const std::string* words = &value.words[i];
    const std::string* defaults = &default_value.words[i];
    FileLine line{
        .text = std::string(row.name) + " " + (words[0] == "slave" ? "replica" : words[0]),
        .differs = false};
    for (size_t j = 1; j < kWordsEach; j++) {
      const bool is_bytes = j + 1 < kWordsEach;
      line.text +=
          " " + (is_bytes ? FormatMemory(std::strtoull(words[j].c_str(), nullptr, 10)) : words[j]);
      line.differs |= words[j] != defaults[j];
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<FileLine> SaveLines(const OptionRow& row, const OptionValue& value, bool differs) {
  const std::string name(row.name);
  if (value.words.empty()) {
    return {{.text = name + " \"\"", .differs = differs}};
  }
  std::vector<FileLine> lines;
  for (size_t i = 0; i + 1 < value.words.size(); i += 2) {
    lines.push_back(
        {.text = name + " " + value.words[i] + " " + value.words[i + 1], .differs = differs});
  }
  return lines;
}

}  // namespace

Result<OptionValue> ParseOption(const OptionRow& row, std::span<const std::string> words,
                                const OptionValue& before) {
  Result<OptionValue> value = ParseByType(row, words, before);
  if (value && row.check != nullptr) {
    if (Status status = row.check(*value); !status.ok()) {
      return std::unexpected(status);
    }
  }
  return value;
}

OptionValue ParseOwnText(const OptionRow& row, std::string_view text) {
  if (row.type == OptionType::kWords && row.Has(kManyWords) && text.empty()) {
    return {};
  }
  std::vector<std::string> words =
      row.Has(kManyWords) ? SplitAtSpaces(text) : std::vector{std::string(text)};
  Result<OptionValue> value = ParseOption(row, words, {});
  CHECK(value.has_value());
  return *value;
}

std::string FormatOption(const OptionRow& row, const OptionValue& value) {
  switch (row.type) {
    case OptionType::kBool:
      return value.number != 0 ? "yes" : "no";
    case OptionType::kInteger:
      return FormatInteger(row, value.number);
    case OptionType::kEnum:
    case OptionType::kFlags:
      return FormatNames(row, value.number);
    case OptionType::kString:
      return value.text;
    case OptionType::kWords:
      return JoinWords(value.words);
  }
  return {};
}

std::vector<FileLine> FormatForFile(const OptionRow& row, const OptionValue& value,
                                    const OptionValue& default_value) {
  const bool differs = value != default_value;
  if (row.parse_words == ParseOutputBufferLimits) {
    return OutputBufferLines(row, value, default_value);
  }
  if (row.parse_words == ParseSaveRules) {
    return SaveLines(row, value, differs);
  }
  const bool is_default_bind = row.parse_words == ParseBind && !differs;
  const bool is_unset = (row.Has(kEmptyIsUnset) && value.text.empty()) ||
                        (row.parse_words == ParseReplicaOf && value.words.empty());
  if (is_default_bind || is_unset) {
    return {};
  }
  std::string text(row.name);
  if (row.type == OptionType::kString) {
    text += " " + QuoteWord(value.text);
  } else if (row.type == OptionType::kInteger && row.unit == Unit::kMemory) {
    text += " " + FormatMemory(static_cast<uint64_t>(value.number));
  } else if (row.type == OptionType::kInteger && row.unit == Unit::kMemoryOrPercent &&
             value.number >= 0) {
    text += " " + FormatMemory(static_cast<uint64_t>(value.number));
  } else if (row.type == OptionType::kWords) {
    for (const std::string& word : value.words) {
      text += " " + WordForFile(word);
    }
    text += value.words.empty() ? " \"\"" : "";
  } else {
    text += " " + FormatOption(row, value);
  }
  return {{.text = std::move(text), .differs = differs}};
}

std::string DescribeValues(const OptionRow& row) {
  std::string text;
  switch (row.type) {
    case OptionType::kBool:
      return "yes, no";
    case OptionType::kEnum:
    case OptionType::kFlags:
      for (const EnumName& name : row.names) {
        text.append(text.empty() ? "" : ", ").append(name.name);
      }
      return row.type == OptionType::kFlags ? "any of " + text : text;
    case OptionType::kString:
      return "text";
    case OptionType::kWords:
      return "words";
    case OptionType::kInteger:
      break;
  }
  const bool is_memory = row.unit == Unit::kMemory || row.unit == Unit::kMemoryOrPercent;
  const bool no_limit = row.Has(kUnsigned)
                            ? row.bounds.max == kUnsignedMax || row.bounds.max == kLongMax
                            : row.bounds.max == kLongMax;
  const auto number = [&](int64_t n) {
    return is_memory ? FormatMemory(static_cast<uint64_t>(n)) : FormatInteger(row, n);
  };
  const int64_t min = row.unit == Unit::kMemoryOrPercent ? 0 : row.bounds.min;
  text = number(min) + (no_limit ? " and up" : " to " + number(row.bounds.max));
  switch (row.unit) {
    case Unit::kMemory:
      return text + " (bytes)";
    case Unit::kMemoryOrPercent:
      return text + " (bytes) or up to " + std::to_string(-row.bounds.min) + "%";
    case Unit::kOctal:
      return text + " (octal)";
    case Unit::kSeconds:
      return text + " s";
    case Unit::kMinutes:
      return text + " min";
    case Unit::kMilliseconds:
      return text + " ms";
    case Unit::kMicroseconds:
      return text + " us";
    case Unit::kPercent:
      return text + " %";
    case Unit::kNone:
      break;
  }
  return text;
}

}  // namespace firn::server
