#include "server/commands/set_merge.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "engine/types/counted_tree.h"
#include "server/commands/set_common.h"

namespace firn::server {
namespace {

// What takes fewer look-ups is done at once.
constexpr uint64_t kManyLookups = 20'000;
// A slice: a millisecond.
constexpr uint64_t kLookupsAtOnce = 4096;
// Pages that a slice may fetch, about.
constexpr uint64_t kPagesAtOnce = 64;
// Each member is compared with the next of every operand.
constexpr size_t kMostOperands = 64;

}  // namespace

// The members of one operand in the order of their hashes, leaf by leaf.
class SetMerge::Members {
 public:
  Members(PageSpace* space, HashSecret secret) : tree_(space), secret_(secret) {}

  bool IsLoaded() const { return ended_ || at_ < members_.size(); }
  // Makes sure of `head` if there are members left. False: pages are missing; so many leaves are
  // wanted then.
  bool Load(uint64_t leaves_ahead) {
    if (IsLoaded()) return true;
    ended_ = next_rank_ == tree_.count();
    if (ended_) return true;
    // From the root, as the way to the last leaf may have left RAM meanwhile.
    CountedTree::Leaf leaf;
    if (!tree_.FindRank(next_rank_, &leaf)) {
      const uint64_t rows = std::max<uint64_t>(1, members_.size());
      tree_.WantRanks(next_rank_, next_rank_ + rows * leaves_ahead);
      return false;
    }
    TakeLeaf(leaf);
    return true;
  }
  bool ended() const { return ended_; }
  // Valid until the next leaf is loaded. REQUIRES: loaded, not ended.
  const SetMember& head() const { return members_[at_]; }
  std::span<const SetMember> rest_of_leaf() const { return std::span(members_).subspan(at_); }
  void Advance() { ++at_; }

 private:
  void TakeLeaf(const CountedTree::Leaf& leaf) {
    bytes_ = tree_.Page(leaf).bytes();
    members_.clear();
    at_ = 0;
    for (PackedPage::Cursor cursor(PackedPage(bytes_), 0); cursor.valid(); cursor.Next()) {
      const std::string_view bytes = cursor.row().bytes;
      members_.push_back({SipHash13(secret_, bytes), bytes});
    }
    next_rank_ += members_.size();
    std::sort(members_.begin(), members_.end());
  }

  CountedTree tree_;
  const HashSecret secret_;
  std::string bytes_;  // of the leaf
  std::vector<SetMember> members_;
  size_t at_ = 0;
  uint64_t next_rank_ = 0;  // of the leaf behind this one
  bool ended_ = false;
};

SetMerge::Operand::Operand() = default;
SetMerge::Operand::Operand(Operand&&) noexcept = default;
SetMerge::Operand::~Operand() = default;

bool SetMerge::IsWorthSlices(const CommandContext& context, SetOperation operation,
                             std::span<const uint64_t> counts) {
  if (RunsAtomically(context) || counts.size() > kMostOperands) return false;
  uint64_t lookups = 0;
  switch (operation) {
    case SetOperation::kIntersect:
      lookups = *std::ranges::min_element(counts) * counts.size();
      break;
    case SetOperation::kUnite:
      for (uint64_t count : counts) lookups += count;
      break;
    case SetOperation::kSubtract:
      lookups = counts[0] * counts.size();
      break;
  }
  return lookups >= kManyLookups;
}

bool SetMerge::BeginOr(CommandContext& context, std::span<const KeyAccess> keys) {
  Clear();
  lookups_left_ = 0;
  for (const KeyAccess& access : keys) {
    const bool known = std::ranges::any_of(operands_, [&](const Operand& operand) {
      return operand.access->key.bytes == access.key.bytes;
    });
    if (known) continue;
    Operand& operand = operands_.emplace_back();
    operand.access = &access;
    OpenSet set(context, access.key, OpenSet::Use::kWrite);
    if (!set.CheckType(context)) return false;
    secret_ = set.secret();
    if (set.exists()) operand.frozen = std::make_unique<FrozenValue>(context.db(), access.key);
  }
  for (Operand& operand : operands_) {
    if (operand.frozen == nullptr) continue;
    operand.value = std::make_unique<SetValue>(operand.frozen.get(), secret_);
    operand.members = std::make_unique<Members>(operand.frozen.get(), secret_);
  }
  driver_ = ChooseDriver();
  return true;
}

// A union goes over all of them at once.
size_t SetMerge::ChooseDriver() const {
  if (operation_ != SetOperation::kIntersect) return 0;
  auto count = [](const Operand& operand) {
    return operand.value == nullptr ? 0 : operand.value->count();
  };
  const auto smallest = std::ranges::min_element(operands_, {}, count);
  return static_cast<size_t>(smallest - operands_.begin());
}

bool SetMerge::Advance(const Taker& take, bool* ended) {
  *ended = false;
  if (lookups_left_ == 0) {
    lookups_left_ = kLookupsAtOnce / operands_.size();
    leaves_left_ = kPagesAtOnce;
  }
  const bool resident =
      operation_ == SetOperation::kUnite ? Unite(take, ended) : Probe(take, ended);
  if (resident) lookups_left_ = 0;
  return resident;
}

bool SetMerge::Unite(const Taker& take, bool* ended) {
  const uint64_t ahead = std::max<uint64_t>(1, kPagesAtOnce / 2 / operands_.size());
  for (; lookups_left_ > 0; --lookups_left_) {
    const SetMember* least = nullptr;
    for (Operand& operand : operands_) {
      if (operand.members == nullptr) continue;
      if (!operand.members->IsLoaded()) {
        // The next slice begins with it.
        if (leaves_left_ == 0) return true;
        if (!operand.members->Load(ahead)) return false;
        --leaves_left_;
      }
      if (operand.members->ended()) continue;
      const SetMember& head = operand.members->head();
      if (least == nullptr || head < *least) least = &head;
    }
    *ended = least == nullptr;
    if (*ended) return true;
    const SetMember member = *least;
    // The view stays good: nothing is loaded before the next round.
    take(member);
    for (Operand& operand : operands_) {
      if (operand.members == nullptr || operand.members->ended()) continue;
      if (operand.members->head() == member) operand.members->Advance();
    }
  }
  return true;
}

bool SetMerge::Probe(const Taker& take, bool* ended) {
  *ended = operands_[driver_].members == nullptr;
  if (*ended) return true;
  Members& members = *operands_[driver_].members;
  for (; lookups_left_ > 0; --lookups_left_) {
    if (!members.IsLoaded()) {
      if (leaves_left_ == 0) return true;
      if (!members.Load(kPagesAtOnce / 2)) return false;
      --leaves_left_;
    }
    *ended = members.ended();
    if (*ended) return true;
    bool wanted = true;
    if (!IsWanted(members.head().bytes, &wanted)) {
      WantOthers(members.rest_of_leaf());
      return false;
    }
    if (wanted) take(members.head());
    members.Advance();
  }
  return true;
}

bool SetMerge::IsWanted(std::string_view member, bool* wanted) {
  const bool present = operation_ == SetOperation::kIntersect;
  for (size_t i = 0; i < operands_.size() && *wanted; ++i) {
    if (i == driver_) continue;
    SetValue::Place place;
    if (operands_[i].value != nullptr && !operands_[i].value->Find(member, &place)) return false;
    *wanted = place.found == present;
  }
  return true;
}

// What some more look-ups need is fetched along with what the first does; the slice ends with
// them.
void SetMerge::WantOthers(std::span<const SetMember> members) {
  const uint64_t lookups = std::max<uint64_t>(1, kPagesAtOnce / operands_.size());
  lookups_left_ = std::min<uint64_t>({lookups_left_, lookups, members.size()});
  for (const SetMember& member : members.first(lookups_left_)) {
    bool wanted = true;
    (void)IsWanted(member.bytes, &wanted);
  }
}

bool SetMerge::lost() const {
  return std::ranges::any_of(operands_, [](const Operand& operand) {
    return operand.frozen != nullptr && operand.frozen->lost();
  });
}

bool SetMerge::changed() const {
  return std::ranges::any_of(operands_, [](const Operand& operand) {
    return operand.frozen != nullptr && operand.frozen->changed();
  });
}

bool SetMerge::IsAsItWas(CommandContext& context) const {
  return std::ranges::all_of(operands_, [&](const Operand& operand) {
    Collection now(context.db(), operand.access->key, ValueType::kSet,
                   {.touch = false, .count_hit = false});
    if (operand.frozen == nullptr) return !now.exists() && !now.wrong_type();
    return now.exists() && now.Root() == operand.frozen->Root();
  });
}

}  // namespace firn::server
