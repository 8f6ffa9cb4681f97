#include "server/options/config_syntax.h"

#include <cerrno>
#include <climits>
#include <cstdlib>

namespace firn::server {
namespace {

bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

char Unescape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'b':
      return '\b';
    case 'a':
      return '\a';
    default:
      return c;
  }
}

// Reads one line word by word.
class WordReader {
 public:
  explicit WordReader(std::string_view line) : line_(line) {}

  bool SkipToWord() {
    while (!AtEnd() && IsSpace(line_[position_])) {
      position_++;
    }
    return !AtEnd();
  }

  // False if a quote is unbalanced.
  bool ReadWord(std::string* word) {
    while (!AtEnd()) {
      const char c = line_[position_];
      if (IsSpace(c)) {
        return true;
      }
      if (c == '"' || c == '\'') {
        position_++;
        const bool closed = c == '"' ? ReadDoubleQuoted(word) : ReadSingleQuoted(word);
        return closed && (AtEnd() || IsSpace(line_[position_]));
      }
      word->push_back(c);
      position_++;
    }
    return true;
  }

 private:
  bool AtEnd() const { return position_ >= line_.size(); }
  char At(size_t ahead) const {
    return position_ + ahead < line_.size() ? line_[position_ + ahead] : '\0';
  }

  bool ReadDoubleQuoted(std::string* word) {
    for (; !AtEnd(); position_++) {
      const char c = line_[position_];
      if (c == '"') {
        position_++;
        return true;
      }
      if (c != '\\' || position_ + 1 >= line_.size()) {
        word->push_back(c);
      } else if (At(1) == 'x' && HexDigit(At(2)) >= 0 && HexDigit(At(3)) >= 0) {
        word->push_back(static_cast<char>(HexDigit(At(2)) * 16 + HexDigit(At(3))));
        position_ += 3;
      } else {
        word->push_back(Unescape(At(1)));
        position_++;
      }
    }
    return false;
  }

  bool ReadSingleQuoted(std::string* word) {
    for (; !AtEnd(); position_++) {
      const char c = line_[position_];
      if (c == '\'') {
        position_++;
        return true;
      }
      if (c == '\\' && At(1) == '\'') {
        position_++;
      }
      word->push_back(line_[position_]);
    }
    return false;
  }

  const std::string_view line_;
  size_t position_ = 0;
};

}  // namespace

std::optional<std::vector<std::string>> SplitWords(std::string_view line) {
  std::vector<std::string> words;
  WordReader reader(line);
  while (reader.SkipToWord()) {
    std::string word;
    if (!reader.ReadWord(&word)) {
      return std::nullopt;
    }
    words.push_back(std::move(word));
  }
  return words;
}

std::string QuoteWord(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '\\':
      case '"':
        quoted += '\\';
        quoted += c;
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      case '\t':
        quoted += "\\t";
        break;
      case '\a':
        quoted += "\\a";
        break;
      case '\b':
        quoted += "\\b";
        break;
      default:
        if (byte >= 0x20 && byte < 0x7f) {
          quoted += c;
        } else {
          quoted += "\\x";
          quoted += kHex[byte >> 4];
          quoted += kHex[byte & 15];
        }
    }
  }
  return quoted + '"';
}

std::vector<std::string> SplitAtSpaces(std::string_view text) {
  std::vector<std::string> words;
  if (text.empty()) {
    return words;
  }
  size_t start = 0;
  for (size_t end; (end = text.find(' ', start)) != std::string_view::npos; start = end + 1) {
    words.emplace_back(text.substr(start, end - start));
  }
  words.emplace_back(text.substr(start));
  return words;
}

std::string JoinWords(const std::vector<std::string>& words) {
  std::string joined;
  for (size_t i = 0; i < words.size(); i++) {
    joined += (i == 0 ? "" : " ") + words[i];
  }
  return joined;
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  const bool negative = !text.empty() && text[0] == '-';
  const std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || (digits[0] == '0' && text.size() > 1)) {
    return std::nullopt;
  }
  const uint64_t limit = static_cast<uint64_t>(INT64_MAX) + (negative ? 1 : 0);
  uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    const uint64_t digit = static_cast<uint64_t>(c - '0');
    if (value > (limit - digit) / 10) {
      return std::nullopt;
    }
    value = value * 10 + digit;
  }
  return static_cast<int64_t>(negative ? 0 - value : value);
}

std::optional<int64_t> ParseLooseInteger(std::string_view text, int base) {
  const std::string terminated(text);
  char* end = nullptr;
  const int64_t value = std::strtoll(terminated.c_str(), &end, base);
  if (end != terminated.c_str() + terminated.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> ParseMemory(std::string_view text) {
  static constexpr struct {
    std::string_view unit;
    uint64_t bytes;
  } kUnits[] = {{"", 1},        {"b", 1},        {"k", 1000},        {"kb", 1 << 10},
                {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000u}, {"gb", 1 << 30}};
  size_t digits = 0;
  uint64_t value = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; digits++) {
    const uint64_t digit = static_cast<uint64_t>(text[digits] - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  for (const auto& unit : kUnits) {
    if (digits < 128 && EqualIgnoringCase(text.substr(digits), unit.unit)) {
      return value * unit.bytes;
    }
  }
  return std::nullopt;
}

std::string FormatMemory(uint64_t bytes) {
  static constexpr struct {
    const char* unit;
    int shift;
  } kUnits[] = {{"gb", 30}, {"mb", 20}, {"kb", 10}};
  for (const auto& unit : kUnits) {
    if (bytes != 0 && bytes % (uint64_t{1} << unit.shift) == 0) {
      return std::to_string(bytes >> unit.shift) + unit.unit;
    }
  }
  return std::to_string(bytes);
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && LowerCase(a) == LowerCase(b);
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  }
  return lower;
}

}  // namespace firn::server
