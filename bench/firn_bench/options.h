// The command line of firn-bench.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "bench/firn_bench/operation.h"
#include "bench/firn_bench/value.h"

namespace firn::bench {

enum class KeyChoice {
  kUniform,
  kZipfian,     // 0.99, the frequent keys scattered over the key space
  kLatest,      // zipfian from the newest key backwards
  kSequential,  // each key once, in order
  kShuffled,    // each key once, in random order
};

// A class is a fixed pseudo-random part of the keys: `--classes 10` makes ten of equal size. What
// is expected of the keys of classes first..last:
struct Expectation {
  uint32_t first_class = 0;
  uint32_t last_class = 0;
  bool may_be_missing = false;
  // Empty: must be missing.
  std::vector<VersionRange> versions;
};

struct Options {
  // Where.
  std::string host = "127.0.0.1";
  uint16_t port = 6379;
  std::string unix_path;

  // How much at once.
  uint32_t clients = 50;
  uint32_t threads = 1;
  uint32_t pipeline = 1;
  bool sliding = false;

  // How long. Zero: not limited by this.
  uint64_t requests = 0;
  double seconds = 0;
  double warmup_seconds = 0;
  double max_seconds = 7200;
  double reply_timeout_seconds = 60;
  double rate = 0;

  // Keys.
  uint64_t first_key = 0;
  uint64_t keys = 1'000'000;
  std::string key_prefix = "key:";
  uint32_t key_bytes = 16;
  KeyChoice key_choice = KeyChoice::kUniform;
  uint64_t seed = 1;
  uint32_t classes = 1;
  uint32_t only_first_class = 0;
  uint32_t only_last_class = UINT32_MAX;  // until parsed: the last one

  // Values and operations.
  ValueSizes value_sizes;
  uint32_t compressible_percent = 0;
  uint32_t version = 1;
  OperationMix mix;
  bool mix_given = false;
  bool check = false;
  std::vector<Expectation> expectations;
  bool scan_all = false;

  // Results.
  std::string json_path;
  bool quiet = false;

  bool EachKeyOnce() const {
    return key_choice == KeyChoice::kSequential || key_choice == KeyChoice::kShuffled;
  }
};

std::string HelpText();

// The error is a line for the user; "" when only help was asked for.
std::expected<Options, std::string> ParseOptions(const std::vector<std::string>& arguments);

}  // namespace firn::bench
