#include "bench/firn_bench/key_source.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace firn::bench {

namespace {
constexpr uint64_t kBlock = 64;
constexpr double kZipfExponent = 0.99;
// More inserts than this are never in flight on one thread.
constexpr uint64_t kInsertWindow = uint64_t{1} << 22;
}  // namespace

const Expectation& ExpectationOf(const Options& options, uint64_t key) {
  static const Expectation kAnyVersion = {.first_class = 0,
                                          .last_class = UINT32_MAX,
                                          .may_be_missing = false,
                                          .versions = {{0, kMaxVersion}}};
  uint32_t key_class = ClassOf(options, key);
  for (const Expectation& expectation : options.expectations) {
    if (key_class >= expectation.first_class && key_class <= expectation.last_class) {
      return expectation;
    }
  }
  return kAnyVersion;
}

void WriteKeyName(const Options& options, uint64_t key, char* out) {
  size_t prefix = options.key_prefix.size();
  std::memcpy(out, options.key_prefix.data(), prefix);
  for (size_t at = options.key_bytes; at > prefix; --at) {
    out[at - 1] = static_cast<char>('0' + key % 10);
    key /= 10;
  }
}

std::optional<uint64_t> ParseKeyName(const Options& options, std::string_view name) {
  if (name.size() != options.key_bytes || !name.starts_with(options.key_prefix)) {
    return std::nullopt;
  }
  uint64_t key;
  const char* end = name.data() + name.size();
  auto [stop, error] = std::from_chars(name.data() + options.key_prefix.size(), end, key);
  if (error != std::errc() || stop != end) return std::nullopt;
  return key;
}

KeySource::KeySource(const Options& options, uint32_t thread, std::atomic<uint64_t>& cursor)
    : options_(options),
      cursor_(cursor),
      thread_(thread),
      random_(options.seed * 1000003 + thread),
      permutation_(options.keys, options.seed),
      zipf_(options.keys, kZipfExponent) {}

std::optional<uint64_t> KeySource::Next() {
  if (options_.EachKeyOnce()) return NextOnce();
  while (true) {
    uint64_t key = Draw();
    if (Selected(key)) return key;
  }
}

bool KeySource::Selected(uint64_t key) const {
  uint32_t key_class = ClassOf(options_, key);
  return key_class >= options_.only_first_class && key_class <= options_.only_last_class;
}

std::optional<uint64_t> KeySource::NextOnce() {
  while (true) {
    if (block_at_ == block_end_) {
      block_at_ = cursor_.fetch_add(kBlock, std::memory_order_relaxed);
      if (block_at_ >= options_.keys) {
        block_end_ = block_at_;
        return std::nullopt;
      }
      block_end_ = std::min(block_at_ + kBlock, options_.keys);
    }
    uint64_t index = block_at_++;
    if (options_.key_choice == KeyChoice::kShuffled) index = permutation_.At(index);
    if (Selected(options_.first_key + index)) return options_.first_key + index;
  }
}

uint64_t KeySource::Draw() {
  switch (options_.key_choice) {
    case KeyChoice::kZipfian:
      return options_.first_key + permutation_.At(zipf_.Next(random_));
    case KeyChoice::kLatest:
      return DrawLatest();
    default:
      return options_.first_key + random_.Below(options_.keys);
  }
}

uint64_t KeySource::DrawLatest() {
  uint64_t age = zipf_.Next(random_);
  if (age >= acknowledged_) {
    age -= acknowledged_;
    return options_.first_key + options_.keys - 1 - age;
  }
  uint64_t index = acknowledged_ - 1 - age;
  return options_.first_key + options_.keys + index * options_.threads + thread_;
}

uint64_t KeySource::Insert() {
  return options_.first_key + options_.keys + inserted_++ * options_.threads + thread_;
}

void KeySource::Acknowledge(uint64_t key) {
  if (arrived_.empty()) arrived_.resize(kInsertWindow);
  uint64_t index = (key - options_.first_key - options_.keys) / options_.threads;
  arrived_[index % kInsertWindow] = true;
  while (acknowledged_ < inserted_ && arrived_[acknowledged_ % kInsertWindow]) {
    arrived_[acknowledged_ % kInsertWindow] = false;
    ++acknowledged_;
  }
}

}  // namespace firn::bench
