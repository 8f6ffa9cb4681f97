#include "server/recovery_moment.h"

#include <charconv>
#include <ctime>
#include <optional>
#include <string>

namespace firn::server {
namespace {

constexpr int64_t kMinuteMs = 60'000;

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes what it understands from the front of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool AtEnd() const { return rest_.empty(); }
  bool Take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  // A number of exactly so many digits.
  bool Digits(size_t count, int* value) {
    if (rest_.size() < count) return false;
    *value = 0;
    for (char c : rest_.substr(0, count)) {
      if (!IsDigit(c)) return false;
      *value = *value * 10 + (c - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }
  // What may follow whole seconds, to the millisecond: what is finer is cut off.
  bool Fraction(int* milliseconds) {
    *milliseconds = 0;
    if (!Take(".")) return true;
    int scale = 100;
    size_t digits = 0;
    for (; digits < rest_.size() && IsDigit(rest_[digits]); ++digits, scale /= 10) {
      *milliseconds += (rest_[digits] - '0') * scale;
    }
    rest_.remove_prefix(digits);
    return digits > 0;
  }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

std::optional<int64_t> ParseUnix(std::string_view text) {
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr int64_t kFarFuture = 1'000'000'000'000;
  if (error != std::errc() || seconds < 0 || seconds >= kFarFuture) return std::nullopt;
  Scanner scanner(text.substr(end - text.data()));
  int milliseconds = 0;
  if (!scanner.Fraction(&milliseconds) || !scanner.AtEnd()) return std::nullopt;
  return seconds * 1000 + milliseconds;
}

// Minutes east of Greenwich; nothing at all is local time.
bool ParseZone(Scanner* scanner, std::optional<int>* minutes) {
  scanner->Take(" ");
  if (scanner->AtEnd()) return true;
  for (std::string_view name : {"Z", "UTC", "GMT"}) {
    if (!scanner->Take(name)) continue;
    *minutes = 0;
    return scanner->AtEnd();
  }
  const bool east = scanner->Take("+");
  if (!east && !scanner->Take("-")) return false;
  int hour = 0;
  int minute = 0;
  if (!scanner->Digits(2, &hour)) return false;
  const bool colon = scanner->Take(":");
  if ((colon || !scanner->AtEnd()) && !scanner->Digits(2, &minute)) return false;
  if (!scanner->AtEnd() || hour > 15 || minute > 59) return false;
  *minutes = (east ? 1 : -1) * (hour * 60 + minute);
  return true;
}

// A date that there is, as the clock of a place says it.
std::optional<int64_t> ToUnixMs(const tm& wanted, std::optional<int> zone_minutes) {
  tm parts = wanted;
  parts.tm_isdst = -1;
  const time_t seconds = zone_minutes ? timegm(&parts) : mktime(&parts);
  // Days and hours that there are not become others.
  if (parts.tm_mday != wanted.tm_mday || parts.tm_mon != wanted.tm_mon ||
      parts.tm_hour != wanted.tm_hour || parts.tm_min != wanted.tm_min || seconds < 0) {
    return std::nullopt;
  }
  return static_cast<int64_t>(seconds) * 1000 - zone_minutes.value_or(0) * kMinuteMs;
}

std::optional<int64_t> ParseDate(std::string_view text) {
  Scanner scanner(text);
  tm parts = {};
  int year = 0;
  int month = 0;
  int milliseconds = 0;
  if (!scanner.Digits(4, &year) || !scanner.Take("-") || !scanner.Digits(2, &month) ||
      !scanner.Take("-") || !scanner.Digits(2, &parts.tm_mday) ||
      !(scanner.Take(" ") || scanner.Take("T")) || !scanner.Digits(2, &parts.tm_hour) ||
      !scanner.Take(":") || !scanner.Digits(2, &parts.tm_min)) {
    return std::nullopt;
  }
  if (scanner.Take(":") &&
      (!scanner.Digits(2, &parts.tm_sec) || !scanner.Fraction(&milliseconds))) {
    return std::nullopt;
  }
  std::optional<int> zone;
  if (!ParseZone(&scanner, &zone)) return std::nullopt;
  if (month < 1 || month > 12 || parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 59) {
    return std::nullopt;
  }
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  auto unix_ms = ToUnixMs(parts, zone);
  if (!unix_ms) return std::nullopt;
  return *unix_ms + milliseconds;
}

}  // namespace

Result<RecoveryTarget> ParseMoment(std::string_view text) {
  RecoveryTarget target;
  if (text.starts_with("lsn:")) {
    const std::string_view digits = text.substr(4);
    uint64_t lsn = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), lsn);
    if (error == std::errc() && end == digits.data() + digits.size() && lsn > 0) {
      target.lsn = lsn;
      return target;
    }
  } else if (text.find('-') == std::string_view::npos) {
    target.unix_ms = ParseUnix(text);
  } else {
    target.unix_ms = ParseDate(text);
  }
  if (target.unix_ms) return target;
  return std::unexpected(Status::Invalid(
      "recover-until is no moment: '" + std::string(text) +
      "'; give one as \"2026-11-21 10:15:00\" (local time), \"2026-11-21 10:15:00 +01:00\", UNIX "
      "time in seconds, or lsn:N"));
}

}  // namespace firn::server
