#include "server/options/special_options.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "engine/base/check.h"
#include "server/options/config_syntax.h"

namespace firn::server {
namespace {

constexpr size_t kBindAddressesMax = 16;
constexpr size_t kOomScoreAdjustments = 3;
constexpr int64_t kOomScoreAdjustmentMax = 2000;
constexpr int64_t kHzMin = 1;
constexpr int64_t kHzMax = 500;
constexpr size_t kLimitWords = 4;  // class, hard, soft, seconds

constexpr std::array<std::string_view, 3> kClientClasses = {"normal", "slave", "pubsub"};

std::optional<size_t> FindClientClass(std::string_view name) {
  if (EqualIgnoringCase(name, "replica")) {
    return static_cast<size_t>(ClientClass::kReplica);
  }
  for (size_t i = 0; i < kClientClasses.size(); i++) {
    if (EqualIgnoringCase(name, kClientClasses[i])) {
      return i;
    }
  }
  return std::nullopt;
}

std::vector<std::string> LimitWords(
    const std::array<OutputBufferLimit, kClientClasses.size()>& limits) {
  std::vector<std::string> words;
  for (size_t i = 0; i < limits.size(); i++) {
    words.emplace_back(kClientClasses[i]);
    words.push_back(std::to_string(limits[i].hard_bytes));
    words.push_back(std::to_string(limits[i].soft_bytes));
    words.push_back(std::to_string(limits[i].soft_seconds));
  }
  return words;
}

struct EventLetter {
  char letter;
  uint32_t event;
};
// In the order in which they are written; K, E and m follow also behind "A".
constexpr EventLetter kEventLetters[] = {
    {'g', kEventGeneric},  {'$', kEventString},  {'l', kEventList},    {'s', kEventSet},
    {'h', kEventHash},     {'z', kEventZset},    {'x', kEventExpired}, {'e', kEventEvicted},
    {'t', kEventStream},   {'d', kEventModule},  {'n', kEventNew},     {'K', kEventKeyspace},
    {'E', kEventKeyevent}, {'m', kEventKeyMiss}, {'F', kEventTier},
};

std::optional<uint32_t> EventsOf(std::string_view letters) {
  uint32_t events = 0;
  for (const char c : letters) {
    uint32_t event = 0;
    if (c == 'A') {
      event = kEventAll;
    }
    for (const EventLetter& known : kEventLetters) {
      if (known.letter == c) {
        event = known.event;
      }
    }
    if (event == 0) {
      return std::nullopt;
    }
    events |= event;
  }
  return events;
}

std::string LettersOf(uint32_t events) {
  std::string letters;
  const bool all = (events & kEventAll) == kEventAll;
  if (all) {
    letters = "A";
  }
  for (const EventLetter& known : kEventLetters) {
    // Redis leaves 'n' out behind "A", though A does not include it.
    const bool class_letter = (known.event & (kEventAll | kEventNew)) != 0;
    if ((events & known.event) != 0 && !(all && class_letter)) {
      letters += known.letter;
    }
  }
  return letters;
}

Status CheckIsName(const OptionValue& value, const char* message) {
  return value.text.find_first_of("/\\") == std::string::npos ? Status::Ok()
                                                              : Status::Invalid(message);
}

bool IsTitleVariable(std::string_view name) {
  static constexpr std::string_view kVariables[] = {
      "title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"};
  for (const std::string_view variable : kVariables) {
    if (EqualIgnoringCase(name, variable)) {
      return true;
    }
  }
  return false;
}

}  // namespace

Status ParseBind(std::span<const std::string> words, OptionValue& value) {
  if (words.size() > kBindAddressesMax) {
    return Status::Invalid("Too many bind addresses specified.");
  }
  value.words.assign(words.begin(), words.end());
  if (words.size() == 1 && words[0].empty()) {
    value.words.clear();
  }
  return Status::Ok();
}

Status ParseOutputBufferLimits(std::span<const std::string> words, OptionValue& value) {
  if (words.size() % kLimitWords != 0) {
    return Status::Invalid("Wrong number of arguments in buffer limit configuration.");
  }
  OptionValues parsed;
  if (!value.words.empty()) {
    StoreOutputBufferLimits(value, parsed);
  }
  for (size_t i = 0; i < words.size(); i += kLimitWords) {
    const std::optional<size_t> client_class = FindClientClass(words[i]);
    if (!client_class) {
      return Status::Invalid("Invalid client class specified in buffer limit configuration.");
    }
    const std::optional<uint64_t> hard = ParseMemory(words[i + 1]);
    const std::optional<uint64_t> soft = ParseMemory(words[i + 2]);
    const std::optional<int64_t> seconds = ParseLooseInteger(words[i + 3]);
    if (!hard || !soft || !seconds || *seconds < 0 || *seconds > kIntMax) {
      return Status::Invalid(
          "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    }
    parsed.output_buffer_limits[*client_class] = {
        .hard_bytes = *hard, .soft_bytes = *soft, .soft_seconds = *seconds};
  }
  value.words = LimitWords(parsed.output_buffer_limits);
  return Status::Ok();
}

Status ParseSaveRules(std::span<const std::string> words, OptionValue& value) {
  if (words.size() == 1 && words[0].empty()) {
    value.words.clear();
    return Status::Ok();
  }
  if (words.size() % 2 != 0) {
    return Status::Invalid("Invalid save parameters");
  }
  std::vector<std::string> rules;
  for (size_t i = 0; i < words.size(); i++) {
    const std::optional<int64_t> number = ParseLooseInteger(words[i]);
    const bool is_changes = i % 2 == 1;
    if (!number || *number < (is_changes ? 0 : 1) || (is_changes && *number > kIntMax)) {
      return Status::Invalid("Invalid save parameters");
    }
    rules.push_back(std::to_string(*number));
  }
  value.words = std::move(rules);
  return Status::Ok();
}

Status ParseOomScoreAdjustments(std::span<const std::string> words, OptionValue& value) {
  if (words.size() != kOomScoreAdjustments) {
    return Status::Invalid("wrong number of arguments");
  }
  std::vector<std::string> adjustments;
  for (const std::string& word : words) {
    const std::optional<int64_t> number = ParseLooseInteger(word);
    if (!number || std::abs(*number) > kOomScoreAdjustmentMax) {
      return Status::Invalid(
          "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
    }
    adjustments.push_back(std::to_string(*number));
  }
  value.words = std::move(adjustments);
  return Status::Ok();
}

Status ParsePercentiles(std::span<const std::string> words, OptionValue& value) {
  std::vector<std::string> percentiles;
  for (const std::string& word : words) {
    if (words.size() == 1 && word.empty()) {
      break;
    }
    char* end = nullptr;
    const double number = std::strtod(word.c_str(), &end);
    if (word.empty() || end != word.c_str() + word.size() || std::isnan(number) ||
        std::string_view(" \t\n\v\f\r").contains(word[0])) {
      return Status::Invalid("Invalid latency-tracking-info-percentiles parameters");
    }
    if (number < 0.0 || number > 100.0) {
      return Status::Invalid(
          "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
    }
    std::string text = std::to_string(number);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') {
      text.pop_back();
    }
    percentiles.push_back(std::move(text));
  }
  value.words = std::move(percentiles);
  return Status::Ok();
}

Status ParseKeyspaceEvents(std::span<const std::string> words, OptionValue& value) {
  if (words.size() != 1) {
    return Status::Invalid("wrong number of arguments");
  }
  const std::optional<uint32_t> events = EventsOf(words[0]);
  if (!events) {
    return Status::Invalid("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
  }
  value.words = {LettersOf(*events)};
  value.number = *events;
  return Status::Ok();
}

Status ParseReplicaOf(std::span<const std::string> words, OptionValue& value) {
  if (words.size() != 2) {
    return Status::Invalid("wrong number of arguments");
  }
  if (EqualIgnoringCase(words[0], "no") && EqualIgnoringCase(words[1], "one")) {
    value.words.clear();
    return Status::Ok();
  }
  const std::optional<int64_t> port = ParseLooseInteger(words[1]);
  if (!port || *port < 0 || *port > 65535) {
    return Status::Invalid("Invalid master port");
  }
  value.words = {words[0], std::to_string(*port)};
  return Status::Ok();
}

void StoreOutputBufferLimits(const OptionValue& value, OptionValues& values) {
  CHECK(value.words.size() == kLimitWords * kClientClasses.size());
  for (size_t i = 0; i < kClientClasses.size(); i++) {
    const std::string* words = &value.words[i * kLimitWords];
    values.output_buffer_limits[i] = {.hard_bytes = std::strtoull(words[1].c_str(), nullptr, 10),
                                      .soft_bytes = std::strtoull(words[2].c_str(), nullptr, 10),
                                      .soft_seconds = std::atoll(words[3].c_str())};
  }
}

void StoreOomScoreAdjustment(const OptionValue& value, OptionValues& values) {
  values.oom_score_adjustment = std::strtoll(value.words.at(0).c_str(), nullptr, 10);
}

void StoreSaveRules(const OptionValue& value, OptionValues& values) {
  CHECK(value.words.size() % 2 == 0);
  values.save.clear();
  for (size_t i = 0; i < value.words.size(); i += 2) {
    values.save.push_back({.seconds = std::atoll(value.words[i].c_str()),
                           .changes = std::atoll(value.words[i + 1].c_str())});
  }
}

void StorePercentiles(const OptionValue& value, OptionValues& values) {
  values.latency_tracking_info_percentiles.clear();
  for (const std::string& word : value.words) {
    values.latency_tracking_info_percentiles.push_back(std::atof(word.c_str()));
  }
}

void StoreKeyspaceEvents(const OptionValue& value, OptionValues& values) {
  values.notify_keyspace_events = static_cast<uint32_t>(value.number);
}

Status CheckShutdownFlags(OptionValue& value) {
  constexpr int64_t kBoth = kShutdownSave | kShutdownNosave;
  if ((value.number & kBoth) == kBoth) {
    return Status::Invalid("shutdown options SAVE and NOSAVE can't be used simultaneously");
  }
  return Status::Ok();
}

Status CheckDbFilename(OptionValue& value) {
  return CheckIsName(value, "dbfilename can't be a path, just a filename");
}

Status CheckAppendFilename(OptionValue& value) {
  if (value.text.empty()) {
    return Status::Invalid("appendfilename can't be empty");
  }
  return CheckIsName(value, "appendfilename can't be a path, just a filename");
}

Status CheckAppendDirname(OptionValue& value) {
  if (value.text.empty()) {
    return Status::Invalid("appenddirname can't be empty");
  }
  return CheckIsName(value, "appenddirname can't be a path, just a dirname");
}

Status CheckProcTitleTemplate(OptionValue& value) {
  const Status invalid =
      Status::Invalid("template format is invalid or contains unknown variables");
  const std::string& text = value.text;
  bool anything = false;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '{' && i + 1 < text.size() && text[i + 1] == '{') {
      i++;
      anything = true;
    } else if (text[i] == '{') {
      const size_t end = text.find('}', i);
      if (end == std::string::npos || !IsTitleVariable(text.substr(i + 1, end - i - 1))) {
        return invalid;
      }
      i = end;
      anything = true;
    } else {
      anything |= text[i] != ' ';
    }
  }
  return anything ? Status::Ok() : invalid;
}

Status CheckSegmentSize(OptionValue& value) {
  return std::has_single_bit(static_cast<uint64_t>(value.number))
             ? Status::Ok()
             : Status::Invalid("argument must be a power of two");
}

Status ClampBacklog(OptionValue& value) {
  constexpr int64_t kLeastBacklog = 16 << 10;
  value.number = std::max(value.number, kLeastBacklog);
  return Status::Ok();
}

Status ClampHz(OptionValue& value) {
  value.number = std::min(std::max(value.number, kHzMin), kHzMax);
  return Status::Ok();
}

}  // namespace firn::server
