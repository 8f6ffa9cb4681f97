#include "tiering/copier.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "engine/types/long_string.h"
#include "engine/types/root_format.h"
#include "tiering/fetcher.h"
#include "tiering/map_rebuild.h"
#include "tiering/reaper.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// Values of fewer pages are copied in one go.
constexpr PageNumber kBigPages = 96;
// A slice: well below a millisecond.
constexpr size_t kMostPagesAtOnce = 192;
constexpr size_t kFewestPagesAtOnce = 2;
constexpr uint64_t kBytesAtOnce = 768 << 10;
// The note covers more than there is, since values grow.
constexpr PageNumber kSpareNumbers = 1 << 16;
constexpr uint64_t kPageBytesGuess = 4096;

HashedKey Hashed(Keyspace& pages, const PageKey& key) {
  return {key.view(), pages.table.HashOf(key.view())};
}

std::vector<uint64_t> LongStringsOf(const StringMix& mix) {
  std::vector<uint64_t> values;
  for (const StringMix::Source& source : mix.sources) {
    const bool known = std::ranges::find(values, source.value_id) != values.end();
    if (source.value_id != 0 && !known) values.push_back(source.value_id);
  }
  return values;
}

}  // namespace

ValueCopy::~ValueCopy() {
  if (copier_ != nullptr) copier_->Forget(this);
}

bool ValueCopy::Watches(uint64_t value_id) const {
  if (mix_ == nullptr) return value_id == source_id_;
  return std::ranges::any_of(mix_->sources, [value_id](const StringMix::Source& source) {
    return source.value_id == value_id;
  });
}

void ValueCopy::BeforeChange(PageNumber page, std::string_view) {
  end_ = std::max(end_, page + 1);
  if (page < next_ && changed_.insert(page).second) ++arrivals_;
}

bool Copier::IsBig(std::string_view root) {
  return !RootView(root).small() && RootView(root).next_page() > kBigPages;
}

std::shared_ptr<ValueCopy> Copier::Begin(Keyspace& source, std::string_view root,
                                         Keyspace& target) {
  auto copy = std::shared_ptr<ValueCopy>(new ValueCopy);
  copy->copier_ = this;
  copy->source_ = source.pages->id;
  copy->target_ = target.pages->id;
  copy->source_id_ = RootView(root).value_id();
  copy->end_ = RootView(root).next_page();
  return Add(std::move(copy));
}

std::shared_ptr<ValueCopy> Copier::Add(std::shared_ptr<ValueCopy> copy) {
  copy->ticket_.on_ready = [copy = copy.get()] { copy->waiting_ = false; };
  copies_.push_back(copy.get());
  store_.page_watchers_.Add(copy.get());
  return copy;
}

bool Copier::IsCopyOf(const ValueCopy& copy, const Keyspace& source, std::string_view root,
                      const Keyspace& target) const {
  return copy.copier_ == this && copy.source_ == source.pages->id &&
         copy.target_ == target.pages->id && copy.source_id_ == RootView(root).value_id();
}

bool Copier::IsComplete(const ValueCopy& copy) {
  return copy.copier_ != nullptr && copy.id_ != 0 && copy.status_.ok() && !copy.source_gone_ &&
         copy.next_ >= copy.end_ && copy.changed_.empty();
}

std::string Copier::Finish(ValueCopy* copy, std::string_view root) {
  CHECK(IsComplete(*copy) && RootView(root).value_id() == copy->source_id_);
  Keyspace* target = store_.KeyspaceById(copy->target_);
  CHECK(target != nullptr);
  std::string bytes(root);
  StoreFixed(bytes.data() + kRootValueIdAt, copy->id_);
  store_.reaper_->EraseNote(*target, copy->id_);
  Release(copy);
  return bytes;
}

void Copier::Release(ValueCopy* copy) {
  std::erase(copies_, copy);
  store_.page_watchers_.Remove(copy);
  store_.fetcher_->Release(&copy->ticket_);
  copy->copier_ = nullptr;
}

void Copier::Forget(ValueCopy* copy) {
  Release(copy);
  Keyspace* target = store_.KeyspaceById(copy->target_);
  if (copy->id_ != 0 && target != nullptr) {
    store_.reaper_->Reap(*target, copy->id_, copy->noted_end_);
  }
}

void Copier::Stop() {
  while (!copies_.empty()) {
    ValueCopy* copy = copies_.back();
    Release(copy);
    // Who waits may find another store in this one's place, and must not wait forever. The last
    // reference may be the waiter's.
    if (auto on_ready = std::exchange(copy->on_ready_, nullptr)) on_ready();
  }
}

// --- slices

bool Copier::Step() {
  if (copies_.empty() || store_.closing_ || !store_.map_rebuild_->complete()) return false;
  for (size_t tries = copies_.size(); tries > 0; --tries) {
    ValueCopy* copy = copies_[turn_++ % copies_.size()];
    if (copy->on_ready_ == nullptr || copy->waiting_) continue;
    if (Advance(copy)) return true;
  }
  return false;
}

void Copier::Answer(ValueCopy* copy) {
  auto on_ready = std::exchange(copy->on_ready_, nullptr);
  on_ready();
}

// The copy may be gone when this returns.
bool Copier::Advance(ValueCopy* copy) {
  if (store_.KeyspaceById(copy->source_) == nullptr ||
      store_.KeyspaceById(copy->target_) == nullptr) {
    copy->source_gone_ = true;
  }
  if (copy->source_gone_ || IsComplete(*copy)) {
    Answer(copy);
    return true;
  }
  Slice slice;
  Outcome outcome = CopySome(copy, &slice);
  if (outcome == Outcome::kWaits) {
    copy->waiting_ = true;
    return false;
  }
  store_.fetcher_->Release(&copy->ticket_);
  copy->planning_ = false;
  if (outcome == Outcome::kLater) return false;
  copy->pages_at_once_ = slice.bytes >= kBytesAtOnce
                             ? std::max(copy->pages_at_once_ / 2, kFewestPagesAtOnce)
                             : std::min(copy->pages_at_once_ * 2, kMostPagesAtOnce);
  if (outcome == Outcome::kFailed || IsComplete(*copy)) Answer(copy);
  return true;
}

Copier::Outcome Copier::CopySome(ValueCopy* copy, Slice* slice) {
  const size_t most = std::max(copy->pages_at_once_, 2 * copy->arrivals_);
  PageNumber next = copy->next_;
  // What has changed comes last, when there is least time left in which it changes again.
  while (next < copy->end_ && slice->pages.size() < most) slice->pages.push_back(next++);
  for (PageNumber page : copy->changed_) {
    if (slice->pages.size() >= most) break;
    slice->pages.push_back(page);
  }
  // With pages pinned it must not wait for memory: they may be what takes it.
  if (!copy->planning_) {
    const Outcome room = CheckRoom(copy, kPageBytesGuess);
    if (room != Outcome::kDone) return room;
  }
  if (copy->id_ == 0 || next > copy->noted_end_) NotePages(copy, next + kSpareNumbers);
  const uint64_t most_bytes = std::max(kBytesAtOnce, 2 * copy->arrivals_ * kPageBytesGuess);
  copy->arrivals_ = 0;
  std::span<const PageNumber> pages = slice->pages;
  const size_t sources = copy->mix_ != nullptr ? copy->mix_->sources.size() : 1;
  const size_t most_planned = std::max<size_t>(kMostPagesAtOnce / sources, 1);
  while (!pages.empty() && slice->bytes < most_bytes && !copy->source_gone_) {
    const std::span<const PageNumber> some = pages.first(std::min(pages.size(), most_planned));
    pages = pages.subspan(some.size());
    Outcome outcome = Plan(copy, some);
    copy->planning_ = outcome == Outcome::kWaits;
    if (outcome == Outcome::kDone) outcome = CopyPages(copy, some, &slice->bytes);
    if (outcome != Outcome::kDone) return outcome;
  }
  return Outcome::kDone;
}

// REQUIRES: planned.
Copier::Outcome Copier::CopyPages(ValueCopy* copy, std::span<const PageNumber> pages,
                                  uint64_t* bytes) {
  for (PageNumber page : pages) {
    // Nothing waits for memory here: the pages that are pinned may be what takes it.
    if (!LogHasRoom()) return Outcome::kLater;
    *bytes += copy->mix_ != nullptr ? MixPage(copy, page) : CopyPage(copy, page);
    if (!store_.run_error_.ok()) {
      copy->status_ = std::exchange(store_.run_error_, Status::Ok());
      return Outcome::kFailed;
    }
  }
  return Outcome::kDone;
}

void Copier::NotePages(ValueCopy* copy, PageNumber end) {
  if (copy->id_ == 0) copy->id_ = store_.NewValueId();
  copy->noted_end_ = end;
  store_.reaper_->WriteNote(*store_.KeyspaceById(copy->target_), copy->id_, end);
}

Copier::Outcome Copier::Plan(ValueCopy* copy, std::span<const PageNumber> pages) {
  Keyspace& source = *store_.KeyspaceById(copy->source_);
  Keyspace& target = *store_.KeyspaceById(copy->target_);
  std::vector<PageKey> names;
  std::vector<KeyAccess> keys;
  std::vector<uint64_t> values;
  if (copy->mix_ == nullptr) values.push_back(copy->source_id_);
  if (copy->mix_ != nullptr) values = LongStringsOf(*copy->mix_);
  names.reserve((values.size() + 1) * pages.size());
  for (PageNumber page : pages) {
    for (uint64_t value_id : values) {
      const PageKey& name = names.emplace_back(value_id, page);
      keys.push_back({source.db(), Hashed(source, name), Access::kRead, true});
    }
    if (page >= copy->next_) continue;
    const PageKey& again = names.emplace_back(copy->id_, page);
    keys.push_back({target.db(), Hashed(target, again), Access::kReplace, true});
  }
  switch (store_.fetcher_->Plan(keys, &copy->ticket_)) {
    case PlanResult::kReady:
      return Outcome::kDone;
    case PlanResult::kWaiting:
      return Outcome::kWaits;
    case PlanResult::kReadError:
      copy->status_ = copy->ticket_.error();
      return Outcome::kFailed;
  }
  return Outcome::kFailed;
}

bool Copier::LogHasRoom() const {
  if (!store_.LogsChanges() && !store_.options_.tiering) return true;
  if (store_.LogsChanges() && !store_.log_->IsPopulated(kPageBytesGuess)) return false;
  return store_.log_->CheckRoom(kPageBytesGuess, log::LogWriter::Urgency::kNormal) ==
         log::LogWriter::Room::kReady;
}

Copier::Outcome Copier::CheckRoom(ValueCopy* copy, uint64_t bytes) {
  using Gate = Store::WriteGate;
  if (store_.LogsChanges() && !store_.log_->IsPopulated(bytes)) return Outcome::kLater;
  switch (store_.fetcher_->CheckWrite(bytes, false, &copy->ticket_)) {
    case Gate::kOk:
      return Outcome::kDone;
    case Gate::kWait:
      return Outcome::kWaits;
    case Gate::kOutOfMemory:
    case Gate::kOutOfSpace:
      copy->status_ = Status(StatusCode::kNoMemory, "there is no room for a copy of the value");
      return Outcome::kFailed;
    case Gate::kDiskFull:
      copy->status_ = store_.log_->space_status();
      return Outcome::kFailed;
    case Gate::kLogFailed:
      copy->status_ = store_.log_->poison();
      return Outcome::kFailed;
  }
  return Outcome::kFailed;
}

// How many bytes.
uint64_t Copier::CopyPage(ValueCopy* copy, PageNumber page) {
  Keyspace& source = *store_.KeyspaceById(copy->source_);
  Keyspace& target = *store_.KeyspaceById(copy->target_);
  const bool again = page < copy->next_;
  uint64_t bytes = 0;
  const PageKey from(copy->source_id_, page);
  const PageKey to(copy->id_, page);
  Entry* entry = source.table.Find(Hashed(source, from));
  if (entry != nullptr && entry->kind() == Entry::Kind::kHot) {
    bytes = entry->value().size();
    store_.WriteValue(target, Hashed(target, to),
                      {.type = ValueType::kPage, .bytes = entry->value(), .known_new = !again});
  } else if (again) {
    // The number is free again.
    store_.DeleteKey(target, Hashed(target, to));
  }
  if (!again) {
    copy->next_ = page + 1;
  } else {
    copy->changed_.erase(page);
  }
  return bytes;
}

// --- mixed strings

std::shared_ptr<ValueCopy> Copier::BeginMix(Keyspace& keyspace, StringMix mix) {
  auto copy = std::shared_ptr<ValueCopy>(new ValueCopy);
  copy->copier_ = this;
  copy->source_ = copy->target_ = keyspace.pages->id;
  copy->end_ = LongString::PageOf(LongString::PartsOf(mix.size_bytes));
  copy->mix_ = std::make_unique<StringMix>(std::move(mix));
  return Add(std::move(copy));
}

bool Copier::UpdateMix(ValueCopy* copy, const Keyspace& keyspace, const StringMix& now) {
  if (copy->copier_ != this || copy->mix_ == nullptr || copy->source_ != keyspace.pages->id) {
    return false;
  }
  StringMix& mix = *copy->mix_;
  auto same_value = [](const StringMix::Source& a, const StringMix::Source& b) {
    return a.value_id == b.value_id;
  };
  if (!std::ranges::equal(mix.sources, now.sources, same_value)) return false;
  // Those of [first, last) that have been mixed are mixed again.
  auto again = [copy](uint64_t first, uint64_t last) {
    for (uint64_t part = first; part < last && LongString::PageOf(part) < copy->next_; ++part) {
      copy->changed_.insert(LongString::PageOf(part));
    }
  };
  for (size_t i = 0; i < mix.sources.size(); ++i) {
    std::string& bytes = mix.sources[i].bytes;
    const std::string& bytes_now = now.sources[i].bytes;
    if (bytes == bytes_now) continue;
    again(0, LongString::PartsOf(std::max(bytes.size(), bytes_now.size())));
    bytes = bytes_now;
  }
  if (mix.size_bytes != now.size_bytes) {
    again(mix.size_bytes / LongString::kPageBytes, LongString::PartsOf(now.size_bytes));
    mix.size_bytes = now.size_bytes;
    copy->end_ = std::max(copy->end_, LongString::PageOf(LongString::PartsOf(now.size_bytes)));
  }
  return true;
}

std::string Copier::FinishMix(ValueCopy* copy) {
  CHECK(IsComplete(*copy) && copy->mix_ != nullptr);
  Keyspace* target = store_.KeyspaceById(copy->target_);
  CHECK(target != nullptr);
  store_.reaper_->EraseNote(*target, copy->id_);
  Release(copy);
  return LongString::MakeRoot(copy->mix_->size_bytes, copy->mix_->parts, copy->id_);
}

// As CopyPage.
uint64_t Copier::MixPage(ValueCopy* copy, PageNumber page) {
  Keyspace& pages = *store_.KeyspaceById(copy->target_);
  StringMix& mix = *copy->mix_;
  const uint64_t part = page - LongString::PageOf(0);
  const uint64_t offset = part * LongString::kPageBytes;
  const bool again = page < copy->next_;
  std::string mixed;
  if (offset < mix.size_bytes) {
    mixed.resize(std::min(LongString::kPageBytes, mix.size_bytes - offset));
  }
  std::vector<std::string_view> sources;
  for (const StringMix::Source& source : mix.sources) {
    std::string_view bytes = LongString::Part(source.bytes, part);
    if (source.value_id != 0) {
      Entry* entry = pages.table.Find(Hashed(pages, PageKey(source.value_id, page)));
      if (entry != nullptr && entry->kind() == Entry::Kind::kHot) bytes = entry->value();
    }
    // It may have grown since.
    sources.push_back(bytes.substr(0, mixed.size()));
  }
  mix.mixer(sources, mixed);
  const bool empty = LongString::IsZero(mixed);
  const PageKey to(copy->id_, page);
  if (!empty) {
    store_.WriteValue(pages, Hashed(pages, to),
                      {.type = ValueType::kPage, .bytes = mixed, .known_new = !again});
  } else if (again) {
    store_.DeleteKey(pages, Hashed(pages, to));
  }
  mix.parts.resize(std::max<size_t>(mix.parts.size(), part + 1), '\0');
  mix.parts[part] = empty ? '\0' : '\1';
  if (!again) {
    copy->next_ = page + 1;
  } else {
    copy->changed_.erase(page);
  }
  return (sources.size() + 1) * LongString::kPageBytes;
}

}  // namespace firn
