#include "server/commands/sort_slices.h"

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "engine/base/byte_blocks.h"
#include "engine/types/list_value.h"
#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/sliced_command.h"
#include "server/commands/sort.h"
#include "server/server.h"
#include "server/value_limits.h"
#include "tiering/collection.h"
#include "tiering/frozen_rows.h"
#include "tiering/frozen_value.h"

namespace firn::server {
namespace {

// What an element takes in a reply besides its bytes, at most.
constexpr uint64_t kElementOverhead = 16;
// A slice of a reply.
constexpr size_t kElementsAtOnce = 4096;
constexpr uint64_t kBytesAtOnce = 256 << 10;
// A slice of what patterns name.
constexpr size_t kValuesAtOnce = 1024;
constexpr Collection::Options kUnseen = {.touch = false, .count_hit = false};

class SortSlices final : public SlicedCommand {
 public:
  explicit SortSlices(SlicedSort sort) : sort_(std::move(sort)) {}

  // REQUIRES: the source and the target are planned.
  void Begin(CommandContext& context);

 protected:
  void Step(CommandContext& context) override;

 private:
  using Got = SortValueReader::Got;
  enum class Stage : uint8_t { kCopy, kWeigh, kGet, kReply, kWrite };
  struct Item {
    union {
      double weight = 0;
      size_t text;  // its number in texts_, if those are sorted by
    };
    std::string_view element;
  };
  // A value that is there has data, even if it is empty.
  using Value = std::string_view;
  Value Keep(std::string_view bytes) {
    copied_bytes_ += bytes.size();
    return bytes.empty() ? Value("") : bytes_.Copy(bytes);
  }

  std::shared_ptr<SortSlices> Self() {
    return std::static_pointer_cast<SortSlices>(shared_from_this());
  }
  std::vector<KeyAccess> Keys(CommandContext& context) const;
  bool NamesKeys() const;
  KeyHold::Covers Covered(CommandContext& context) const;
  void Copy(CommandContext& context);
  void ReadSlice(CommandContext& context);
  bool ReadValues(CommandContext& context, std::vector<Value>* values);
  void TakeWeights(std::span<const Value> values);
  void NextStage(CommandContext& context);
  void ReplyPiece(CommandContext& context);
  void Write(CommandContext& context);
  void Install(CommandContext& context);
  bool IsInVain(CommandContext& context);
  void Restart(CommandContext& context) override;

  // Calls visit(Value) for what is answered of one item.
  template <typename Visit>
  void ForEachResult(size_t item, Visit visit) const;

  // --- on another thread
  void Sort(const std::atomic<bool>* stop);
  void SortByTexts();
  void Build();

  SlicedSort sort_;
  Stage stage_ = Stage::kCopy;
  ListLimits limits_;
  uint64_t max_bytes_ = 0;
  std::unique_ptr<FrozenValue> frozen_;
  ValueType type_ = ValueType::kNone;
  std::optional<FrozenRows> rows_;
  std::vector<Item> items_;
  ByteBlocks bytes_;
  uint64_t copied_bytes_ = 0;
  bool not_numbers_ = false;
  // What patterns name.
  std::vector<SortPattern> patterns_;  // of the present stage
  size_t read_ = 0;                    // so many items have been
  size_t planned_ = 0;                 // and are, before the present slice ends
  std::vector<std::string> names_;     // of the keys of the present slice
  SortValueReader reader_;
  std::vector<Value> texts_;
  std::vector<Value> results_;  // for each item those of all `gets`
  size_t replied_ = 0;
  std::optional<DetachedValue> result_;
  uint64_t stored_ = 0;
};

std::vector<KeyAccess> SortSlices::Keys(CommandContext& context) const {
  const uint32_t db = context.db().number();
  std::vector<KeyAccess> keys = {{db, context.store.Key(context.args[1]), Access::kRead}};
  if (sort_.store) keys.push_back({db, context.store.Key(*sort_.store), Access::kReplace});
  return keys;
}

bool SortSlices::NamesKeys() const {
  return sort_.by || std::ranges::any_of(sort_.gets, &SortPattern::names_keys);
}

KeyHold::Covers SortSlices::Covered(CommandContext& context) const {
  struct Around {  // of an element, whatever it is
    std::string prefix;
    std::string suffix;
  };
  std::vector<Around> named;
  auto add = [&named](const SortPattern& pattern) {
    if (!pattern.names_keys()) return;
    named.push_back({std::string(pattern.prefix), std::string(pattern.suffix)});
  };
  std::ranges::for_each(sort_.gets, add);
  if (sort_.by) add(*sort_.by);
  return [source = std::string(context.args[1]), named = std::move(named)](std::string_view key) {
    return key == source || std::ranges::any_of(named, [key](const Around& around) {
             return key.size() >= around.prefix.size() + around.suffix.size() &&
                    key.starts_with(around.prefix) && key.ends_with(around.suffix);
           });
  };
}

void SortSlices::Begin(CommandContext& context) {
  const Patience patience = NamesKeys() ? Patience::kNone : Patience::kSomeAttempts;
  const Attempt attempt = BeginAttempt(context, Covered(context), patience);
  if (attempt == Attempt::kLater) return;
  if (attempt == Attempt::kNone) return sort_.whole(context);
  const HashedKey key = context.store.Key(context.args[1]);
  type_ = LookupForRead(context, key).type;
  limits_ = ValueLimitsOf(context.server.options().values()).list;
  max_bytes_ = MaxReplyBytes(context);
  if (sort_.ranks.size() * kElementOverhead > max_bytes_) {
    return context.reply.Error(kOutOfMemoryError);
  }
  stage_ = Stage::kCopy;
  frozen_ = std::make_unique<FrozenValue>(context.db(), key);
  rows_.emplace(frozen_.get(), sort_.ranks.first, sort_.ranks.size());
  items_.reserve(sort_.ranks.size());
  if (sort_.store) result_.emplace(context.db());
  AwaitTurn(context);
}

// --- slices

void SortSlices::Step(CommandContext& context) {
  if (stage_ == Stage::kReply) return ReplyPiece(context);
  if (IsInVain(context)) return Restart(context);
  if (not_numbers_) {
    return context.reply.Error("ERR One or more scores can't be converted into double");
  }
  switch (stage_) {
    case Stage::kCopy:
      return Copy(context);
    case Stage::kWeigh:
    case Stage::kGet:
      return ReadSlice(context);
    case Stage::kWrite:
      return Write(context);
    case Stage::kReply:
      break;
  }
}

void SortSlices::Copy(CommandContext& context) {
  const bool resident =
      rows_->Read([this](const PackedRow& row) { items_.push_back({.element = Keep(row.bytes)}); });
  if (!resident) return;
  if (copied_bytes_ + items_.size() * kElementOverhead > max_bytes_) {
    return context.reply.Error(kOutOfMemoryError);
  }
  if (rows_->ended()) return NextStage(context);
  AwaitTurn(context);
}

// The present one is over.
void SortSlices::NextStage(CommandContext& context) {
  const bool reads = std::ranges::any_of(sort_.gets, &SortPattern::names_keys);
  read_ = 0;
  if (stage_ == Stage::kCopy && sort_.by) {
    stage_ = Stage::kWeigh;
    patterns_ = {*sort_.by};
    if (sort_.alpha) texts_.reserve(items_.size());
    return AwaitTurn(context);
  }
  const bool sorted = stage_ == Stage::kGet;
  if (!sorted && reads) {
    stage_ = Stage::kGet;
    patterns_ = sort_.gets;
    results_.reserve(sort_.count * patterns_.size());
    return Compute(context, [this](const std::atomic<bool>* stop) { Sort(stop); });
  }
  stage_ = sort_.store ? Stage::kWrite : Stage::kReply;
  // What is answered is what it was, whatever comes now.
  if (!sort_.store) {
    rows_.reset();
    frozen_.reset();
    EndAttempt();
    if (sorted) return ReplyPiece(context);
  }
  Compute(context, [this, sorted](const std::atomic<bool>* stop) {
    if (!sorted) Sort(stop);
    if (sort_.store && !not_numbers_ && !stop->load()) Build();
  });
}

// What the patterns of this stage name for some items more.
void SortSlices::ReadSlice(CommandContext& context) {
  if (read_ == items_.size()) return NextStage(context);
  const size_t items = std::max<size_t>(1, kValuesAtOnce / patterns_.size());
  const size_t end = std::min(read_ + items, items_.size());
  names_.clear();
  for (size_t i = read_; i < end; ++i) {
    for (const SortPattern& pattern : patterns_) {
      if (pattern.names_keys()) pattern.KeyFor(items_[i].element, &names_.emplace_back());
    }
  }
  std::vector<KeyAccess> keys;
  keys.reserve(names_.size());
  for (const std::string& name : names_) {
    keys.push_back({context.db().number(), context.store.Key(name), Access::kRead});
  }
  planned_ = end;
  RunWithKeys(context, std::move(keys), [self = Self()](CommandContext& context) {
    std::vector<Value> values;
    if (!self->ReadValues(context, &values)) return;
    if (self->stage_ == Stage::kWeigh) {
      self->TakeWeights(values);
    } else {
      self->results_.insert(self->results_.end(), values.begin(), values.end());
    }
    self->read_ += values.size() / self->patterns_.size();
    const uint64_t values_kept = self->items_.size() + self->texts_.size() + self->results_.size();
    if (self->copied_bytes_ + values_kept * kElementOverhead > self->max_bytes_) {
      return context.reply.Error(kOutOfMemoryError);
    }
    self->AwaitTurn(context);
  });
}

// False: pages are missing, and nothing was taken.
bool SortSlices::ReadValues(CommandContext& context, std::vector<Value>* values) {
  const uint64_t most_bytes = copied_bytes_ + kBytesAtOnce;
  auto take = [&](std::string_view value) { values->push_back(Keep(value)); };
  bool all = true;
  for (size_t i = read_; i < planned_ && copied_bytes_ < most_bytes; ++i) {
    for (const SortPattern& pattern : patterns_) {
      const Got got = reader_.Read(context, pattern, items_[i].element, take);
      all &= got != Got::kMissing;
      if (got != Got::kPresent) values->emplace_back();
    }
  }
  return all;
}

void SortSlices::TakeWeights(std::span<const Value> values) {
  for (size_t i = 0; i < values.size(); ++i) {
    Item& item = items_[read_ + i];
    if (sort_.alpha) {
      item.text = texts_.size();
      texts_.push_back(values[i]);
    } else if (values[i].data() != nullptr) {
      not_numbers_ |= !ParseSortWeight(values[i], &item.weight);
    }
  }
}

void SortSlices::ReplyPiece(CommandContext& context) {
  if (not_numbers_) {
    return context.reply.Error("ERR One or more scores can't be converted into double");
  }
  const size_t times = std::max<size_t>(sort_.gets.size(), 1);
  if (replied_ == 0) {
    context.reply.ArrayHeader(static_cast<int64_t>(items_.size() * times));
    context.client.set_reply_open(true);
  }
  const size_t end = std::min(replied_ + kElementsAtOnce, items_.size());
  for (uint64_t bytes = 0; replied_ < end && bytes < kBytesAtOnce; ++replied_) {
    ForEachResult(replied_, [&](Value value) {
      bytes += value.size();
      value.data() != nullptr ? context.reply.Bulk(value) : context.reply.Null();
    });
  }
  if (replied_ < items_.size()) return AwaitSent(context);
  context.client.set_reply_open(false);
}

template <typename Visit>
void SortSlices::ForEachResult(size_t item, Visit visit) const {
  const size_t gets = sort_.gets.size();
  if (gets == 0) return visit(items_[item].element);
  for (size_t i = 0; i < gets; ++i) {
    if (!results_.empty()) {
      visit(results_[item * gets + i]);
    } else {
      visit(sort_.gets[i].element_itself ? items_[item].element : Value());
    }
  }
}

void SortSlices::Write(CommandContext& context) {
  if (!WriteOr(context, &*result_)) return;
  // The keys again, as they are when all is done.
  RunWithKeys(context, Keys(context),
              [self = Self()](CommandContext& context) { self->Install(context); });
}

// --- on another thread

void SortSlices::Sort(const std::atomic<bool>* stop) {
  auto by_weight = [](const Item& a, const Item& b) {
    return a.weight != b.weight ? a.weight < b.weight : a.element < b.element;
  };
  auto by_element = [](const Item& a, const Item& b) { return a.element < b.element; };
  if (sort_.unsorted) {
    if (sort_.descending) std::reverse(items_.begin(), items_.end());
  } else if (sort_.alpha && sort_.by) {
    SortByTexts();
  } else if (sort_.alpha) {
    std::sort(items_.begin(), items_.end(), by_element);
    if (sort_.descending) std::reverse(items_.begin(), items_.end());
  } else {
    if (!sort_.by) {
      for (Item& item : items_) not_numbers_ |= !ParseSortWeight(item.element, &item.weight);
    }
    if (not_numbers_ || stop->load()) return;
    std::sort(items_.begin(), items_.end(), by_weight);
    if (sort_.descending) std::reverse(items_.begin(), items_.end());
  }
  if (!sort_.unsorted) {
    items_.erase(items_.begin() + static_cast<int64_t>(sort_.first + sort_.count), items_.end());
    items_.erase(items_.begin(), items_.begin() + static_cast<int64_t>(sort_.first));
  }
}

// What has none comes first; equal ones stay in the order in which the value has them.
void SortSlices::SortByTexts() {
  auto before = [this](const Item& a, const Item& b) {
    const Value x = texts_[a.text];
    const Value y = texts_[b.text];
    if (x.data() == nullptr || y.data() == nullptr)
      return x.data() == nullptr && y.data() != nullptr;
    return x < y;
  };
  std::stable_sort(items_.begin(), items_.end(), [&](const Item& a, const Item& b) {
    return sort_.descending ? before(b, a) : before(a, b);
  });
}

// Absent values are stored as empty ones.
void SortSlices::Build() {
  ListValue list(&result_->pages(), limits_);
  std::vector<std::string_view> stored;
  for (size_t i = 0; i < items_.size(); ++i) {
    ForEachResult(i, [&](Value value) { stored.push_back(value); });
  }
  stored_ = stored.size();
  if (!stored.empty()) CHECK(list.Push(ListEnd::kTail, stored));
  std::exchange(items_, {});
  std::exchange(texts_, {});
  std::exchange(results_, {});
  bytes_.Clear();
}

// --- the end

bool SortSlices::IsInVain(CommandContext& context) {
  if (result_ && !context.db().HasBuilt(result_->build())) return true;
  if (hold_broken() || reader_.first_expiry_ms() <= context.store.expiry_clock_ms()) return true;
  return frozen_ != nullptr && (frozen_->lost() || (sort_.store && frozen_->changed()));
}

void SortSlices::Restart(CommandContext& context) {
  result_.reset();
  rows_.reset();
  frozen_.reset();
  items_.clear();
  texts_.clear();
  results_.clear();
  reader_ = SortValueReader();
  bytes_.Clear();
  copied_bytes_ = 0;
  not_numbers_ = false;
  RunWithKeys(context, Keys(context), [self = Self()](CommandContext& context) {
    if (!self->sort_.again(context, &self->sort_)) {
      self->EndAttempt();
      return self->sort_.whole(context);
    }
    self->Begin(context);
  });
}

void SortSlices::Install(CommandContext& context) {
  bool in_vain = IsInVain(context);
  if (!in_vain) {
    Collection now(context.db(), context.store.Key(context.args[1]), type_, kUnseen);
    in_vain = !now.exists() || now.Root() != frozen_->Root();
  }
  if (in_vain) return Restart(context);
  frozen_.reset();
  const HashedKey target = context.store.Key(*sort_.store);
  const bool existed = LookupForWrite(context, target).exists();
  if (result_->pages().exists()) {
    context.store.BeginGroup();
    result_->Install(context.db(), target, ValueType::kList);
    context.store.EndGroup();
    context.Modified(target);
    context.Notify('l', "sortstore", target.bytes);
    SignalReady(context, target);
  } else if (existed) {
    context.db().Delete(target);
    context.Modified(target);
    context.Notify('g', "del", target.bytes);
  }
  context.reply.Integer(static_cast<int64_t>(stored_));
}

}  // namespace

void SortInSlices(CommandContext& context, SlicedSort sort) {
  if (!context.LeavePlace()) return;
  std::make_shared<SortSlices>(std::move(sort))->Begin(context);
}

}  // namespace firn::server
