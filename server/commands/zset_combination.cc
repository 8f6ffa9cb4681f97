#include "server/commands/zset_combination.h"

namespace firn::server {

using Lookup = ZsetInput::Lookup;

double JoinScores(ZsetAggregate aggregate, double a, double b) {
  switch (aggregate) {
    case ZsetAggregate::kMin:
      return b < a ? b : a;
    case ZsetAggregate::kMax:
      return b > a ? b : a;
    case ZsetAggregate::kSum:
      break;
  }
  const double sum = a + b;
  return std::isnan(sum) ? 0 : sum;  // of both infinities
}

Lookup FindInOthers(std::span<const ZsetSource> sources, ZsetAggregate aggregate,
                    const ZsetElement& element, double* score) {
  *score = WeightedScore(sources[0].weight, element.score);
  Lookup lookup = Lookup::kPresent;
  for (const ZsetSource& source : sources.subspan(1)) {
    double other = element.score;
    const bool same = source.input == sources[0].input;
    const Lookup found = same ? Lookup::kPresent : source.input->Score(element.member, &other);
    if (found == Lookup::kAbsent) return lookup == Lookup::kMissing ? lookup : found;
    if (found == Lookup::kMissing) lookup = found;
    *score = JoinScores(aggregate, *score, source.weight * other);
  }
  return lookup;
}

Lookup FindInAnyOther(std::span<const ZsetSource> sources, const ZsetElement& element) {
  Lookup lookup = Lookup::kAbsent;
  for (const ZsetSource& source : sources.subspan(1)) {
    double score;
    const Lookup found = source.input->Score(element.member, &score);
    // What is missing has been asked for by now, and the command runs again.
    if (found == Lookup::kPresent && lookup == Lookup::kAbsent) return found;
    if (found == Lookup::kMissing) lookup = found;
  }
  return lookup;
}

}  // namespace firn::server
