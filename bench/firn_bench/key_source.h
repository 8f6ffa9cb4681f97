// Which key the next operation takes.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "bench/firn_bench/options.h"
#include "bench/firn_bench/permutation.h"
#include "bench/firn_bench/zipf.h"
#include "engine/base/random.h"

namespace firn::bench {

inline uint32_t ClassOf(const Options& options, uint64_t key) {
  return options.classes == 1 ? 0 : static_cast<uint32_t>(Mix(key + 1) % options.classes);
}

// What a reader of `key` may find.
const Expectation& ExpectationOf(const Options& options, uint64_t key);

// Writes the key's name, options.key_bytes long.
void WriteKeyName(const Options& options, uint64_t key, char* out);
// Its inverse; nullopt for a name that is not one of ours.
std::optional<uint64_t> ParseKeyName(const Options& options, std::string_view name);

// One thread's. Keys taken once are dealt out among the threads by `cursor`.
class KeySource {
 public:
  KeySource(const Options& options, uint32_t thread, std::atomic<uint64_t>& cursor);

  // nullopt: each key has been taken.
  std::optional<uint64_t> Next();

  // A fresh key. The latest choice sees it once it is acknowledged.
  uint64_t Insert();
  void Acknowledge(uint64_t key);

  Random& random() { return random_; }

 private:
  std::optional<uint64_t> NextOnce();
  uint64_t Draw();
  uint64_t DrawLatest();
  bool Selected(uint64_t key) const;

  const Options& options_;
  std::atomic<uint64_t>& cursor_;
  uint32_t thread_;
  Random random_;
  Permutation permutation_;
  Zipf zipf_;
  uint64_t block_at_ = 0;
  uint64_t block_end_ = 0;

  // Inserts of this thread: all below acknowledged_ are there, those above as arrived_ tells.
  uint64_t inserted_ = 0;
  uint64_t acknowledged_ = 0;
  std::vector<bool> arrived_;
};

}  // namespace firn::bench
