#include "bench/firn_bench/options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

namespace firn::bench {

namespace {

bool ParseU64(std::string_view text, uint64_t* out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}

template <typename T>
bool ParseNumber(const std::string& text, T* out, uint64_t low, uint64_t high) {
  uint64_t value;
  if (!ParseU64(text, &value) || value < low || value > high) return false;
  *out = static_cast<T>(value);
  return true;
}

bool ParseReal(const std::string& text, double* out) {
  char* end = nullptr;
  *out = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0' && *out >= 0 && *out < 1e12;
}

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  return parts;
}

// "7" or "3-9".
bool ParseRange(const std::string& text, uint64_t high, uint32_t* first, uint32_t* last) {
  std::vector<std::string> ends = Split(text, '-');
  if (ends.size() > 2) return false;
  if (!ParseNumber(ends[0], first, 0, high)) return false;
  return ParseNumber(ends.back(), last, *first, high);
}

bool ParseVersions(const std::string& text, char separator, std::vector<VersionRange>* versions) {
  versions->clear();
  for (const std::string& part : Split(text, separator)) {
    VersionRange range;
    if (part == "any") {
      range = {0, kMaxVersion};
    } else if (!ParseRange(part, kMaxVersion, &range.first, &range.last)) {
      return false;
    }
    versions->push_back(range);
  }
  return true;
}

// "0-4=2,5-8=1+3,9=missing"; "missing" may stand beside versions: "1+missing".
bool ParseExpectations(const std::string& text, std::vector<Expectation>* expectations) {
  for (const std::string& part : Split(text, ',')) {
    size_t equals = part.find('=');
    if (equals == std::string::npos) return false;
    Expectation expectation;
    if (!ParseRange(part.substr(0, equals), UINT32_MAX, &expectation.first_class,
                    &expectation.last_class)) {
      return false;
    }
    std::string versions;
    for (const std::string& word : Split(part.substr(equals + 1), '+')) {
      if (word == "missing") {
        expectation.may_be_missing = true;
      } else {
        versions += versions.empty() ? word : "+" + word;
      }
    }
    if (!versions.empty() && !ParseVersions(versions, '+', &expectation.versions)) return false;
    if (versions.empty() && !expectation.may_be_missing) return false;
    expectations->push_back(std::move(expectation));
  }
  return true;
}

bool ParseValueSizes(const std::string& text, ValueSizes* sizes) {
  sizes->choices.clear();
  for (const std::string& part : Split(text, ',')) {
    ValueSizes::Range range;
    if (!ParseRange(part, 512 << 20, &range.first, &range.last)) return false;
    sizes->choices.push_back(range);
  }
  return true;
}

bool ParseMix(const std::string& text, OperationMix* mix) {
  *mix = {};
  double sum = 0;
  for (const std::string& part : Split(text, ',')) {
    std::vector<std::string> sides = Split(part, '=');
    double weight;
    if (sides.size() != 2 || !ParseReal(sides[1], &weight)) return false;
    const auto* row = std::ranges::find_if(
        kOperationRows, [&](const OperationRow& candidate) { return candidate.name == sides[0]; });
    if (row == kOperationRows.end()) return false;
    (*mix)[row->operation] = weight;
    sum += weight;
  }
  return sum > 0;
}

bool ParseKeyChoice(const std::string& text, KeyChoice* choice) {
  constexpr std::array<std::pair<std::string_view, KeyChoice>, 5> kNames = {{
      {"uniform", KeyChoice::kUniform},
      {"zipfian", KeyChoice::kZipfian},
      {"latest", KeyChoice::kLatest},
      {"sequential", KeyChoice::kSequential},
      {"shuffled", KeyChoice::kShuffled},
  }};
  for (const auto& [name, value] : kNames) {
    if (text == name) {
      *choice = value;
      return true;
    }
  }
  return false;
}

struct WorkloadRow {
  std::string_view name;
  const char* mix;
  KeyChoice key_choice;
};
constexpr std::array<WorkloadRow, 6> kWorkloads = {{
    {"ycsb-a", "get=50,set=50", KeyChoice::kZipfian},
    {"ycsb-b", "get=95,set=5", KeyChoice::kZipfian},
    {"ycsb-c", "get=100", KeyChoice::kZipfian},
    {"ycsb-d", "get=95,insert=5", KeyChoice::kLatest},
    {"ycsb-e", "scan=95,insert=5", KeyChoice::kZipfian},
    {"ycsb-f", "get=50,rmw=50", KeyChoice::kZipfian},
}};

bool ParseWorkload(const std::string& text, Options* options) {
  for (const WorkloadRow& row : kWorkloads) {
    if (text != row.name) continue;
    options->key_choice = row.key_choice;
    options->mix_given = true;
    return ParseMix(row.mix, &options->mix);
  }
  return false;
}

struct OptionRow {
  std::string_view name;
  // Empty: a flag, without a value.
  std::string_view value;
  std::string_view help;
  bool (*parse)(const std::string& value, Options* options);
};

using Text = const std::string&;

constexpr OptionRow kRows[] = {
    {"--host", "ADDRESS", "IPv4 address or name (127.0.0.1)",
     [](Text v, Options* o) { return !(o->host = v).empty(); }},
    {"--port", "N", "(6379)",
     [](Text v, Options* o) { return ParseNumber(v, &o->port, 1, 65535); }},
    {"--unix", "PATH", "a unix socket instead of host and port",
     [](Text v, Options* o) { return !(o->unix_path = v).empty(); }},
    {"--clients", "N", "connections, over all threads (50)",
     [](Text v, Options* o) { return ParseNumber(v, &o->clients, 1, 100'000); }},
    {"--threads", "N", "(1)",
     [](Text v, Options* o) { return ParseNumber(v, &o->threads, 1, 256); }},
    {"--pipeline", "N", "operations sent together by a connection, which then awaits all (1)",
     [](Text v, Options* o) { return ParseNumber(v, &o->pipeline, 1, 1 << 20); }},
    {"--sliding", "", "keep the pipeline full instead of awaiting all of it",
     [](Text, Options* o) { return o->sliding = true; }},
    {"--requests", "N", "operations in all (1,000,000; the keys, where each is taken once)",
     [](Text v, Options* o) { return ParseNumber(v, &o->requests, 1, UINT64_MAX); }},
    {"--seconds", "S", "run for so long instead, after the warm-up",
     [](Text v, Options* o) { return ParseReal(v, &o->seconds); }},
    {"--warmup", "S", "seconds at the start that are not measured (0)",
     [](Text v, Options* o) { return ParseReal(v, &o->warmup_seconds); }},
    {"--max-seconds", "S", "give up after this, whatever the above (7200)",
     [](Text v, Options* o) { return ParseReal(v, &o->max_seconds); }},
    {"--timeout", "S", "give up when no reply came for so long (60)",
     [](Text v, Options* o) { return ParseReal(v, &o->reply_timeout_seconds); }},
    {"--rate", "N", "open loop: operations a second; latency counts from the intended start",
     [](Text v, Options* o) { return ParseReal(v, &o->rate); }},
    {"--keys", "N", "(1,000,000)",
     [](Text v, Options* o) { return ParseNumber(v, &o->keys, 1, kMaxKeyIndex / 2); }},
    {"--first", "N", "index of the first key (0)",
     [](Text v, Options* o) { return ParseNumber(v, &o->first_key, 0, kMaxKeyIndex / 4); }},
    {"--key-prefix", "TEXT", "(key:)",
     [](Text v, Options* o) { return (o->key_prefix = v).size() <= 200; }},
    {"--key-bytes", "N", "length of a key: the prefix, then its index in decimal (16)",
     [](Text v, Options* o) { return ParseNumber(v, &o->key_bytes, 1, 240); }},
    {"--key-choice", "HOW",
     "uniform, zipfian (0.99, scattered), latest; sequential, shuffled: each key once",
     [](Text v, Options* o) { return ParseKeyChoice(v, &o->key_choice); }},
    {"--seed", "N", "(1)",
     [](Text v, Options* o) { return ParseNumber(v, &o->seed, 0, UINT64_MAX); }},
    {"--classes", "M", "cut the keys into M pseudo-random classes (1)",
     [](Text v, Options* o) { return ParseNumber(v, &o->classes, 1, 1 << 20); }},
    {"--only", "A-B", "take only keys of these classes",
     [](Text v, Options* o) {
       return ParseRange(v, UINT32_MAX, &o->only_first_class, &o->only_last_class);
     }},
    {"--value-size", "LIST", "bytes: 1024, or 16-65536, or 16,64,1024 with equal chances (1024)",
     [](Text v, Options* o) { return ParseValueSizes(v, &o->value_sizes); }},
    {"--compressible", "PERCENT", "part of each value that is one repeated byte (0)",
     [](Text v, Options* o) { return ParseNumber(v, &o->compressible_percent, 0, 100); }},
    {"--version", "K", "the version that writes write (1)",
     [](Text v, Options* o) { return ParseNumber(v, &o->version, 0, kMaxVersion); }},
    {"--mix", "LIST", "as get=95,set=5; of get set insert rmw del exists incr absent scan ping",
     [](Text v, Options* o) { return o->mix_given = ParseMix(v, &o->mix); }},
    {"--workload", "NAME", "ycsb-a to ycsb-f: sets mix and key choice",
     [](Text v, Options* o) { return ParseWorkload(v, o); }},
    {"--load", "", "set each key once, in order",
     [](Text, Options* o) {
       o->key_choice = KeyChoice::kSequential;
       return o->mix_given = ParseMix("set=1", &o->mix);
     }},
    {"--check", "", "verify every value read; missing keys and wrong values are failures",
     [](Text, Options* o) { return o->check = true; }},
    {"--accept-versions", "LIST", "versions that a read may find, as 1,3-5 or any (--version's)",
     [](Text v, Options* o) {
       Expectation all;
       all.last_class = UINT32_MAX;
       if (!ParseVersions(v, ',', &all.versions)) return false;
       o->expectations.push_back(all);
       return true;
     }},
    {"--expect", "LIST", "the same by class, as 0-4=2,5-8=1+3,9=missing",
     [](Text v, Options* o) { return ParseExpectations(v, &o->expectations); }},
    {"--scan-all", "", "instead of a load: one whole SCAN, every expected key must come",
     [](Text, Options* o) { return o->scan_all = true; }},
    {"--json", "FILE", "write the report there too",
     [](Text v, Options* o) { return !(o->json_path = v).empty(); }},
    {"--quiet", "", "print only failures", [](Text, Options* o) { return o->quiet = true; }},
};

// What depends on several options at once.
std::optional<std::string> Complete(Options* options) {
  if (!options->mix_given) options->mix[Operation::kGet] = 1;
  if (options->only_last_class == UINT32_MAX) options->only_last_class = options->classes - 1;
  if (options->only_last_class >= options->classes) return "--only names a class that is not there";
  if (options->expectations.empty()) {
    options->expectations.push_back({.first_class = 0,
                                     .last_class = UINT32_MAX,
                                     .may_be_missing = false,
                                     .versions = {{options->version, options->version}}});
  }
  size_t digits = std::to_string(options->first_key + options->keys - 1).size();
  if (options->key_prefix.size() + digits > options->key_bytes) {
    return "--key-bytes is too small for the prefix and the largest index";
  }
  options->threads = std::min(options->threads, options->clients);
  if (options->requests == 0 && options->seconds == 0 && !options->EachKeyOnce()) {
    options->requests = 1'000'000;
  }
  return std::nullopt;
}

}  // namespace

std::string HelpText() {
  std::string text =
      "firn-bench [options]: loads a server that speaks RESP, measures it, checks what it reads.\n"
      "Exit code: 0 right, 1 wrong, missing or refused, 2 bad option, 3 connection lost.\n\n";
  for (const OptionRow& row : kRows) {
    std::string left = "  " + std::string(row.name) + " " + std::string(row.value);
    left.resize(std::max<size_t>(left.size() + 1, 27), ' ');
    text += left + std::string(row.help) + "\n";
  }
  return text;
}

std::expected<Options, std::string> ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--help" || name == "-h") return std::unexpected("");
    const auto* row = std::ranges::find_if(
        kRows, [&](const OptionRow& candidate) { return candidate.name == name; });
    if (row == std::end(kRows)) return std::unexpected("unknown option " + name);
    std::string value;
    if (!row->value.empty()) {
      if (++i == arguments.size()) return std::unexpected(name + " needs a value");
      value = arguments[i];
    }
    if (!row->parse(value, &options))
      return std::unexpected("bad value for " + name + ": " + value);
  }
  if (auto error = Complete(&options)) return std::unexpected(*error);
  return options;
}

}  // namespace firn::bench
