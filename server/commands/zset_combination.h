// What unions, intersections and differences of sorted sets are, whether they are made in one go
// (zset_combine.cc) or in slices (zset_slices.h).
#pragma once

#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "engine/base/siphash.h"
#include "engine/keyspace/entry.h"
#include "engine/types/page_space.h"
#include "engine/types/set_value.h"
#include "engine/types/zset_value.h"

namespace firn::server {

enum class ZsetOperation : uint8_t { kUnion, kIntersection, kDifference };
enum class ZsetAggregate : uint8_t { kSum, kMin, kMax };

// The value of one key: a sorted set, a set, whose members have the score 1, or nothing.
class ZsetInput {
 public:
  using Lookup = ZsetValue::Lookup;

  // Until Open there is no value. REQUIRES: once; `pages`, which outlive this, hold a sorted set or
  // a set, as `type` says.
  void Open(PageSpace* pages, ValueType type, HashSecret secret) {
    if (type == ValueType::kZset) zset_.emplace(pages, secret);
    if (type == ValueType::kSet) set_.emplace(pages, secret);
  }

  uint64_t count() { return zset_ ? zset_->count() : set_ ? set_->count() : 0; }
  bool WantAll() {
    if (count() == 0) return true;
    return zset_ ? zset_->Want({.first = 0, .end = count()}) : set_->WantAll();
  }
  // REQUIRES: WantAll.
  template <typename Visitor>
  void ForEach(Visitor visit) {
    if (zset_) zset_->ForEach({.first = 0, .end = count()}, visit);
    if (set_) set_->ForEach([&](std::string_view member) { visit(ZsetElement{member, 1}); });
  }
  Lookup Score(std::string_view member, double* score) {
    if (zset_) return zset_->Score(member, score);
    if (!set_) return Lookup::kAbsent;
    *score = 1;
    SetValue::Place place;
    if (!set_->Find(member, &place)) return Lookup::kMissing;
    return place.found ? Lookup::kPresent : Lookup::kAbsent;
  }

 private:
  std::optional<ZsetValue> zset_;
  std::optional<SetValue> set_;
};

// An input as it was named; one that is named twice is one object.
struct ZsetSource {
  ZsetInput* input = nullptr;
  double weight = 1;
};

inline double WeightedScore(double weight, double score) {
  const double weighted = weight * score;
  return std::isnan(weighted) ? 0 : weighted;  // zero times infinity
}

double JoinScores(ZsetAggregate aggregate, double a, double b);

// Whether all sources but the first have an element of the first; its score joined with theirs.
// kMissing as soon as one look-up has wanted a page, since there can be no reply then.
ZsetInput::Lookup FindInOthers(std::span<const ZsetSource> sources, ZsetAggregate aggregate,
                               const ZsetElement& element, double* score);
// Whether a source besides the first, which is none of them, has an element. kMissing as above.
ZsetInput::Lookup FindInAnyOther(std::span<const ZsetSource> sources, const ZsetElement& element);

}  // namespace firn::server
