// Unions, intersections and differences of sorted sets and sets.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "server/client.h"
#include "server/commands/zset_combination.h"
#include "server/commands/zset_common.h"
#include "server/commands/zset_slices.h"
#include "server/commands/zsets.h"

namespace firn::server {
namespace {

using Lookup = ZsetInput::Lookup;
using Operation = ZsetOperation;

// What one more look-up that misses its page is worth: then the pages are fetched first.
constexpr int kMaxMissing = 4096;
// What an element takes in a reply besides its bytes, at most.
constexpr uint64_t kElementOverhead = 48;

// One key, for the command that runs.
class Input {
 public:
  Input(CommandContext& context, const HashedKey& key) {
    const ValueType type = LookupForRead(context, key).type;
    wrong_type_ = type != ValueType::kNone && type != ValueType::kZset && type != ValueType::kSet;
    if (type != ValueType::kZset && type != ValueType::kSet) return;
    pages_.emplace(context.db(), key, type,
                   Collection::Options{.touch = !context.client.no_touch(), .count_hit = false});
    input_.Open(&*pages_, type, pages_->secret());
  }

  bool wrong_type() const { return wrong_type_; }
  ZsetInput& input() { return input_; }

 private:
  bool wrong_type_ = false;
  std::optional<Collection> pages_;
  ZsetInput input_;
};

constexpr std::string_view kEvents[] = {"zunionstore", "zinterstore", "zdiffstore"};

struct CombineRequest {
  Operation operation = Operation::kUnion;
  size_t count_at = 1;  // the place of numkeys
  bool store = false;
  bool count_only = false;  // ZINTERCARD
  // The command in one go, however large; null: this is it.
  void (*whole)(CommandContext& context) = nullptr;

  std::vector<double> weights = {};
  ZsetAggregate aggregate = ZsetAggregate::kSum;
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
  // All three: false if pages are missing.
  bool Unite();
  bool Intersect();
  bool Subtract();
  void Take(const ZsetElement& element) { result_.push_back(element); }
  bool CheckSizeOr();
  void Reply();
  bool IsWorthSlices();
  void CombineInSlices();

  CommandContext& context_;
  CombineRequest request_;
  std::vector<std::unique_ptr<Input>> inputs_;
  std::vector<ZsetSource> sources_;
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
  std::unordered_map<std::string_view, ZsetInput*> by_key;
  for (const KeyAccess& access : context_.keys.subspan(request_.store ? 1 : 0)) {
    ZsetInput*& input = by_key[access.key.bytes];
    if (input == nullptr) {
      inputs_.push_back(std::make_unique<Input>(context_, access.key));
      if (inputs_.back()->wrong_type()) {
        context_.reply.Error(kWrongTypeError);
        return false;
      }
      input = &inputs_.back()->input();
    }
    sources_.push_back({.input = input});
  }
  return true;
}

bool Combination::ParseWeightsOr(size_t* at) {
  for (ZsetSource& source : sources_) {
    if (!ParseScoreOr(context_, context_.args[++*at], &source.weight,
                      "ERR weight value is not a float")) {
      return false;
    }
  }
  return true;
}

bool Combination::ParseAggregateOr(std::string_view text) {
  if (EqualsIgnoreCase(text, "sum")) {
    request_.aggregate = ZsetAggregate::kSum;
  } else if (EqualsIgnoreCase(text, "min")) {
    request_.aggregate = ZsetAggregate::kMin;
  } else if (EqualsIgnoreCase(text, "max")) {
    request_.aggregate = ZsetAggregate::kMax;
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

bool Combination::Unite() {
  bool all = true;
  uint64_t most = 0;
  for (const auto& input : inputs_) {
    all &= input->input().WantAll();
    most = std::max(most, input->input().count());
  }
  if (!all) return false;
  std::unordered_map<std::string_view, size_t> places;
  places.reserve(most);
  for (const ZsetSource& source : sources_) {
    source.input->ForEach([&](const ZsetElement& element) {
      const double score = WeightedScore(source.weight, element.score);
      auto [place, is_new] = places.try_emplace(element.member, result_.size());
      if (is_new) return Take({element.member, score});
      double& joined = result_[place->second].score;
      joined = JoinScores(request_.aggregate, joined, score);
    });
  }
  return true;
}

bool Combination::Intersect() {
  if (sources_[0].input->count() == 0) return true;
  if (!sources_[0].input->WantAll()) return false;
  int missing = 0;
  sources_[0].input->ForEach([&](const ZsetElement& element) {
    if (result_.size() >= request_.limit || missing > kMaxMissing) return;
    double score;
    const Lookup lookup = FindInOthers(sources_, request_.aggregate, element, &score);
    if (lookup == Lookup::kPresent) Take({element.member, score});
    if (lookup == Lookup::kMissing) ++missing;
  });
  return missing == 0;
}

bool Combination::Subtract() {
  ZsetInput& first = *sources_[0].input;
  const bool itself = std::any_of(sources_.begin() + 1, sources_.end(),
                                  [&](const ZsetSource& source) { return source.input == &first; });
  if (itself) return true;
  if (!first.WantAll()) return false;
  int missing = 0;
  first.ForEach([&](const ZsetElement& element) {
    if (missing > kMaxMissing) return;
    const Lookup lookup = FindInAnyOther(sources_, element);
    if (lookup == Lookup::kAbsent) Take(element);
    missing += lookup == Lookup::kMissing ? 1 : 0;
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

bool Combination::IsWorthSlices() {
  if (request_.whole == nullptr || RunsAtomically(context_)) return false;
  uint64_t total = 0;
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (const auto& input : inputs_) {
    total += input->input().count();
    least = std::min(least, input->input().count());
  }
  const uint64_t first = sources_[0].input->count();
  switch (request_.operation) {
    case Operation::kUnion:
      return total >= kManyZsetElements;
    case Operation::kIntersection:
      return least * sources_.size() >= kManyZsetElements;
    case Operation::kDifference:
      return first * sources_.size() >= kManyZsetElements;
  }
  return false;
}

void Combination::CombineInSlices() {
  using Use = ZsetCombination::Use;
  ZsetCombination combination{.operation = request_.operation,
                              .aggregate = request_.aggregate,
                              .use = request_.store        ? Use::kStore
                                     : request_.count_only ? Use::kCount
                                                           : Use::kReply,
                              .event = kEvents[static_cast<size_t>(request_.operation)],
                              .with_scores = request_.with_scores,
                              .limit = request_.limit,
                              .whole = request_.whole};
  for (const ZsetSource& source : sources_) combination.weights.push_back(source.weight);
  inputs_.clear();
  CombineZsetsInSlices(context_, std::move(combination));
}

void Combination::Run() {
  if (!OpenOr() || !ParseOptionsOr()) return;
  if (IsWorthSlices()) return CombineInSlices();
  if (request_.operation != Operation::kDifference) {
    // The smallest first, as Redis adds scores up: the order shows in sums of infinities.
    std::stable_sort(sources_.begin(), sources_.end(),
                     [](const ZsetSource& a, const ZsetSource& b) {
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

template <Operation kOperation, bool kStore = false, bool kCountOnly = false>
CombineRequest Request() {
  return {.operation = kOperation,
          .count_at = kStore ? 2 : 1,
          .store = kStore,
          .count_only = kCountOnly};
}

template <Operation kOperation, bool kStore = false, bool kCountOnly = false>
void Combine(CommandContext& context) {
  CombineRequest request = Request<kOperation, kStore, kCountOnly>();
  request.whole = [](CommandContext& context) {
    Combination(context, Request<kOperation, kStore, kCountOnly>()).Run();
  };
  Combination(context, std::move(request)).Run();
}

}  // namespace

void ZUnionCommand(CommandContext& context) { Combine<Operation::kUnion>(context); }
void ZInterCommand(CommandContext& context) { Combine<Operation::kIntersection>(context); }
void ZDiffCommand(CommandContext& context) { Combine<Operation::kDifference>(context); }
void ZUnionStoreCommand(CommandContext& context) { Combine<Operation::kUnion, true>(context); }
void ZInterStoreCommand(CommandContext& context) {
  Combine<Operation::kIntersection, true>(context);
}
void ZDiffStoreCommand(CommandContext& context) { Combine<Operation::kDifference, true>(context); }
void ZInterCardCommand(CommandContext& context) {
  Combine<Operation::kIntersection, false, true>(context);
}

}  // namespace firn::server
