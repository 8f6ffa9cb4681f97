#include "server/commands/zset_slices.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "engine/base/byte_blocks.h"
#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/sliced_command.h"
#include "server/commands/zset_common.h"
#include "server/server.h"
#include "tiering/detached_value.h"
#include "tiering/frozen_rows.h"
#include "tiering/frozen_value.h"

namespace firn::server {
namespace {

using Lookup = ZsetInput::Lookup;

// A slice: a millisecond.
constexpr size_t kLookupsAtOnce = 2048;
// Pages that are missing are fetched together for so many.
constexpr size_t kLookupsInBatch = 64;
// Elements that are looked up in others are sorted so many at a time.
constexpr size_t kMostSorted = 256 << 10;
// A slice of a reply.
constexpr size_t kRepliedAtOnce = 4096;
constexpr uint64_t kBytesAtOnce = 256 << 10;
// What an element of the result takes in RAM besides its bytes, about.
constexpr uint64_t kElementOverhead = 48;

// One key, as it was when the attempt began.
struct Operand {
  const KeyAccess* access = nullptr;
  ValueType type = ValueType::kNone;
  std::unique_ptr<FrozenValue> frozen;  // null: there is no such key
  ZsetInput input;
  std::vector<RankRange> ranges;  // what is copied of it
  size_t next_range = 0;
  std::optional<FrozenRows> rows;
};

struct Element {
  uint64_t hash = 0;
  std::string_view member;
  double score = 0;
  uint32_t operand = 0;
};

class ZsetSlices final : public SlicedCommand {
 public:
  explicit ZsetSlices(ZsetCombination request) : request_(std::move(request)) {}

  // REQUIRES: all keys are planned.
  void Begin(CommandContext& context);

 protected:
  void Step(CommandContext& context) override;

 private:
  using Use = ZsetCombination::Use;
  enum class Stage : uint8_t { kCopy, kLookUp, kWrite, kReply };

  bool Stores() const { return request_.use == Use::kStore; }
  std::span<const KeyAccess> Sources(CommandContext& context) const {
    if (request_.places) return context.keys.subspan(request_.places->source, 1);
    return context.keys.subspan(Stores() ? 1 : 0);
  }
  const HashedKey& Target(CommandContext& context) const {
    return context.key(request_.places ? request_.places->target : 0);
  }

  std::shared_ptr<ZsetSlices> Self() {
    return std::static_pointer_cast<ZsetSlices>(shared_from_this());
  }
  bool OpenOr(CommandContext& context);
  Operand* OperandOf(CommandContext& context, const KeyAccess& access);
  bool ChooseRowsOr(CommandContext& context);
  bool JoinsAll() const { return request_.operation == ZsetOperation::kUnion; }
  bool TakesItselfAway() const;
  bool IsWithinMemory(uint64_t elements, uint64_t bytes) const {
    return bytes + elements * kElementOverhead <= max_bytes_;
  }

  // --- slices
  void Copy(CommandContext& context);
  bool FindRows();
  void LookUp(CommandContext& context);
  bool LookUpBatch(size_t end);
  void BuildNext(CommandContext& context);
  // No input is read from now on.
  void LetGo();

  // --- on another thread
  void SortByHash();
  std::vector<ZsetElement> Join();
  double JoinedScore(std::span<const Element> same) const;
  void Build(const std::atomic<bool>* stop);
  void Sort(std::vector<ZsetElement> joined);

  // --- the end
  void ReplyCount(CommandContext& context);
  void ReplyPiece(CommandContext& context);
  bool IsInVain(CommandContext& context);
  bool IsAsItWas(CommandContext& context, const Operand& operand);
  void Restart(CommandContext& context) override;
  void Install(CommandContext& context);
  void Reset();

  const ZsetCombination request_;
  Stage stage_ = Stage::kCopy;
  HashSecret secret_;
  ZsetLimits limits_;
  uint64_t max_bytes_ = 0;
  std::deque<Operand> operands_;  // each key once
  std::vector<ZsetSource> sources_;
  std::vector<uint32_t> operand_of_;  // of each source
  uint32_t copied_operand_ = 0;
  uint32_t end_operand_ = 0;
  // What has been copied.
  std::vector<Element> elements_;
  ByteBlocks bytes_;
  uint64_t copied_bytes_ = 0;  // of the present operand
  uint64_t all_bytes_ = 0;
  size_t looked_up_ = 0;  // of elements_
  bool fetches_ = false;  // what the next of them need
  // What an intersection or difference has found.
  std::deque<ZsetElement> found_;
  ByteBlocks found_bytes_;
  uint64_t found_size_ = 0;
  uint64_t found_count_ = 0;
  // What is answered.
  std::vector<ZsetElement> sorted_;
  size_t replied_ = 0;
  std::optional<DetachedValue> result_;
  uint64_t result_count_ = 0;
  bool too_large_ = false;
};

// --- beginning

void ZsetSlices::Reset() {
  result_.reset();
  operands_.clear();
  sources_.clear();
  operand_of_.clear();
  elements_.clear();
  found_.clear();
  bytes_.Clear();
  found_bytes_.Clear();
  copied_bytes_ = all_bytes_ = found_size_ = found_count_ = result_count_ = 0;
  copied_operand_ = 0;
  looked_up_ = 0;
  fetches_ = false;
  stage_ = Stage::kCopy;
}

Operand* ZsetSlices::OperandOf(CommandContext& context, const KeyAccess& access) {
  for (Operand& operand : operands_) {
    if (operand.access->key.bytes == access.key.bytes) return &operand;
  }
  Operand& operand = operands_.emplace_back();
  operand.access = &access;
  operand.type = LookupForWrite(context, access.key).type;
  if (operand.type == ValueType::kNone) return &operand;
  if (operand.type != ValueType::kZset && operand.type != ValueType::kSet) return nullptr;
  {
    Collection pages(context.db(), access.key, operand.type, {.touch = false, .count_hit = false});
    secret_ = pages.secret();
  }
  operand.frozen = std::make_unique<FrozenValue>(context.db(), access.key);
  operand.input.Open(operand.frozen.get(), operand.type, secret_);
  return &operand;
}

bool ZsetSlices::OpenOr(CommandContext& context) {
  const auto keys = Sources(context);
  for (size_t i = 0; i < keys.size(); ++i) {
    Operand* operand = OperandOf(context, keys[i]);
    if (operand == nullptr) {
      context.reply.Error(kWrongTypeError);
      return false;
    }
    const double weight = request_.weights.empty() ? 1 : request_.weights[i];
    sources_.push_back({.input = &operand->input, .weight = weight});
  }
  if (request_.operation != ZsetOperation::kDifference) {
    // As in one go: the order shows in sums of infinities.
    std::stable_sort(sources_.begin(), sources_.end(),
                     [](const ZsetSource& a, const ZsetSource& b) {
                       return a.input->count() < b.input->count();
                     });
  }
  for (const ZsetSource& source : sources_) {
    const auto at = std::ranges::find_if(
        operands_, [&](const Operand& operand) { return &operand.input == source.input; });
    operand_of_.push_back(static_cast<uint32_t>(at - operands_.begin()));
  }
  return true;
}

bool ZsetSlices::TakesItselfAway() const {
  return request_.operation == ZsetOperation::kDifference &&
         std::ranges::count(operand_of_, operand_of_[0]) > 1;
}

// Which rows of which operands are copied. False: an error was answered, or pages are missing.
bool ZsetSlices::ChooseRowsOr(CommandContext& context) {
  copied_operand_ = JoinsAll() ? 0 : operand_of_[0];
  end_operand_ = JoinsAll() ? static_cast<uint32_t>(operands_.size()) : copied_operand_ + 1;
  if (TakesItselfAway()) end_operand_ = copied_operand_;
  uint64_t total = 0;
  for (uint32_t i = copied_operand_; i < end_operand_; ++i) {
    Operand& operand = operands_[i];
    operand.ranges = {{.first = 0, .end = operand.input.count()}};
    if (operand.frozen != nullptr && request_.ranks) {
      ZsetValue value(operand.frozen.get(), secret_);
      if (operand.type != ValueType::kZset) {
        context.reply.Error(kWrongTypeError);
        return false;
      }
      operand.ranges.clear();
      if (!request_.ranks(context, value, &operand.ranges)) return false;
    }
    uint64_t rows = 0;
    for (const RankRange& range : operand.ranges) rows += range.size();
    total += rows;
    if (JoinsAll() && !(IsWithinMemory(rows, 0) && IsWithinMemory(total / 2, 0))) {
      context.reply.Error(kOutOfMemoryError);
      return false;
    }
  }
  elements_.reserve(JoinsAll() ? total : std::min<uint64_t>(total, kMostSorted));
  return true;
}

void ZsetSlices::Begin(CommandContext& context) {
  Reset();
  const Attempt attempt = BeginAttempt(context, AnyOf(Sources(context)));
  if (attempt == Attempt::kLater) return;
  if (attempt == Attempt::kNone) return request_.whole(context);
  limits_ = ZsetLimitsOf(context);
  max_bytes_ = MaxReplyBytes(context);
  if (!OpenOr(context) || !ChooseRowsOr(context)) return;
  if (Stores()) result_.emplace(context.db());
  AwaitTurn(context);
}

// --- slices

void ZsetSlices::Step(CommandContext& context) {
  if (stage_ != Stage::kReply && IsInVain(context)) return Restart(context);
  if (too_large_) return context.reply.Error(kOutOfMemoryError);
  switch (stage_) {
    case Stage::kCopy:
      return Copy(context);
    case Stage::kLookUp:
      return LookUp(context);
    case Stage::kWrite:
      if (!WriteOr(context, &*result_)) return;
      // The keys again, as they are when all is done.
      return RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                         [self = Self()](CommandContext& context) { self->Install(context); });
    case Stage::kReply:
      return ReplyPiece(context);
  }
}

// Whether there are more rows to copy: those of the present operand.
bool ZsetSlices::FindRows() {
  for (; copied_operand_ < end_operand_; ++copied_operand_, copied_bytes_ = 0) {
    Operand& operand = operands_[copied_operand_];
    while (!operand.rows || operand.rows->ended()) {
      if (operand.next_range == operand.ranges.size()) break;
      const RankRange range = operand.ranges[operand.next_range++];
      operand.rows.reset();
      if (!range.empty()) operand.rows.emplace(operand.frozen.get(), range.first, range.size());
    }
    if (operand.rows && !operand.rows->ended()) return true;
  }
  return false;
}

void ZsetSlices::Copy(CommandContext& context) {
  const bool full = !JoinsAll() && elements_.size() + kLookupsAtOnce > kMostSorted;
  if (full || !FindRows()) return BuildNext(context);
  Operand& operand = operands_[copied_operand_];
  const bool is_set = operand.type == ValueType::kSet;
  const bool resident = operand.rows->Read([&](const PackedRow& row) {
    elements_.push_back({.hash = 0,
                         .member = bytes_.Copy(row.bytes),
                         .score = is_set ? 1 : row.score,
                         .operand = copied_operand_});
    copied_bytes_ += row.bytes.size();
    all_bytes_ += row.bytes.size();
  });
  if (!resident) return;
  // A union has no less than each of its sources, and they are in RAM together.
  if (JoinsAll() && (!IsWithinMemory(0, copied_bytes_) ||
                     !IsWithinMemory(elements_.size() / 2, all_bytes_ / 2))) {
    return context.reply.Error(kOutOfMemoryError);
  }
  AwaitTurn(context);
}

void ZsetSlices::LetGo() {
  EndAttempt();
  for (Operand& operand : operands_) {
    operand.rows.reset();
    operand.frozen.reset();
  }
}

// What was copied goes to another thread, to be sorted for looking it up, or for the result.
void ZsetSlices::BuildNext(CommandContext& context) {
  if (!JoinsAll() && !elements_.empty() && sources_.size() > 1) {
    stage_ = Stage::kLookUp;
    looked_up_ = 0;
    return Compute(context, [this](const std::atomic<bool>*) { SortByHash(); });
  }
  if (!JoinsAll() && !elements_.empty()) {
    stage_ = Stage::kLookUp;
    return AwaitTurn(context);
  }
  if (request_.use == Use::kCount) return ReplyCount(context);
  stage_ = Stores() ? Stage::kWrite : Stage::kReply;
  // What is answered is what it was, whatever comes now.
  if (!Stores()) LetGo();
  Compute(context, [this](const std::atomic<bool>* stop) { Build(stop); });
}

void ZsetSlices::LookUp(CommandContext& context) {
  for (size_t i = 0; i < kLookupsAtOnce && looked_up_ < elements_.size(); i += kLookupsInBatch) {
    if (!LookUpBatch(std::min(looked_up_ + kLookupsInBatch, elements_.size()))) {
      fetches_ = true;
      return;
    }
    // What was fetched may go before more is.
    if (std::exchange(fetches_, false)) break;
  }
  if (found_count_ >= request_.limit) return ReplyCount(context);
  if (!IsWithinMemory(found_.size(), found_size_)) return context.reply.Error(kOutOfMemoryError);
  if (looked_up_ == elements_.size()) {
    elements_.clear();
    bytes_.Clear();
    looked_up_ = 0;
    stage_ = Stage::kCopy;
  }
  AwaitTurn(context);
}

// False: pages are missing; those of the whole batch are wanted then, and nothing is found yet.
bool ZsetSlices::LookUpBatch(size_t end) {
  const bool intersects = request_.operation == ZsetOperation::kIntersection;
  std::vector<ZsetElement> found;
  bool resident = true;
  for (size_t i = looked_up_; i < end; ++i) {
    ZsetElement element{elements_[i].member, elements_[i].score};
    double score = element.score;
    const Lookup lookup = intersects ? FindInOthers(sources_, request_.aggregate, element, &score)
                                     : FindInAnyOther(sources_, element);
    resident &= lookup != Lookup::kMissing;
    if (lookup == (intersects ? Lookup::kPresent : Lookup::kAbsent)) {
      found.push_back({element.member, score});
    }
  }
  if (!resident) return false;
  found_count_ += found.size();
  if (request_.use == Use::kCount) found.clear();
  for (const ZsetElement& element : found) {
    found_.push_back({found_bytes_.Copy(element.member), element.score});
    found_size_ += element.member.size();
  }
  looked_up_ = end;
  return true;
}

// --- on another thread

void ZsetSlices::SortByHash() {
  for (Element& element : elements_) element.hash = SipHash13(secret_, element.member);
  std::sort(elements_.begin(), elements_.end(), [](const Element& a, const Element& b) {
    return a.hash != b.hash ? a.hash < b.hash : a.member < b.member;
  });
}

// Of one member in all operands that have it.
double ZsetSlices::JoinedScore(std::span<const Element> same) const {
  std::optional<double> joined;
  for (size_t i = 0; i < sources_.size(); ++i) {
    for (const Element& element : same) {
      if (element.operand != operand_of_[i]) continue;
      const double score = WeightedScore(sources_[i].weight, element.score);
      joined = joined ? JoinScores(request_.aggregate, *joined, score) : score;
    }
  }
  return *joined;
}

std::vector<ZsetElement> ZsetSlices::Join() {
  if (!JoinsAll()) return {found_.begin(), found_.end()};
  if (operands_.size() > 1) SortByHash();
  std::vector<ZsetElement> joined;
  joined.reserve(elements_.size());
  uint64_t bytes = 0;
  for (size_t i = 0; i < elements_.size();) {
    size_t end = i + 1;
    while (operands_.size() > 1 && end < elements_.size() &&
           elements_[end].hash == elements_[i].hash &&
           elements_[end].member == elements_[i].member) {
      ++end;
    }
    joined.push_back({elements_[i].member, JoinedScore(std::span(elements_).subspan(i, end - i))});
    bytes += elements_[i].member.size();
    i = end;
  }
  too_large_ = !IsWithinMemory(joined.size(), bytes);
  return joined;
}

void ZsetSlices::Build(const std::atomic<bool>* stop) {
  std::vector<ZsetElement> joined = Join();
  std::exchange(elements_, {});
  if (request_.choose && !too_large_) request_.choose(&joined);
  result_count_ = joined.size();
  if (too_large_ || joined.empty() || stop->load()) return;
  if (!Stores()) return Sort(std::move(joined));
  ZsetValue(&result_->pages(), secret_).Build(joined, limits_);
  bytes_.Clear();
  found_bytes_.Clear();
  std::exchange(found_, {});
}

void ZsetSlices::Sort(std::vector<ZsetElement> joined) {
  if (!request_.choose) {
    std::sort(joined.begin(), joined.end(), [](const ZsetElement& a, const ZsetElement& b) {
      return a.score != b.score ? a.score < b.score : a.member < b.member;
    });
  }
  sorted_ = std::move(joined);
}

// --- the end

void ZsetSlices::ReplyCount(CommandContext& context) {
  LetGo();
  context.reply.Integer(static_cast<int64_t>(std::min(found_count_, request_.limit)));
}

void ZsetSlices::ReplyPiece(CommandContext& context) {
  if (replied_ == 0) {
    request_.reply ? context.reply.ArrayHeader(static_cast<int64_t>(sorted_.size()))
                   : ReplyElementsHeader(context, sorted_.size(), request_.with_scores);
    context.client.set_reply_open(true);
  }
  const size_t end = std::min(replied_ + kRepliedAtOnce, sorted_.size());
  for (uint64_t bytes = 0; replied_ < end && bytes < kBytesAtOnce; ++replied_) {
    bytes += sorted_[replied_].member.size();
    request_.reply ? request_.reply(context, replied_)
                   : ReplyElement(context, sorted_[replied_], request_.with_scores);
  }
  if (replied_ < sorted_.size()) return AwaitSent(context);
  context.client.set_reply_open(false);
}

// A reply needn't be that of the moment in which it ends.
bool ZsetSlices::IsInVain(CommandContext& context) {
  if (Stores() && !context.db().HasBuilt(result_->build())) return true;
  return std::ranges::any_of(operands_, [&](const Operand& operand) {
    return operand.frozen != nullptr &&
           (operand.frozen->lost() || (Stores() && operand.frozen->changed()));
  });
}

// REQUIRES: planned.
bool ZsetSlices::IsAsItWas(CommandContext& context, const Operand& operand) {
  const ValueType type = operand.frozen == nullptr ? ValueType::kZset : operand.type;
  Collection now(context.db(), operand.access->key, type, {.touch = false, .count_hit = false});
  if (operand.frozen == nullptr) return !now.exists() && !now.wrong_type();
  return now.exists() && now.Root() == operand.frozen->Root();
}

void ZsetSlices::Restart(CommandContext& context) {
  Reset();
  RunWithKeys(context, {context.keys.begin(), context.keys.end()},
              [self = Self()](CommandContext& context) { self->Begin(context); });
}

void ZsetSlices::Install(CommandContext& context) {
  const bool in_vain =
      IsInVain(context) || !std::ranges::all_of(operands_, [&](const Operand& operand) {
        return IsAsItWas(context, operand);
      });
  if (in_vain) return Restart(context);
  const HashedKey& key = Target(context);
  operands_.clear();
  if (!result_->pages().exists()) return StoreZset(context, key, {}, request_.event);
  // Its expiry passes away with it, and may be told.
  LookupForWrite(context, key);
  context.store.BeginGroup();
  result_->Install(context.db(), key, ValueType::kZset);
  context.store.EndGroup();
  NoteZsetChange(context, key, request_.event, false);
  SignalReady(context, key);
  context.reply.Integer(static_cast<int64_t>(result_count_));
}

}  // namespace

void CombineZsetsInSlices(CommandContext& context, ZsetCombination request) {
  if (!context.LeavePlace()) return;
  std::make_shared<ZsetSlices>(std::move(request))->Begin(context);
}

}  // namespace firn::server
