// SORT and SORT_RO. Which keys the patterns of BY and GET name depends on the elements, so a run
// goes as far as the keys that are planned allow, then has all that it needs more planned at once
// and begins anew: what it answers has been read at one time.
#include "server/commands/sort.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "engine/types/string_ops.h"
#include "server/acl/acl.h"
#include "server/blocking.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/lists.h"
#include "server/commands/set_common.h"
#include "server/commands/sort_pattern.h"
#include "server/commands/sort_slices.h"
#include "server/commands/zset_common.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Values that are looked for in one attempt although pages are missing already.
constexpr uint64_t kMaxMissing = 1024;
// What an element takes in a reply besides its bytes, at most.
constexpr uint64_t kElementOverhead = 16;

// Many strings in one block.
class Strings {
 public:
  void Clear() {
    bytes_.clear();
    ends_.clear();
  }
  void Add(std::string_view text) {
    bytes_ += text;
    ends_.push_back(bytes_.size());
  }
  size_t size() const { return ends_.size(); }
  uint64_t total_bytes() const { return bytes_.size() + ends_.size() * kElementOverhead; }
  // Valid until the next Add.
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

struct Request {
  bool descending = false;
  bool alpha = false;
  bool unsorted = false;  // BY a constant
  int64_t limit_start = 0;
  int64_t limit_count = -1;
  std::optional<SortPattern> by;
  std::vector<SortPattern> gets;
  std::optional<std::string_view> store;
};

enum class Variant : uint8_t { kFull, kReadOnly };

// Patterns name keys that the rules on keys can't be asked about.
bool MayReadEveryKey(const CommandContext& context) {
  return !context.client.restricted() ||
         AclCheckWithEveryKey(*context.client.user(), context.command, context.args, kAclReadKeys);
}

bool ParseOr(CommandContext& context, Variant variant, Request* request) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 2; i < args.size(); ++i) {
    const size_t left = args.size() - i - 1;
    if (EqualsIgnoreCase(args[i], "asc")) {
      request->descending = false;
    } else if (EqualsIgnoreCase(args[i], "desc")) {
      request->descending = true;
    } else if (EqualsIgnoreCase(args[i], "alpha")) {
      request->alpha = true;
    } else if (EqualsIgnoreCase(args[i], "limit") && left >= 2) {
      if (!ParseIntegerOr(context, args[++i], &request->limit_start)) return false;
      if (!ParseIntegerOr(context, args[++i], &request->limit_count)) return false;
    } else if (variant == Variant::kFull && EqualsIgnoreCase(args[i], "store") && left >= 1) {
      request->store = args[++i];
    } else if (EqualsIgnoreCase(args[i], "by") && left >= 1) {
      request->by.emplace(args[++i]);
      if (request->by->constant) request->unsorted = true;
      if (!request->by->constant && !MayReadEveryKey(context)) {
        context.reply.Error("ERR BY option of SORT denied due to insufficient ACL permissions.");
        return false;
      }
    } else if (EqualsIgnoreCase(args[i], "get") && left >= 1) {
      request->gets.emplace_back(args[++i]);
      if (!request->gets.back().element_itself && !MayReadEveryKey(context)) {
        context.reply.Error("ERR GET option of SORT denied due to insufficient ACL permissions.");
        return false;
      }
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

// What LIMIT leaves of so many elements.
struct SortRange {
  uint64_t first = 0;
  uint64_t count = 0;
};
SortRange RangeOf(const Request& request, uint64_t total) {
  const auto size = static_cast<int64_t>(total);
  const int64_t start = std::clamp<int64_t>(request.limit_start, 0, size);
  const int64_t most = request.limit_count < 0 ? size : request.limit_count;
  return {.first = static_cast<uint64_t>(start),
          .count = static_cast<uint64_t>(std::min(most, size - start))};
}

using Got = SortValueReader::Got;

// One command on its way.
class SortRun : public std::enable_shared_from_this<SortRun> {
 public:
  explicit SortRun(Request request) : request_(std::move(request)) {}

  // Answers, or leaves pages missing (the caller then runs it again), or plans more keys.
  void Step(CommandContext& context) {
    if (!Load(context)) return;
    if (!request_.unsorted && !Sort(context)) return;
    if (!Get(context)) return;
    request_.store ? Store(context) : Reply(context);
  }

 private:
  struct Item {
    uint32_t element = 0;
    int64_t by = -1;  // into texts_; -1: there is no such value
    double weight = 0;
  };

  // --- elements

  bool Load(CommandContext& context);
  bool LoadList(CommandContext& context, const HashedKey& key);
  bool LoadSet(CommandContext& context, const HashedKey& key);
  bool LoadZset(CommandContext& context, const HashedKey& key);
  void SetRange(uint64_t total);
  // Ranks of what is answered if nothing is sorted; of everything if something is.
  RankRange RanksToLoad(uint64_t total) const;
  bool CheckSize(CommandContext& context, uint64_t bytes) const {
    if (bytes <= MaxReplyBytes(context)) return true;
    context.reply.Error(kOutOfMemoryError);
    return false;
  }
  // By the number alone, before anything is fetched.
  bool CheckCount(CommandContext& context, uint64_t elements) const {
    return CheckSize(context, elements * kElementOverhead);
  }

  // --- patterns

  bool ArePlanned(CommandContext& context, std::span<const SortPattern> patterns,
                  std::span<const Item> items);
  void PlanMore(CommandContext& context);
  Got GetValue(CommandContext& context, const SortPattern& pattern, std::string_view element,
               Strings* values);

  // --- steps
  bool Sort(CommandContext& context);
  bool Weigh(CommandContext& context);
  bool Get(CommandContext& context);
  void Reply(CommandContext& context);
  void Store(CommandContext& context);
  std::span<const Item> Answered() const { return std::span(items_).subspan(first_, count_); }

  Request request_;
  bool counted_ = false;  // the look-up, as a hit or a miss
  Strings elements_;
  Strings texts_;  // to sort by
  std::vector<Item> items_;
  size_t first_ = 0;  // what is answered, of items_
  size_t count_ = 0;
  Strings results_;
  std::vector<bool> absent_;  // results that are null
  std::unordered_set<std::string> planned_;
  std::string key_;
  SortValueReader reader_;
};

// --- elements

bool SortRun::Load(CommandContext& context) {
  elements_.Clear();
  items_.clear();
  first_ = count_ = 0;
  // Not context.key(): this may be a later run of a command that was suspended.
  const HashedKey key = context.store.Key(context.args[1]);
  const Database::KeyInfo info =
      counted_ ? context.db().Lookup(key, {.touch = false, .count_hit = false})
               : LookupForRead(context, key);
  counted_ = true;
  bool loaded = true;
  switch (info.type) {
    case ValueType::kNone:
      break;
    case ValueType::kList:
      loaded = LoadList(context, key);
      break;
    case ValueType::kSet:
      loaded = LoadSet(context, key);
      break;
    case ValueType::kZset:
      loaded = LoadZset(context, key);
      break;
    default:
      context.reply.Error(kWrongTypeError);
      return false;
  }
  if (!loaded || !CheckSize(context, elements_.total_bytes())) return false;
  items_.resize(elements_.size());
  for (uint32_t i = 0; i < items_.size(); ++i) items_[i].element = i;
  return true;
}

void SortRun::SetRange(uint64_t total) {
  const SortRange range = RangeOf(request_, total);
  first_ = range.first;
  count_ = range.count;
}

RankRange SortRun::RanksToLoad(uint64_t total) const {
  if (!request_.unsorted) return {.first = 0, .end = total};
  const uint64_t first = request_.descending ? total - first_ - count_ : first_;
  return {.first = first, .end = first + count_};
}

bool SortRun::LoadList(CommandContext& context, const HashedKey& key) {
  ListAccess access(context, key, ListAccess::Purpose::kWrite);
  ListValue& list = access.list();
  SetRange(list.length());
  const RankRange range = RanksToLoad(list.length());
  if (request_.unsorted) first_ = 0;
  if (range.empty()) return true;
  const ListValue::Ranks ranks{.first = range.first, .last = range.end - 1};
  if (!CheckCount(context, ranks.size()) || !list.Want(ranks)) return false;
  auto add = [this](std::string_view element) { elements_.Add(element); };
  request_.unsorted&& request_.descending ? list.ForEachBackward(ranks, add)
                                          : list.ForEach(ranks, add);
  return true;
}

bool SortRun::LoadZset(CommandContext& context, const HashedKey& key) {
  OpenZset zset(context, key, OpenZset::Use::kWrite);
  ZsetValue& value = zset.value();
  SetRange(value.count());
  const RankRange ranks = RanksToLoad(value.count());
  if (request_.unsorted) first_ = 0;
  if (!CheckCount(context, ranks.size()) || !value.Want(ranks)) return false;
  auto add = [this](const ZsetElement& element) { elements_.Add(element.member); };
  request_.unsorted&& request_.descending ? value.ForEachReversed(ranks, add)
                                          : value.ForEach(ranks, add);
  return true;
}

bool SortRun::LoadSet(CommandContext& context, const HashedKey& key) {
  // What is stored, or what a script does with it, must not depend on the order in which a set
  // happens to lie.
  if (request_.unsorted && (request_.store || context.server.scripting().runner().running())) {
    request_.unsorted = false;
    request_.alpha = true;
    request_.by.reset();
  }
  OpenSet set(context, key, OpenSet::Use::kWrite);
  SetRange(set.value().count());
  if (!CheckCount(context, set.value().count()) || !set.value().WantAll()) return false;
  set.value().ForEach([this](std::string_view member) { elements_.Add(member); });
  return true;
}

// --- patterns

// Whether all keys that patterns name are planned; if not, plans them, and the run is over.
bool SortRun::ArePlanned(CommandContext& context, std::span<const SortPattern> patterns,
                         std::span<const Item> items) {
  bool all = true;
  for (const SortPattern& pattern : patterns) {
    if (!pattern.names_keys()) continue;
    for (const Item& item : items) {
      pattern.KeyFor(elements_[item.element], &key_);
      all &= !planned_.insert(key_).second;
    }
  }
  if (!all) PlanMore(context);
  return all;
}

void SortRun::PlanMore(CommandContext& context) {
  uint64_t bytes = 0;
  for (const std::string& key : planned_) bytes += key.size() + sizeof(KeyAccess);
  if (!CheckSize(context, bytes)) return;
  const uint32_t db = context.db().number();
  std::vector<KeyAccess> keys;
  keys.reserve(planned_.size() + 2);
  keys.push_back({db, context.store.Key(context.args[1]), Access::kRead});
  for (const std::string& key : planned_) {
    keys.push_back({db, context.store.Key(key), Access::kRead});
  }
  if (request_.store) {
    keys.push_back({db, context.store.Key(*request_.store), Access::kReplace});
  }
  RunWithKeys(context, std::move(keys),
              [self = shared_from_this()](CommandContext& context) { self->Step(context); });
}

// Adds the value to `values` if it is present.
Got SortRun::GetValue(CommandContext& context, const SortPattern& pattern, std::string_view element,
                      Strings* values) {
  return reader_.Read(context, pattern, element,
                      [values](std::string_view value) { values->Add(value); });
}

// --- steps

// False: pages are missing, keys are not planned, or an error was answered.
bool SortRun::Weigh(CommandContext& context) {
  texts_.Clear();
  const bool by = request_.by.has_value();
  if (by && !ArePlanned(context, {&*request_.by, 1}, items_)) return false;
  if (!by && request_.alpha) return true;
  bool numbers = true;
  uint64_t missing = 0;
  for (Item& item : items_) {
    std::string_view text = elements_[item.element];
    if (by) {
      const Got got = GetValue(context, *request_.by, text, &texts_);
      if (got == Got::kMissing && ++missing >= kMaxMissing) return false;
      if (got != Got::kPresent) continue;
      item.by = static_cast<int64_t>(texts_.size()) - 1;
      text = texts_[texts_.size() - 1];
    }
    if (!request_.alpha) numbers &= ParseSortWeight(text, &item.weight);
  }
  if (missing > 0 || !CheckSize(context, texts_.total_bytes())) return false;
  if (numbers) return true;
  context.reply.Error("ERR One or more scores can't be converted into double");
  return false;
}

bool SortRun::Sort(CommandContext& context) {
  if (!Weigh(context)) return false;
  auto compare = [this](const Item& a, const Item& b) {
    if (!request_.alpha) {
      if (a.weight != b.weight) return a.weight < b.weight ? -1 : 1;
      return elements_[a.element].compare(elements_[b.element]);
    }
    if (!request_.by) return elements_[a.element].compare(elements_[b.element]);
    if (a.by < 0 || b.by < 0) return (a.by < 0 ? 0 : 1) - (b.by < 0 ? 0 : 1);
    return texts_[static_cast<size_t>(a.by)].compare(texts_[static_cast<size_t>(b.by)]);
  };
  std::stable_sort(items_.begin(), items_.end(), [&](const Item& a, const Item& b) {
    return request_.descending ? compare(b, a) < 0 : compare(a, b) < 0;
  });
  return true;
}

// Collects what is answered. False as Weigh.
bool SortRun::Get(CommandContext& context) {
  results_.Clear();
  absent_.clear();
  if (request_.gets.empty()) return true;
  if (!ArePlanned(context, request_.gets, Answered())) return false;
  uint64_t missing = 0;
  for (const Item& item : Answered()) {
    for (const SortPattern& pattern : request_.gets) {
      const Got got = GetValue(context, pattern, elements_[item.element], &results_);
      if (got == Got::kMissing && ++missing >= kMaxMissing) return false;
      if (got != Got::kPresent) results_.Add({});
      absent_.push_back(got != Got::kPresent);
    }
    if (missing == 0 && !CheckSize(context, results_.total_bytes())) return false;
  }
  return missing == 0;
}

void SortRun::Reply(CommandContext& context) {
  if (request_.gets.empty()) {
    context.reply.ArrayHeader(static_cast<int64_t>(count_));
    for (const Item& item : Answered()) context.reply.Bulk(elements_[item.element]);
    return;
  }
  context.reply.ArrayHeader(static_cast<int64_t>(results_.size()));
  for (size_t i = 0; i < results_.size(); ++i) {
    absent_[i] ? context.reply.Null() : context.reply.Bulk(results_[i]);
  }
}

// Absent values are stored as empty ones.
void SortRun::Store(CommandContext& context) {
  std::vector<std::string_view> stored;
  if (request_.gets.empty()) {
    stored.reserve(count_);
    for (const Item& item : Answered()) stored.push_back(elements_[item.element]);
  } else {
    stored.reserve(results_.size());
    for (size_t i = 0; i < results_.size(); ++i) stored.push_back(results_[i]);
  }
  const HashedKey target = context.store.Key(*request_.store);
  const bool existed = LookupForWrite(context, target).exists();
  context.store.BeginGroup();
  if (existed) context.db().Delete(target);
  if (!stored.empty()) {
    ListAccess access(context, target, ListAccess::Purpose::kWrite);
    CHECK(access.list().Push(ListEnd::kTail, stored));
  }
  context.store.EndGroup();
  if (!stored.empty()) {
    context.Modified(target);
    context.Notify('l', "sortstore", target.bytes);
    SignalReady(context, target);
  } else if (existed) {
    context.Modified(target);
    context.Notify('g', "del", target.bytes);
  }
  context.reply.Integer(static_cast<int64_t>(stored.size()));
}

// --- in slices

// Whether this is worth it. REQUIRES: the source is planned.
bool PlanSlices(CommandContext& context, const Request& request, SlicedSort* sort) {
  const HashedKey key = context.store.Key(context.args[1]);
  const ValueType type = context.db().Lookup(key, {.touch = false, .count_hit = false}).type;
  if (type != ValueType::kList && type != ValueType::kSet && type != ValueType::kZset) return false;
  Collection pages(context.db(), key, type, {.touch = false, .count_hit = false});
  const uint64_t total = CountedTree(&pages).count();
  const SortRange range = RangeOf(request, total);
  const bool is_set = type == ValueType::kSet;
  *sort = {.descending = request.descending,
           .alpha = request.alpha,
           .unsorted = request.unsorted,
           .first = range.first,
           .count = range.count,
           .ranks = {.first = 0, .end = total},
           .by = {},
           .gets = request.gets,
           .store = request.store,
           .whole = nullptr,
           .again = nullptr};
  // As a set lies, its elements have no order that a result may show.
  if (request.unsorted && is_set && request.store) {
    sort->unsorted = false;
    sort->alpha = true;
  } else if (request.unsorted && is_set) {
    sort->descending = false;
    sort->ranks = {.first = range.first, .end = range.first + range.count};
  } else if (request.unsorted) {
    const uint64_t first = request.descending ? total - range.first - range.count : range.first;
    sort->ranks = {.first = first, .end = first + range.count};
  }
  if (request.by && request.by->names_keys()) sort->by = request.by;
  const auto reading = std::ranges::count_if(request.gets, &SortPattern::names_keys);
  const uint64_t read = static_cast<uint64_t>(reading) * range.count;
  const uint64_t weighed = sort->by ? sort->ranks.size() : 0;
  return sort->ranks.size() + read + weighed >= kManySortedElements;
}

template <Variant kVariant>
void RunWhole(CommandContext& context) {
  Request request;
  if (!ParseOr(context, kVariant, &request)) return;
  std::make_shared<SortRun>(std::move(request))->Step(context);
}

template <Variant kVariant>
bool PlanSlicesAgain(CommandContext& context, SlicedSort* sort) {
  Request request;
  if (!ParseOr(context, kVariant, &request) || !PlanSlices(context, request, sort)) return false;
  sort->whole = RunWhole<kVariant>;
  sort->again = PlanSlicesAgain<kVariant>;
  return true;
}

template <Variant kVariant>
void Run(CommandContext& context) {
  Request request;
  if (!ParseOr(context, kVariant, &request)) return;
  SlicedSort sort;
  if (!RunsAtomically(context) && PlanSlices(context, request, &sort)) {
    sort.whole = RunWhole<kVariant>;
    sort.again = PlanSlicesAgain<kVariant>;
    return SortInSlices(context, std::move(sort));
  }
  std::make_shared<SortRun>(std::move(request))->Step(context);
}

}  // namespace

bool ParseSortWeight(std::string_view text, double* weight) {
  int64_t integer;
  if (ParseInteger(text, &integer)) {
    *weight = static_cast<double>(integer);
    return true;
  }
  const std::string copy(UpToNul(text));
  char* end = nullptr;
  errno = 0;
  *weight = std::strtod(copy.c_str(), &end);
  return *end == '\0' && errno != ERANGE && !std::isnan(*weight);
}

void SortCommand(CommandContext& context) { Run<Variant::kFull>(context); }
void SortReadOnlyCommand(CommandContext& context) { Run<Variant::kReadOnly>(context); }

}  // namespace firn::server
