#include "server/commands/sort_slices.h"

#include <algorithm>
#include <memory>
#include <span>
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

constexpr int kMostAttempts = 3;
// What an element takes in a reply besides its bytes, at most.
constexpr uint64_t kElementOverhead = 16;
// A slice of a reply.
constexpr size_t kElementsAtOnce = 4096;
constexpr uint64_t kBytesAtOnce = 256 << 10;
constexpr Collection::Options kUnseen = {.touch = false, .count_hit = false};

class SortSlices final : public SlicedCommand {
 public:
  explicit SortSlices(SlicedSort sort) : sort_(std::move(sort)) {}

  // REQUIRES: the source and the target are planned.
  void Begin(CommandContext& context);

 protected:
  void Step(CommandContext& context) override;

 private:
  enum class Stage : uint8_t { kCopy, kReply, kWrite };
  struct Item {
    double weight = 0;
    std::string_view element;
  };

  std::shared_ptr<SortSlices> Self() {
    return std::static_pointer_cast<SortSlices>(shared_from_this());
  }
  std::vector<KeyAccess> Keys(CommandContext& context) const;
  void Copy(CommandContext& context);
  void ReplyPiece(CommandContext& context);
  void Write(CommandContext& context);
  void Install(CommandContext& context);
  bool IsInVain(CommandContext& context);
  void Restart(CommandContext& context);

  // --- on another thread
  void Sort(const std::atomic<bool>* stop);
  void Build();

  SlicedSort sort_;
  int attempts_ = 1;
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

void SortSlices::Begin(CommandContext& context) {
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
  stage_ == Stage::kCopy ? Copy(context) : Write(context);
}

void SortSlices::Copy(CommandContext& context) {
  const bool resident = rows_->Read([this](const PackedRow& row) {
    items_.push_back({.element = bytes_.Copy(row.bytes)});
    copied_bytes_ += row.bytes.size();
  });
  if (!resident) return;
  if (copied_bytes_ + items_.size() * kElementOverhead > max_bytes_) {
    return context.reply.Error(kOutOfMemoryError);
  }
  if (!rows_->ended()) return AwaitTurn(context);
  // What is answered is what it was, whatever comes now.
  if (!sort_.store) {
    rows_.reset();
    frozen_.reset();
  }
  stage_ = sort_.store ? Stage::kWrite : Stage::kReply;
  Compute(context, [this](const std::atomic<bool>* stop) { Sort(stop); });
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
    const std::string_view element = items_[replied_].element;
    bytes += element.size() * times;
    if (sort_.gets.empty()) context.reply.Bulk(element);
    for (const bool itself : sort_.gets) {
      itself ? context.reply.Bulk(element) : context.reply.Null();
    }
  }
  if (replied_ < items_.size()) return AwaitSent(context);
  context.client.set_reply_open(false);
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
  } else if (sort_.alpha) {
    std::sort(items_.begin(), items_.end(), by_element);
    if (sort_.descending) std::reverse(items_.begin(), items_.end());
  } else {
    for (Item& item : items_) not_numbers_ |= !ParseSortWeight(item.element, &item.weight);
    if (not_numbers_) return;
    std::sort(items_.begin(), items_.end(), by_weight);
    if (sort_.descending) std::reverse(items_.begin(), items_.end());
  }
  if (!sort_.unsorted) {
    items_.erase(items_.begin() + static_cast<int64_t>(sort_.first + sort_.count), items_.end());
    items_.erase(items_.begin(), items_.begin() + static_cast<int64_t>(sort_.first));
  }
  if (sort_.store && !stop->load()) Build();
}

// Absent values are stored as empty ones.
void SortSlices::Build() {
  ListValue list(&result_->pages(), limits_);
  std::vector<std::string_view> stored;
  for (const Item& item : items_) {
    if (sort_.gets.empty()) stored.push_back(item.element);
    for (const bool itself : sort_.gets) {
      stored.push_back(itself ? item.element : std::string_view());
    }
  }
  stored_ = stored.size();
  if (!stored.empty()) CHECK(list.Push(ListEnd::kTail, stored));
  std::exchange(items_, {});
  bytes_.Clear();
}

// --- the end

bool SortSlices::IsInVain(CommandContext& context) {
  if (result_ && !context.db().HasBuilt(result_->build())) return true;
  return frozen_ != nullptr && (frozen_->lost() || (sort_.store && frozen_->changed()));
}

void SortSlices::Restart(CommandContext& context) {
  result_.reset();
  rows_.reset();
  frozen_.reset();
  items_.clear();
  bytes_.Clear();
  copied_bytes_ = 0;
  ++attempts_;
  RunWithKeys(context, Keys(context), [self = Self()](CommandContext& context) {
    if (self->attempts_ > kMostAttempts || !self->sort_.again(context, &self->sort_)) {
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
