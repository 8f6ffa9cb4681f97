// GEOSEARCH and its older forms.
#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "server/commands/geo.h"
#include "server/commands/geo_common.h"
#include "server/commands/zset_common.h"
#include "server/commands/zset_slices.h"

namespace firn::server {
namespace {

using Use = OpenZset::Use;

enum class Order : uint8_t { kNone, kNearest, kFarthest };

// The five commands differ in where things stand, and in which options they have.
struct SearchForm {
  enum class From : uint8_t { kPoint, kMember, kOptions };
  From from = From::kOptions;
  bool stores = false;     // GEOSEARCHSTORE
  bool may_store = false;  // STORE and STOREDIST with a key
  size_t source_argument = 1;
  // The command in one go.
  CommandFunction whole = nullptr;
};

struct Search {
  GeoShape shape;
  Order order = Order::kNone;
  bool with_distance = false;
  bool with_hash = false;
  bool with_point = false;
  bool any = false;
  int64_t count = 0;          // 0: all
  size_t store_argument = 0;  // place of the target's name; 0: none
  bool store_distances = false;
  bool from_member = false;                // FROMMEMBER
  std::optional<std::string_view> member;  // where the centre is, if it is one's place
  bool from_point = false;
  bool by_radius = false;
  bool by_box = false;
};

struct Match {
  std::string_view member;
  double score = 0;
  GeoPoint point;
  double metres = 0;
};

enum class Parsed : uint8_t { kYes, kNo, kMissing };

bool ParseRadiusOr(CommandContext& context, size_t at, GeoShape* shape) {
  shape->kind = GeoShape::Kind::kCircle;
  if (!ParseScoreOr(context, context.args[at], &shape->radius, "ERR need numeric radius")) {
    return false;
  }
  if (shape->radius < 0) {
    context.reply.Error("ERR radius cannot be negative");
    return false;
  }
  return ParseGeoUnitOr(context, context.args[at + 1], &shape->unit_metres);
}

bool ParseBoxOr(CommandContext& context, size_t at, GeoShape* shape) {
  shape->kind = GeoShape::Kind::kBox;
  if (!ParseScoreOr(context, context.args[at], &shape->width, "ERR need numeric width")) {
    return false;
  }
  if (!ParseScoreOr(context, context.args[at + 1], &shape->height, "ERR need numeric height")) {
    return false;
  }
  if (shape->width < 0 || shape->height < 0) {
    context.reply.Error("ERR height or width cannot be negative");
    return false;
  }
  return ParseGeoUnitOr(context, context.args[at + 2], &shape->unit_metres);
}

// The centre is where a member is.
Parsed FindMember(CommandContext& context, ZsetValue& zset, std::string_view member,
                  GeoPoint* point) {
  double score;
  switch (zset.Score(member, &score)) {
    case ZsetValue::Lookup::kMissing:
      return Parsed::kMissing;
    case ZsetValue::Lookup::kAbsent:
      context.reply.Error("ERR could not decode requested zset member");
      return Parsed::kNo;
    case ZsetValue::Lookup::kPresent:
      *point = GeoPointOf(score);
      return Parsed::kYes;
  }
  return Parsed::kNo;
}

bool ParseCountOr(CommandContext& context, std::string_view text, int64_t* count) {
  if (!ParseIntegerOr(context, text, count)) return false;
  if (*count > 0) return true;
  context.reply.Error("ERR COUNT must be > 0");
  return false;
}

// A word without arguments.
bool ParseFlag(std::string_view text, const SearchForm& form, Search* search) {
  if (EqualsIgnoreCase(text, "withdist")) return search->with_distance = true;
  if (EqualsIgnoreCase(text, "withhash")) return search->with_hash = true;
  if (EqualsIgnoreCase(text, "withcoord")) return search->with_point = true;
  if (EqualsIgnoreCase(text, "any")) return search->any = true;
  if (EqualsIgnoreCase(text, "asc") || EqualsIgnoreCase(text, "desc")) {
    search->order = text.size() == 3 ? Order::kNearest : Order::kFarthest;
    return true;
  }
  if (form.stores && EqualsIgnoreCase(text, "storedist")) return search->store_distances = true;
  return false;
}

// The word at args[*at] and its arguments; *at moves to the last of them.
Parsed ParseOption(CommandContext& context, OpenZset& zset, const SearchForm& form, size_t* at,
                   Search* search) {
  std::span<const std::string_view> args = context.args;
  const std::string_view word = args[*at];
  const size_t left = args.size() - *at - 1;
  const size_t next = *at + 1;
  const bool options = form.from == SearchForm::From::kOptions;
  auto result = [](bool parsed) { return parsed ? Parsed::kYes : Parsed::kNo; };
  if (ParseFlag(word, form, search)) return Parsed::kYes;
  if (EqualsIgnoreCase(word, "count") && left >= 1) {
    *at += 1;
    return result(ParseCountOr(context, args[next], &search->count));
  }
  const bool stores = EqualsIgnoreCase(word, "store");
  if (form.may_store && left >= 1 && (stores || EqualsIgnoreCase(word, "storedist"))) {
    *at += 1;
    search->store_argument = next;
    search->store_distances = !stores;
    return Parsed::kYes;
  }
  if (options && EqualsIgnoreCase(word, "frommember") && left >= 1 && !search->from_point) {
    *at += 1;
    search->from_member = true;
    if (!zset.exists()) return Parsed::kYes;
    search->member = args[next];
    return FindMember(context, zset.value(), args[next], &search->shape.center);
  }
  if (options && EqualsIgnoreCase(word, "fromlonlat") && left >= 2 && !search->from_member) {
    *at += 2;
    search->from_point = true;
    return result(ParseGeoPointOr(context, {args[next], args[next + 1]}, &search->shape.center));
  }
  if (options && EqualsIgnoreCase(word, "byradius") && left >= 2 && !search->by_box) {
    *at += 2;
    search->by_radius = true;
    return result(ParseRadiusOr(context, next, &search->shape));
  }
  if (options && EqualsIgnoreCase(word, "bybox") && left >= 3 && !search->by_radius) {
    *at += 3;
    search->by_box = true;
    return result(ParseBoxOr(context, next, &search->shape));
  }
  context.reply.Error(kSyntaxError);
  return Parsed::kNo;
}

bool CheckOptions(CommandContext& context, const SearchForm& form, const Search& search) {
  const std::string name(UpToNul(context.args[0]));
  std::string error;
  if (search.store_argument != 0 &&
      (search.with_distance || search.with_hash || search.with_point)) {
    error = std::string(form.stores ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS") +
            " is not compatible with WITHDIST, WITHHASH and WITHCOORD options";
  } else if (form.from == SearchForm::From::kOptions && !search.from_member && !search.from_point) {
    error = "exactly one of FROMMEMBER or FROMLONLAT can be specified for " + name;
  } else if (form.from == SearchForm::From::kOptions && !search.by_radius && !search.by_box) {
    error = "exactly one of BYRADIUS and BYBOX can be specified for " + name;
  } else if (search.any && search.count == 0) {
    error = "the ANY argument requires COUNT argument";
  }
  if (error.empty()) return true;
  context.reply.Error("ERR " + error);
  return false;
}

Parsed ParseSearch(CommandContext& context, OpenZset& zset, const SearchForm& form,
                   Search* search) {
  std::span<const std::string_view> args = context.args;
  size_t at = form.source_argument + 1;
  switch (form.from) {
    case SearchForm::From::kPoint:
      if (!ParseGeoPointOr(context, {args[2], args[3]}, &search->shape.center)) return Parsed::kNo;
      if (!ParseRadiusOr(context, 4, &search->shape)) return Parsed::kNo;
      at = 6;
      break;
    case SearchForm::From::kMember:
      at = 5;
      if (!zset.exists()) break;
      search->member = args[2];
      if (Parsed parsed = FindMember(context, zset.value(), args[2], &search->shape.center);
          parsed != Parsed::kYes) {
        return parsed;
      }
      if (!ParseRadiusOr(context, 3, &search->shape)) return Parsed::kNo;
      break;
    case SearchForm::From::kOptions:
      if (form.stores) search->store_argument = 1;
      break;
  }
  for (; at < args.size(); ++at) {
    Parsed parsed = ParseOption(context, zset, form, &at, search);
    if (parsed != Parsed::kYes) return parsed;
  }
  return CheckOptions(context, form, *search) ? Parsed::kYes : Parsed::kNo;
}

// --- finding

class Finder {
 public:
  explicit Finder(const Search& search) : filter_(search.shape), cover_(search.shape) {
    if (search.any) limit_ = static_cast<uint64_t>(search.count);
  }

  // Where what may match lies. False if pages are missing.
  bool FindRanges(ZsetValue& value, std::vector<RankRange>* ranges) {
    bool all = true;
    for (const GeoScores& square : cover_.squares()) {
      all &= Ranks(value, square, &ranges->emplace_back());
    }
    return all;
  }
  // False as above.
  bool Find(ZsetValue& value) {
    if (limit_ != 0) return FindSome(value);
    std::vector<RankRange> ranges;
    if (!FindRanges(value, &ranges)) return false;
    bool all = true;
    for (const RankRange& range : ranges) all &= value.Want(range);
    if (!all) return false;
    for (const RankRange& range : ranges) Collect(value, range);
    return true;
  }
  void Look(const ZsetElement& element) {
    if (enough()) return;
    Match match{
        .member = element.member, .score = element.score, .point = GeoPointOf(element.score)};
    if (filter_.Contains(match.point, &match.metres)) matches_.push_back(match);
  }

  std::vector<Match>& matches() { return matches_; }

 private:
  static bool Ranks(ZsetValue& value, const GeoScores& square, RankRange* ranks) {
    return value.Ranks({.min = square.min, .max = square.max, .max_open = true}, ranks);
  }

  bool enough() const { return limit_ != 0 && matches_.size() >= limit_; }

  // Stops at the limit, so that no more pages are wanted than it takes.
  bool FindSome(ZsetValue& value) {
    constexpr uint64_t kStep = 256;
    for (const GeoScores& square : cover_.squares()) {
      if (enough()) return true;
      RankRange ranks;
      if (!Ranks(value, square, &ranks)) return false;
      for (; !ranks.empty() && !enough(); ranks.first += kStep) {
        const RankRange part{ranks.first, std::min(ranks.first + kStep, ranks.end)};
        if (!value.Want(part)) return false;
        Collect(value, part);
      }
    }
    return true;
  }

  void Collect(ZsetValue& value, RankRange ranks) {
    value.ForEach(ranks, [&](const ZsetElement& element) { Look(element); });
  }

  GeoFilter filter_;
  GeoCover cover_;
  uint64_t limit_ = 0;
  std::vector<Match> matches_;
};

void Sort(Order order, size_t wanted, std::vector<Match>* matches) {
  if (order == Order::kNone) return;
  // Few numbers are sorted instead of the matches; equal ones stay in the order of the search.
  struct Place {
    double metres;
    uint32_t index;
  };
  std::vector<Place> places(matches->size());
  const double sign = order == Order::kNearest ? 1 : -1;
  for (uint32_t i = 0; i < places.size(); ++i) places[i] = {sign * (*matches)[i].metres, i};
  auto before = [](const Place& a, const Place& b) {
    return a.metres != b.metres ? a.metres < b.metres : a.index < b.index;
  };
  const auto middle = places.begin() + static_cast<ptrdiff_t>(wanted);
  if (wanted < places.size()) std::nth_element(places.begin(), middle, places.end(), before);
  std::sort(places.begin(), middle, before);
  std::vector<Match> sorted(wanted);
  for (size_t i = 0; i < wanted; ++i) sorted[i] = (*matches)[places[i].index];
  *matches = std::move(sorted);
}

// --- answering

bool CheckSize(CommandContext& context, std::span<const Match> matches) {
  constexpr uint64_t kOverhead = 128;  // of headers, a distance and a point
  const uint64_t limit = MaxReplyBytes(context);
  if (limit == std::numeric_limits<uint64_t>::max()) return true;
  uint64_t bytes = 0;
  for (const Match& match : matches) bytes += match.member.size() + kOverhead;
  if (bytes <= limit) return true;
  context.reply.Error(kOutOfMemoryError);
  return false;
}

void ReplyMatch(CommandContext& context, const Search& search, const Match& match) {
  const int extras = search.with_distance + search.with_hash + search.with_point;
  if (extras > 0) context.reply.ArrayHeader(extras + 1);
  context.reply.Bulk(match.member);
  if (search.with_distance) ReplyDistance(context, match.metres / search.shape.unit_metres);
  if (search.with_hash) context.reply.Integer(static_cast<int64_t>(match.score));
  if (search.with_point) ReplyPoint(context, match.point);
}

void ReplyMatches(CommandContext& context, const Search& search, std::span<const Match> matches) {
  if (!CheckSize(context, matches)) return;
  context.reply.ArrayHeader(static_cast<int64_t>(matches.size()));
  for (const Match& match : matches) ReplyMatch(context, search, match);
}

// The target among the planned keys, which it is one of.
size_t TargetKey(const CommandContext& context, const Search& search) {
  const std::string_view name = context.args[search.store_argument];
  for (size_t i = 0; i < context.keys.size(); ++i) {
    if (context.key(i).bytes == name) return i;
  }
  CHECK_MSG(false, "the target of a search had not been planned");
}

std::string_view StoreEvent(const SearchForm& form) {
  return form.stores ? "geosearchstore" : "georadiusstore";
}

// Sorts what was found, and leaves as many as are wanted.
void ChooseMatches(const Search& search, std::vector<Match>* matches) {
  size_t wanted = matches->size();
  if (search.count != 0) wanted = std::min(wanted, static_cast<size_t>(search.count));
  Sort(search.order, wanted, matches);
  matches->resize(wanted);
}

double StoredScore(const Search& search, const Match& match) {
  return search.store_distances ? match.metres / search.shape.unit_metres : match.score;
}

// --- in slices

// With ANY, what it takes to find a few isn't known before.
bool MayTakeSlices(const CommandContext& context, const Search& search) {
  const bool few = search.any && static_cast<uint64_t>(search.count) < kManyZsetElements;
  return !few && !RunsAtomically(context);
}

bool IsWorthSlices(std::span<const RankRange> ranges) {
  uint64_t elements = 0;
  for (const RankRange& range : ranges) elements += range.size();
  return elements >= kManyZsetElements;
}

// REQUIRES: no object on the source lives.
void FindInSlices(CommandContext& context, const SearchForm& form, const Search& parsed) {
  auto search = std::make_shared<Search>(parsed);
  auto matches = std::make_shared<std::vector<Match>>();
  ZsetCombination combination{
      .ranks =
          [search](CommandContext& context, ZsetValue& value, std::vector<RankRange>* ranges) {
            if (search->member && FindMember(context, value, *search->member,
                                             &search->shape.center) != Parsed::kYes) {
              return false;
            }
            return Finder(*search).FindRanges(value, ranges);
          },
      .choose =
          [search, matches](std::vector<ZsetElement>* elements) {
            Finder finder(*search);
            for (const ZsetElement& element : *elements) finder.Look(element);
            *matches = std::move(finder.matches());
            ChooseMatches(*search, matches.get());
            elements->clear();
            for (const Match& match : *matches) {
              elements->push_back({match.member, StoredScore(*search, match)});
            }
          },
      .use = ZsetCombination::Use::kReply,
      .reply = [search, matches](CommandContext& context,
                                 size_t i) { ReplyMatch(context, *search, (*matches)[i]); },
      .whole = form.whole};
  combination.places = {.target = 0, .source = form.stores ? size_t{1} : size_t{0}};
  if (search->store_argument != 0) {
    combination.use = ZsetCombination::Use::kStore;
    combination.event = StoreEvent(form);
    combination.places->target = TargetKey(context, *search);
  }
  CombineZsetsInSlices(context, std::move(combination));
}

// --- the command

enum class Found : uint8_t { kMissing, kAnswered, kMany, kToStore };

Found Find(CommandContext& context, const SearchForm& form, Search* search, ElementCopies* stored) {
  const HashedKey& source = context.key(form.stores ? 1 : 0);
  OpenZset zset(context, source, Use::kRead);
  if (!zset.CheckType(context)) return Found::kAnswered;
  const Parsed parsed = ParseSearch(context, zset, form, search);
  if (parsed != Parsed::kYes) return parsed == Parsed::kNo ? Found::kAnswered : Found::kMissing;
  const bool stores = search->store_argument != 0;
  if (!zset.exists()) {
    if (!stores) context.reply.EmptyArray();
    return stores ? Found::kToStore : Found::kAnswered;
  }
  if (search->count != 0 && search->order == Order::kNone && !search->any) {
    search->order = Order::kNearest;
  }
  Finder finder(*search);
  if (form.whole != nullptr && MayTakeSlices(context, *search)) {
    std::vector<RankRange> ranges;
    if (!finder.FindRanges(zset.value(), &ranges)) return Found::kMissing;
    if (IsWorthSlices(ranges)) return Found::kMany;
  }
  if (!finder.Find(zset.value())) return Found::kMissing;
  ChooseMatches(*search, &finder.matches());
  const std::span<const Match> given = finder.matches();
  if (!stores) {
    ReplyMatches(context, *search, given);
    return Found::kAnswered;
  }
  if (!CheckSize(context, given)) return Found::kAnswered;
  for (const Match& match : given) stored->Add({match.member, StoredScore(*search, match)});
  return Found::kToStore;
}

void RunSearch(CommandContext& context, const SearchForm& form) {
  Search search;
  ElementCopies stored;
  const Found found = Find(context, form, &search, &stored);
  if (found == Found::kMany) return FindInSlices(context, form, search);
  if (found != Found::kToStore) return;
  StoreZset(context, context.key(TargetKey(context, search)), stored, StoreEvent(form));
}

template <const SearchForm& kForm>
void Run(CommandContext& context) {
  SearchForm form = kForm;
  form.whole = [](CommandContext& context) { RunSearch(context, kForm); };
  RunSearch(context, form);
}

constexpr SearchForm kRadius = {.from = SearchForm::From::kPoint, .may_store = true};
constexpr SearchForm kRadiusReadOnly = {.from = SearchForm::From::kPoint};
constexpr SearchForm kMemberRadius = {.from = SearchForm::From::kMember, .may_store = true};
constexpr SearchForm kMemberRadiusReadOnly = {.from = SearchForm::From::kMember};
constexpr SearchForm kSearch = {};
constexpr SearchForm kSearchStore = {.stores = true, .source_argument = 2};

}  // namespace

void GeoRadiusCommand(CommandContext& context) { Run<kRadius>(context); }
void GeoRadiusRoCommand(CommandContext& context) { Run<kRadiusReadOnly>(context); }
void GeoRadiusByMemberCommand(CommandContext& context) { Run<kMemberRadius>(context); }
void GeoRadiusByMemberRoCommand(CommandContext& context) { Run<kMemberRadiusReadOnly>(context); }
void GeoSearchCommand(CommandContext& context) { Run<kSearch>(context); }
void GeoSearchStoreCommand(CommandContext& context) { Run<kSearchStore>(context); }

}  // namespace firn::server
