#include "engine/types/hyperloglog.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/check.h"
#include "engine/base/coding.h"
#include "engine/base/random.h"

namespace firn {
namespace {

constexpr uint32_t kIndexBits = 14;
constexpr uint32_t kMaxRank = 64 - kIndexBits + 1;  // the largest value of a register
constexpr char kMagic[] = {'H', 'Y', 'L', 'L'};
constexpr uint8_t kDenseCode = 0;
constexpr uint8_t kSparseCode = 1;

// --- runs of the sparse encoding
//
// 00llllll           l + 1 registers of value 0
// 01llllll llllllll  l + 1 registers of value 0
// 1vvvvvll           l + 1 registers of value v + 1

constexpr uint32_t kMaxShortZeros = 64;
constexpr uint32_t kMaxValueRun = 4;
constexpr uint32_t kMaxSparseValue = 32;

constexpr bool IsValueRun(uint8_t byte) { return (byte & 0x80) != 0; }
constexpr bool IsLongZeros(uint8_t byte) { return (byte & 0xc0) == 0x40; }
constexpr uint8_t RunValue(uint8_t byte) {
  return IsValueRun(byte) ? static_cast<uint8_t>((byte >> 2 & 0x1f) + 1) : uint8_t{0};
}
constexpr uint8_t ValueRun(uint32_t value, uint32_t length) {
  return static_cast<uint8_t>(0x80 | (value - 1) << 2 | (length - 1));
}

// Registers of a run that is one byte; 0 for the others.
constexpr std::array<uint8_t, 256> kRunLengths = [] {
  std::array<uint8_t, 256> lengths{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const auto code = static_cast<uint8_t>(byte);
    if (IsValueRun(code)) {
      lengths[byte] = static_cast<uint8_t>((byte & 3) + 1);
    } else if (!IsLongZeros(code)) {
      lengths[byte] = static_cast<uint8_t>((byte & 0x3f) + 1);
    }
  }
  return lengths;
}();

uint32_t AddZeros(uint32_t length, uint8_t* to) {
  if (length == 0) return 0;
  if (length <= kMaxShortZeros) {
    *to = static_cast<uint8_t>(length - 1);
    return 1;
  }
  to[0] = static_cast<uint8_t>(0x40 | (length - 1) >> 8);
  to[1] = static_cast<uint8_t>(length - 1);
  return 2;
}

const uint8_t* Bytes(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

struct Run {
  uint32_t length = 0;  // 0: cut off
  uint32_t size = 1;
  uint8_t value = 0;
};
Run RunAt(std::string_view bytes, size_t at) {
  const uint8_t first = Bytes(bytes)[at];
  if (!IsLongZeros(first)) return {.length = kRunLengths[first], .value = RunValue(first)};
  if (at + 1 == bytes.size()) return {};
  return {.length = (uint32_t{first & 0x3fu} << 8 | Bytes(bytes)[at + 1]) + 1, .size = 2};
}

// Visits the runs as visit(run, first register); false if they don't add up to all registers.
template <typename Visitor>
bool ForEachRun(std::string_view bytes, Visitor visit) {
  uint32_t index = 0;
  for (size_t at = kHllHeaderSize; at < bytes.size();) {
    const Run run = RunAt(bytes, at);
    if (run.length == 0 || index + run.length > kHllRegisters) return false;
    visit(run, index);
    index += run.length;
    at += run.size;
  }
  return index == kHllRegisters;
}

// --- registers of the dense encoding: bit 6 * index and up, from the least significant bit

struct DensePlace {
  uint32_t byte;
  uint32_t shift;
  explicit DensePlace(uint32_t index)
      : byte(kHllHeaderSize + index * 6 / 8), shift(index * 6 % 8) {}
  bool crosses() const { return shift > 2; }
};

uint8_t DenseValue(const uint8_t* bytes, const DensePlace& place) {
  uint32_t word = bytes[place.byte];
  if (place.crosses()) word |= uint32_t{bytes[place.byte + 1]} << 8;
  return static_cast<uint8_t>(word >> place.shift & 63);
}

// The register's bytes after a change; returns how many.
uint32_t EncodeDense(const uint8_t* bytes, const DensePlace& place, uint8_t value, char* to) {
  uint32_t word = bytes[place.byte];
  if (place.crosses()) word |= uint32_t{bytes[place.byte + 1]} << 8;
  word = (word & ~(63u << place.shift)) | uint32_t{value} << place.shift;
  to[0] = static_cast<char>(word);
  if (!place.crosses()) return 1;
  to[1] = static_cast<char>(word >> 8);
  return 2;
}

void SetDense(char* bytes, uint32_t index, uint8_t value) {
  const DensePlace place(index);
  char changed[2];
  const uint32_t size = EncodeDense(reinterpret_cast<const uint8_t*>(bytes), place, value, changed);
  std::memcpy(bytes + place.byte, changed, size);
}

// Visits all registers as visit(index, value), eight from six bytes at a time.
template <typename Visitor>
void ForEachDense(std::string_view bytes, Visitor visit) {
  const uint8_t* at = Bytes(bytes) + kHllHeaderSize;
  for (uint32_t index = 0; index < kHllRegisters; index += 8, at += 6) {
    uint64_t word = 0;
    std::memcpy(&word, at, 6);
    for (uint32_t i = 0; i < 8; ++i) visit(index + i, static_cast<uint8_t>(word >> 6 * i & 63));
  }
}

uint64_t Murmur64(std::string_view bytes, uint64_t seed) {
  constexpr uint64_t kMultiplier = 0xc6a4a7935bd1e995;
  constexpr int kShift = 47;
  uint64_t hash = seed ^ bytes.size() * kMultiplier;
  const char* at = bytes.data();
  size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    auto word = LoadFixed<uint64_t>(at) * kMultiplier;
    word = (word ^ word >> kShift) * kMultiplier;
    hash = (hash ^ word) * kMultiplier;
  }
  if (left > 0) {
    uint64_t rest = 0;
    std::memcpy(&rest, at, left);
    hash = (hash ^ rest) * kMultiplier;
  }
  hash = (hash ^ hash >> kShift) * kMultiplier;
  return hash ^ hash >> kShift;
}

}  // namespace

bool IsHyperLogLog(std::string_view bytes) {
  if (bytes.size() < kHllHeaderSize || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    return false;
  }
  const uint8_t code = Bytes(bytes)[4];
  return code == kSparseCode || (code == kDenseCode && bytes.size() == kHllDenseSize);
}

std::string EmptyHll() {
  std::string bytes(kHllHeaderSize + 2, '\0');
  std::memcpy(bytes.data(), kMagic, sizeof kMagic);
  bytes[4] = static_cast<char>(kSparseCode);
  AddZeros(kHllRegisters, reinterpret_cast<uint8_t*>(bytes.data()) + kHllHeaderSize);
  return bytes;
}

HllElement HashHllElement(std::string_view element) {
  constexpr uint64_t kSeed = 0xadc83b19;
  const uint64_t hash = Murmur64(element, kSeed);
  // The bit behind the last ends the count of zeros.
  const uint64_t rest = hash >> kIndexBits | uint64_t{1} << (kMaxRank - 1);
  return {.index = static_cast<uint32_t>(hash & (kHllRegisters - 1)),
          .value = static_cast<uint8_t>(std::countr_zero(rest) + 1)};
}

// --- changing

HllResult HllChange::Raise(std::string_view bytes, const HllElement& element,
                           uint64_t sparse_max_bytes) {
  count_ = 0;
  return IsDenseHll(bytes) ? RaiseDense(bytes, element)
                           : RaiseSparse(bytes, element, sparse_max_bytes);
}

void HllChange::MarkStale(std::string_view bytes) {
  const uint8_t byte = Bytes(bytes)[kHllStaleByte];
  if ((byte & kHllStaleBit) != 0) return;
  stale_ = static_cast<char>(byte | kHllStaleBit);
  splices_[count_++] = {kHllStaleByte, 1, {&stale_, 1}};
}

HllResult HllChange::RaiseDense(std::string_view bytes, const HllElement& element) {
  const DensePlace place(element.index);
  if (DenseValue(Bytes(bytes), place) >= element.value) return HllResult::kSame;
  MarkStale(bytes);
  const uint32_t size = EncodeDense(Bytes(bytes), place, element.value, scratch_);
  splices_[count_++] = {place.byte, size, {scratch_, size}};
  return HllResult::kChanged;
}

namespace {

// Where a register lies among the runs.
struct SparsePlace {
  size_t previous = 0;  // the run before, or this one if it is the first
  size_t at = 0;
  uint32_t first = 0;  // the run's first register
  Run run;
};

bool FindRun(std::string_view bytes, uint32_t index, SparsePlace* place) {
  const uint8_t* data = Bytes(bytes);
  const size_t end = bytes.size();
  size_t at = kHllHeaderSize;
  size_t previous = at;
  uint32_t first = 0;
  while (at < end) {
    uint32_t length = kRunLengths[data[at]];
    size_t size = 1;
    if (length == 0) [[unlikely]] {
      if (at + 1 == end) return false;
      length = (uint32_t{data[at] & 0x3fu} << 8 | data[at + 1]) + 1;
      size = 2;
    }
    if (index < first + length) {
      *place = {.previous = previous, .at = at, .first = first, .run = RunAt(bytes, at)};
      return true;
    }
    previous = at;
    at += size;
    first += length;
  }
  return false;
}

// The runs that take the place of one of which a register is raised; returns their size.
uint32_t SplitRun(const SparsePlace& place, const HllElement& element, uint8_t* to) {
  const uint32_t before = element.index - place.first;
  const uint32_t after = place.first + place.run.length - 1 - element.index;
  uint32_t size = 0;
  auto add_rest = [&](uint32_t length) {
    if (place.run.value == 0) {
      size += AddZeros(length, to + size);
    } else if (length > 0) {
      to[size++] = ValueRun(place.run.value, length);
    }
  };
  add_rest(before);
  to[size++] = ValueRun(element.value, 1);
  add_rest(after);
  return size;
}

// Joins neighbours of equal value among the next five runs, as far as one run can hold them;
// returns the size afterwards.
uint32_t JoinRuns(uint8_t* window, uint32_t size) {
  uint32_t at = 0;
  for (int left = 5; at < size && left > 0; --left) {
    if (!IsValueRun(window[at])) {
      at += IsLongZeros(window[at]) ? 2 : 1;
      continue;
    }
    if (at + 1 < size && IsValueRun(window[at + 1]) &&
        RunValue(window[at]) == RunValue(window[at + 1])) {
      const uint32_t length = kRunLengths[window[at]] + kRunLengths[window[at + 1]];
      if (length <= kMaxValueRun) {
        window[at + 1] = ValueRun(RunValue(window[at]), length);
        std::memmove(window + at, window + at + 1, size - at - 1);
        --size;
        continue;
      }
    }
    ++at;
  }
  return size;
}

}  // namespace

HllResult HllChange::RaiseSparse(std::string_view bytes, const HllElement& element,
                                 uint64_t sparse_max_bytes) {
  if (element.value > kMaxSparseValue) return HllResult::kTooLong;
  SparsePlace place;
  if (!FindRun(bytes, element.index, &place)) return HllResult::kCorrupt;
  if (place.run.value >= element.value) return HllResult::kSame;

  // The window: the run before, what takes the place of this run, and as much behind it as joining
  // runs can reach.
  constexpr size_t kReach = 12;
  uint8_t window[32];
  const size_t begin = place.previous;
  const size_t behind = place.at + place.run.size;
  const size_t end = std::min(behind + kReach, bytes.size());
  auto size = static_cast<uint32_t>(place.at - begin);
  std::memcpy(window, bytes.data() + begin, size);
  const uint32_t split = SplitRun(place, element, window + size);
  if (split > place.run.size && bytes.size() + split - place.run.size > sparse_max_bytes) {
    return HllResult::kTooLong;
  }
  size += split;
  std::memcpy(window + size, bytes.data() + behind, end - behind);
  size = JoinRuns(window, size + static_cast<uint32_t>(end - behind));

  // Only what differs is spliced.
  const std::string_view old = bytes.substr(begin, end - begin);
  const std::string_view now(reinterpret_cast<const char*>(window), size);
  const size_t common = std::min(old.size(), now.size());
  size_t head = 0;
  while (head < common && old[head] == now[head]) ++head;
  size_t tail = 0;
  while (tail < common - head && old[old.size() - 1 - tail] == now[now.size() - 1 - tail]) ++tail;
  const size_t inserted = now.size() - head - tail;
  static_assert(sizeof scratch_ >= sizeof window);
  std::memcpy(scratch_, now.data() + head, inserted);
  MarkStale(bytes);
  splices_[count_++] = {static_cast<uint32_t>(begin + head),
                        static_cast<uint32_t>(old.size() - head - tail),
                        {scratch_, inserted}};
  return HllResult::kChanged;
}

HllResult RaiseHll(std::string* bytes, const HllElement& element, uint64_t sparse_max_bytes) {
  HllChange change;
  HllResult result = change.Raise(*bytes, element, sparse_max_bytes);
  if (result == HllResult::kTooLong) {
    if (!MakeHllDense(bytes)) return HllResult::kCorrupt;
    result = change.Raise(*bytes, element, sparse_max_bytes);
  }
  if (result != HllResult::kChanged) return result;
  const size_t old_size = bytes->size();
  uint64_t new_size = 0;
  CHECK(CheckSplices(change.splices(), old_size, &new_size));
  if (new_size > old_size) bytes->resize(new_size);
  ApplySplices(change.splices(), bytes->data(), old_size);
  bytes->resize(new_size);
  return result;
}

bool MakeHllDense(std::string* bytes) {
  if (IsDenseHll(*bytes)) return true;
  std::string dense(kHllDenseSize, '\0');
  std::memcpy(dense.data(), bytes->data(), kHllHeaderSize);
  dense[4] = static_cast<char>(kDenseCode);
  const bool whole = ForEachRun(*bytes, [&](const Run& run, uint32_t index) {
    if (run.value == 0) return;
    for (uint32_t i = 0; i < run.length; ++i) SetDense(dense.data(), index + i, run.value);
  });
  if (whole) *bytes = std::move(dense);
  return whole;
}

void MarkHllStale(std::string* bytes) {
  char& byte = (*bytes)[kHllStaleByte];
  byte = static_cast<char>(static_cast<uint8_t>(byte) | kHllStaleBit);
}

// --- reading

bool MergeHll(std::string_view bytes, HllRegisters* registers) {
  if (IsDenseHll(bytes)) {
    ForEachDense(bytes, [&](uint32_t index, uint8_t value) {
      (*registers)[index] = std::max((*registers)[index], value);
    });
    return true;
  }
  return ForEachRun(bytes, [&](const Run& run, uint32_t index) {
    if (run.value == 0) return;
    for (uint32_t i = 0; i < run.length; ++i) {
      (*registers)[index + i] = std::max((*registers)[index + i], run.value);
    }
  });
}

namespace {

// How many registers have each value.
using Histogram = std::array<uint32_t, 64>;

// The estimator of O. Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
// (arXiv:1702.01284): sigma stands for the registers that are zero, tau for the full ones.
double Sigma(double x) {
  if (x == 1.0) return std::numeric_limits<double>::infinity();
  double y = 1;
  double z = x;
  double before;
  do {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  } while (before != z);
  return z;
}

double Tau(double x) {
  if (x == 0.0 || x == 1.0) return 0.0;
  double y = 1.0;
  double z = 1 - x;
  double before;
  do {
    x = std::sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) * (1 - x) * y;
  } while (before != z);
  return z / 3;
}

uint64_t Estimate(const Histogram& histogram) {
  constexpr double kAlphaInfinity = 0.721347520444481703680;  // 1 / (2 ln 2)
  const double m = kHllRegisters;
  double z = m * Tau((m - histogram[kMaxRank]) / m);
  for (uint32_t value = kMaxRank - 1; value >= 1; --value) {
    z += histogram[value];
    z *= 0.5;
  }
  z += m * Sigma(histogram[0] / m);
  return static_cast<uint64_t>(std::llroundl(kAlphaInfinity * m * m / z));
}

}  // namespace

bool CountHll(std::string_view bytes, uint64_t* count) {
  // Two of them, so that neighbours of equal value don't wait for each other.
  Histogram histograms[2] = {};
  if (IsDenseHll(bytes)) {
    ForEachDense(bytes, [&](uint32_t index, uint8_t value) { ++histograms[index & 1][value]; });
  } else if (!ForEachRun(bytes, [&](const Run& run, uint32_t) {
               histograms[0][run.value] += run.length;
             })) {
    return false;
  }
  for (size_t i = 0; i < histograms[0].size(); ++i) histograms[0][i] += histograms[1][i];
  *count = Estimate(histograms[0]);
  return true;
}

uint64_t CountHll(const HllRegisters& registers) {
  Histogram histogram = {};
  for (uint8_t value : registers) ++histogram[value & 63];
  return Estimate(histogram);
}

bool CachedHllCount(std::string_view bytes, uint64_t* count) {
  if ((Bytes(bytes)[kHllStaleByte] & kHllStaleBit) != 0) return false;
  *count = LoadFixed<uint64_t>(bytes.data() + kHllCountOffset);
  return true;
}

std::string DescribeHll(std::string_view bytes) {
  std::string text;
  for (size_t at = kHllHeaderSize; at < bytes.size();) {
    const Run run = RunAt(bytes, at);
    if (!text.empty()) text += ' ';
    if (run.value != 0) {
      text += "v:" + std::to_string(run.value) + "," + std::to_string(run.length);
    } else {
      text += (IsLongZeros(Bytes(bytes)[at]) ? "Z:" : "z:") + std::to_string(run.length);
    }
    at += run.size;
  }
  return text;
}

// --- self test

namespace {

std::string TestRegisters(Random* random) {
  std::string dense(kHllDenseSize, '\0');
  HllRegisters expected = {};
  for (int round = 0; round < 100; ++round) {
    for (uint32_t i = 0; i < kHllRegisters; ++i) {
      expected[i] = static_cast<uint8_t>(random->Below(64));
      SetDense(dense.data(), i, expected[i]);
    }
    for (uint32_t i = 0; i < kHllRegisters; ++i) {
      const uint8_t value = DenseValue(Bytes(dense), DensePlace(i));
      if (value == expected[i]) continue;
      return "TESTFAILED Register " + std::to_string(i) + " should be " +
             std::to_string(expected[i]) + " but is " + std::to_string(value);
    }
  }
  return {};
}

}  // namespace

std::string SelfTestHll(uint64_t seed, uint64_t sparse_max_bytes) {
  constexpr uint64_t kMaxElements = 1'000'000;
  Random random(seed);
  if (std::string error = TestRegisters(&random); !error.empty()) return error;
  const double standard_error = 1.04 / std::sqrt(double{kHllRegisters});
  const uint64_t salt = random.Next();
  std::string dense = EmptyHll();
  CHECK(MakeHllDense(&dense));
  std::string sparse = EmptyHll();
  uint64_t checkpoint = 1;
  for (uint64_t i = 1; i <= kMaxElements; ++i) {
    char bytes[8];
    StoreFixed(bytes, i ^ salt);
    const HllElement element = HashHllElement({bytes, sizeof bytes});
    RaiseHll(&dense, element, sparse_max_bytes);
    RaiseHll(&sparse, element, sparse_max_bytes);
    if (i != checkpoint) continue;
    if (i < sparse_max_bytes / 2 && IsDenseHll(sparse)) {
      return "TESTFAILED sparse encoding not used";
    }
    uint64_t by_dense = 0;
    uint64_t by_sparse = 0;
    if (!CountHll(dense, &by_dense) || !CountHll(sparse, &by_sparse) || by_dense != by_sparse) {
      return "TESTFAILED dense/sparse disagree";
    }
    const uint64_t error = by_dense > i ? by_dense - i : i - by_dense;
    // A single collision among ten elements is not rare.
    const auto limit =
        i == 10 ? uint64_t{1}
                : static_cast<uint64_t>(std::ceil(standard_error * 6 * static_cast<double>(i)));
    if (error > limit) {
      return "TESTFAILED Too big error. card:" + std::to_string(i) +
             " abserr:" + std::to_string(error);
    }
    checkpoint *= 10;
  }
  return {};
}

}  // namespace firn
