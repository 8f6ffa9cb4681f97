#include "tiering/read_ahead.h"

#include <algorithm>

#include "tiering/fetcher.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

// A megabyte.
constexpr size_t kMostHeld = 256;
constexpr int64_t kIdleMicros = 1'000'000;

}  // namespace

void ReadAhead::Want(uint32_t keyspace, uint64_t value_id, std::span<const PageNumber> pages) {
  requests_.push_back({keyspace, value_id, {pages.begin(), pages.end()}});
}

template <typename Predicate>
void ReadAhead::ReleaseIf(Predicate passed) {
  std::erase_if(held_, [&](const std::unique_ptr<Held>& held) {
    if (!passed(*held)) return false;
    store_.fetcher_->Release(&held->ticket);
    return true;
  });
}

void ReadAhead::Step() {
  const int64_t now = store_.environment_.loop->NowMicros();
  if (requests_.empty()) {
    if (!held_.empty() && now - asked_micros_ > kIdleMicros) Stop();
    return;
  }
  asked_micros_ = now;
  for (const Request& request : std::exchange(requests_, {})) Begin(request);
}

void ReadAhead::Stop() {
  requests_.clear();
  ReleaseIf([](const Held&) { return true; });
}

void ReadAhead::Begin(const Request& request) {
  if (store_.closing_ || store_.KeyspaceById(request.keyspace) == nullptr) return;
  auto is_next = [&](PageNumber page) {
    return std::ranges::find(request.pages, page) != request.pages.end();
  };
  ReleaseIf([&](const Held& held) {
    return held.value_id == request.value_id && held.keyspace == request.keyspace &&
           !is_next(held.page);
  });
  for (PageNumber page : request.pages) {
    if (!store_.fetcher_->MayLookAhead()) return;
    Hold(request, page);
  }
}

void ReadAhead::Hold(const Request& request, PageNumber page) {
  Keyspace& pages = *store_.KeyspaceById(request.keyspace);
  const PageKey name(request.value_id, page);
  const HashedKey key = {name.view(), name.HashIn(pages.table)};
  const Entry* entry = pages.table.Find(key);
  if (entry != nullptr && entry->kind() == Entry::Kind::kHot) return;
  const bool known = std::ranges::any_of(held_, [&](const std::unique_ptr<Held>& held) {
    return held->page == page && held->value_id == request.value_id &&
           held->keyspace == request.keyspace;
  });
  if (known) return;
  auto held = std::make_unique<Held>();
  held->keyspace = request.keyspace;
  held->value_id = request.value_id;
  held->page = page;
  const KeyAccess access = {pages.db(), key, Access::kRead, true};
  if (store_.fetcher_->Plan({&access, 1}, &held->ticket) == PlanResult::kReadError) {
    store_.fetcher_->Release(&held->ticket);
    return;
  }
  held_.push_back(std::move(held));
  if (held_.size() <= kMostHeld) return;
  store_.fetcher_->Release(&held_.front()->ticket);
  held_.pop_front();
}

}  // namespace firn
