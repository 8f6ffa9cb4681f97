// Unions, intersections and differences of sorted sets and sets.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/types/set_value.h"
#include "server/client.h"
#include "server/commands/zset_common.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Lookup = ZsetValue::Lookup;

enum class Operation : uint8_t { kUnion, kIntersection, kDifference };
enum class Aggregate : uint8_t { kSum, kMin, kMax };

// What one more look-up that misses its page is worth: then the pages are fetched first.
constexpr int kMaxMissing = 4096;
// What an element takes in a reply besides its bytes, at most.
constexpr uint64_t kElementOverhead = 48;

// One key: a sorted set, a set, whose members have the score 1, or nothing.
class Input {
 public:
  Input(CommandContext& context, const HashedKey& key) : key_(key.bytes) {
    const ValueType type = LookupForRead(context, key).type;
    wrong_type_ = type != ValueType::kNone && type != ValueType::kZset && type != ValueType::kSet;
    if (type != ValueType::kZset && type != ValueType::kSet) return;
    pages_.emplace(context.db(), key, type,
                   Collection::Options{.touch = !context.client.no_touch(), .count_hit = false});
    if (type == ValueType::kZset) zset_.emplace(&*pages_, pages_->secret());
    if (type == ValueType::kSet) set_.emplace(&*pages_, pages_->secret());
  }

  std::string_view key() const { return key_; }
  bool wrong_type() const { return wrong_type_; }
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
  const std::string_view key_;
  bool wrong_type_ = false;
  std::optional<Collection> pages_;
  std::optional<ZsetValue> zset_;
  std::optional<SetValue> set_;
};

// An input as it was named; one that is named twice is one object.
struct Source {
  Input* input = nullptr;
  double weight = 1;
};

struct CombineRequest {
  Operation operation = Operation::kUnion;
  size_t count_at = 1;  // the place of numkeys
  bool store = false;
  bool count_only = false;  // ZINTERCARD

  std::vector<double> weights = {};
  Aggregate aggregate = Aggregate::kSum;
  bool with_scores = false;
  uint64_t limit = std::numeric_limits<uint64_t>::max();
};

class Combination {
 public:
  Combination(CommandContext& context, CombineRequest request)
      : context_(context), request_(std::move(request)) {}

  void Run();

 private:
  bool OpenOr();
  bool ParseOptionsOr();
  bool ParseWeightsOr(size_t* at);
  bool ParseAggregateOr(std::string_view text);
  bool ParseLimitOr(std::string_view text);
  double Join(double a, double b) const;
  static double Weighted(const Source& source, double score);
  // All three: false if pages are missing.
  bool Unite();
  bool Intersect();
  bool Subtract();
  Lookup IsInOthers(const ZsetElement& element, double* score);
  void Take(const ZsetElement& element) { result_.push_back(element); }
  bool CheckSizeOr();
  void Reply();

  CommandContext& context_;
  CombineRequest request_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<Source> sources_;
  std::vector<ZsetElement> result_;  // views into the inputs
};

// --- arguments

bool Combination::OpenOr() {
  std::span<const std::string_view> args = context_.args;
  int64_t count;
  if (!ParseIntegerOr(context_, args[request_.count_at], &count)) return false;
  if (count < 1) {
    context_.reply.Error("ERR at least 1 input key is needed for '" + FullName(context_) +
                         "' command");
    return false;
  }
  if (static_cast<uint64_t>(count) > args.size() - request_.count_at - 1) {
    context_.reply.Error(kSyntaxError);
    return false;
  }
  std::unordered_map<std::string_view, Input*> by_key;
  for (const KeyAccess& access : context_.keys.subspan(request_.store ? 1 : 0)) {
    Input*& input = by_key[access.key.bytes];
    if (input == nullptr) {
      input = inputs_.emplace_back(std::make_unique<Input>(context_, access.key)).get();
    }
    if (input->wrong_type()) {
      context_.reply.Error(kWrongTypeError);
      return false;
    }
    sources_.push_back({.input = input});
  }
  return true;
}

bool Combination::ParseWeightsOr(size_t* at) {
  for (Source& source : sources_) {
    if (!ParseScoreOr(context_, context_.args[++*at], &source.weight,
                      "ERR weight value is not a float")) {
      return false;
    }
  }
  return true;
}

bool Combination::ParseAggregateOr(std::string_view text) {
  if (EqualsIgnoreCase(text, "sum")) {
    request_.aggregate = Aggregate::kSum;
  } else if (EqualsIgnoreCase(text, "min")) {
    request_.aggregate = Aggregate::kMin;
  } else if (EqualsIgnoreCase(text, "max")) {
    request_.aggregate = Aggregate::kMax;
  } else {
    context_.reply.Error(kSyntaxError);
    return false;
  }
  return true;
}

bool Combination::ParseLimitOr(std::string_view text) {
  int64_t limit;
  if (!ParseRangeOr(context_, text, {0, std::numeric_limits<int64_t>::max()}, &limit,
                    "ERR LIMIT can't be negative")) {
    return false;
  }
  if (limit > 0) request_.limit = static_cast<uint64_t>(limit);
  return true;
}

bool Combination::ParseOptionsOr() {
  std::span<const std::string_view> args = context_.args;
  const bool joins = request_.operation != Operation::kDifference && !request_.count_only;
  for (size_t i = request_.count_at + 1 + sources_.size(); i < args.size(); ++i) {
    const size_t more = args.size() - i - 1;
    if (joins && more >= sources_.size() && EqualsIgnoreCase(args[i], "weights")) {
      if (!ParseWeightsOr(&i)) return false;
    } else if (joins && more >= 1 && EqualsIgnoreCase(args[i], "aggregate")) {
      if (!ParseAggregateOr(args[++i])) return false;
    } else if (!request_.store && !request_.count_only && EqualsIgnoreCase(args[i], "withscores")) {
      request_.with_scores = true;
    } else if (request_.count_only && more >= 1 && EqualsIgnoreCase(args[i], "limit")) {
      if (!ParseLimitOr(args[++i])) return false;
    } else {
      context_.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

// --- combining

double Combination::Weighted(const Source& source, double score) {
  const double weighted = source.weight * score;
  return std::isnan(weighted) ? 0 : weighted;  // zero times infinity
}

double Combination::Join(double a, double b) const {
  switch (request_.aggregate) {
    case Aggregate::kMin:
      return b < a ? b : a;
    case Aggregate::kMax:
      return b > a ? b : a;
    case Aggregate::kSum:
      break;
  }
  const double sum = a + b;
  return std::isnan(sum) ? 0 : sum;  // of both infinities
}

bool Combination::Unite() {
  bool all = true;
  uint64_t most = 0;
  for (const auto& input : inputs_) {
    all &= input->WantAll();
    most = std::max(most, input->count());
  }
  if (!all) return false;
  std::unordered_map<std::string_view, size_t> places;
  places.reserve(most);
  for (const Source& source : sources_) {
    source.input->ForEach([&](const ZsetElement& element) {
      const double score = Weighted(source, element.score);
      auto [place, is_new] = places.try_emplace(element.member, result_.size());
      if (is_new) return Take({element.member, score});
      double& joined = result_[place->second].score;
      joined = Join(joined, score);
    });
  }
  return true;
}

// Whether all sources but the first have the element; its score joined with theirs. kMissing as
// soon as one look-up has wanted a page, since there can be no reply then.
Lookup Combination::IsInOthers(const ZsetElement& element, double* score) {
  *score = Weighted(sources_[0], element.score);
  Lookup lookup = Lookup::kPresent;
  for (const Source& source : std::span(sources_).subspan(1)) {
    double other = element.score;
    const bool same = source.input == sources_[0].input;
    const Lookup found = same ? Lookup::kPresent : source.input->Score(element.member, &other);
    if (found == Lookup::kAbsent) return lookup == Lookup::kMissing ? lookup : found;
    if (found == Lookup::kMissing) lookup = found;
    *score = Join(*score, source.weight * other);
  }
  return lookup;
}

bool Combination::Intersect() {
  if (sources_[0].input->count() == 0) return true;
  if (!sources_[0].input->WantAll()) return false;
  int missing = 0;
  sources_[0].input->ForEach([&](const ZsetElement& element) {
    if (result_.size() >= request_.limit || missing > kMaxMissing) return;
    double score;
    const Lookup lookup = IsInOthers(element, &score);
    if (lookup == Lookup::kPresent) Take({element.member, score});
    if (lookup == Lookup::kMissing) ++missing;
  });
  return missing == 0;
}

bool Combination::Subtract() {
  Input& first = *sources_[0].input;
  if (!first.WantAll()) return false;
  int missing = 0;
  first.ForEach([&](const ZsetElement& element) {
    if (missing > kMaxMissing) return;
    for (const Source& source : std::span(sources_).subspan(1)) {
      double score;
      if (source.input == &first) return;
      const Lookup lookup = source.input->Score(element.member, &score);
      if (lookup == Lookup::kPresent) return;
      missing += lookup == Lookup::kMissing ? 1 : 0;
    }
    Take(element);
  });
  return missing == 0;
}

// --- answering

bool Combination::CheckSizeOr() {
  uint64_t bytes = 0;
  for (const ZsetElement& element : result_) bytes += element.member.size() + kElementOverhead;
  if (bytes <= MaxReplyBytes(context_)) return true;
  context_.reply.Error(kOutOfMemoryError);
  return false;
}

void Combination::Reply() {
  if (request_.count_only) {
    return context_.reply.Integer(
        static_cast<int64_t>(std::min<uint64_t>(result_.size(), request_.limit)));
  }
  if (!CheckSizeOr()) return;
  if (request_.store) {
    ElementCopies copies;
    for (const ZsetElement& element : result_) copies.Add(element);
    inputs_.clear();
    constexpr std::string_view kEvents[] = {"zunionstore", "zinterstore", "zdiffstore"};
    return StoreZset(context_, context_.key(0), copies,
                     kEvents[static_cast<size_t>(request_.operation)]);
  }
  std::sort(result_.begin(), result_.end(), [](const ZsetElement& a, const ZsetElement& b) {
    return a.score < b.score || (a.score == b.score && a.member < b.member);
  });
  ReplyElementsHeader(context_, result_.size(), request_.with_scores);
  for (const ZsetElement& element : result_) {
    ReplyElement(context_, element, request_.with_scores);
  }
}

void Combination::Run() {
  if (!OpenOr() || !ParseOptionsOr()) return;
  if (request_.operation != Operation::kDifference) {
    // The smallest first, as Redis adds scores up: the order shows in sums of infinities.
    std::stable_sort(sources_.begin(), sources_.end(), [](const Source& a, const Source& b) {
      return a.input->count() < b.input->count();
    });
  }
  bool complete = false;
  switch (request_.operation) {
    case Operation::kUnion:
      complete = Unite();
      break;
    case Operation::kIntersection:
      complete = Intersect();
      break;
    case Operation::kDifference:
      complete = Subtract();
      break;
  }
  if (complete) Reply();
}

void Combine(CommandContext& context, Operation operation) {
  Combination(context, {.operation = operation}).Run();
}
void CombineAndStore(CommandContext& context, Operation operation) {
  Combination(context, {.operation = operation, .count_at = 2, .store = true}).Run();
}

}  // namespace

void ZUnionCommand(CommandContext& context) { Combine(context, Operation::kUnion); }
void ZInterCommand(CommandContext& context) { Combine(context, Operation::kIntersection); }
void ZDiffCommand(CommandContext& context) { Combine(context, Operation::kDifference); }
void ZUnionStoreCommand(CommandContext& context) { CombineAndStore(context, Operation::kUnion); }
void ZInterStoreCommand(CommandContext& context) {
  CombineAndStore(context, Operation::kIntersection);
}
void ZDiffStoreCommand(CommandContext& context) {
  CombineAndStore(context, Operation::kDifference);
}
void ZInterCardCommand(CommandContext& context) {
  Combination(context, {.operation = Operation::kIntersection, .count_only = true}).Run();
}

}  // namespace firn::server
