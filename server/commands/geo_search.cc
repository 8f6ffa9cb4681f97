// GEOSEARCH and its older forms.
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "server/commands/geo.h"
#include "server/commands/geo_common.h"
#include "server/commands/zset_common.h"

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
  bool from_member = false;
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
Parsed FindMember(CommandContext& context, OpenZset& zset, std::string_view member,
                  GeoPoint* point) {
  double score;
  switch (zset.value().Score(member, &score)) {
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
    return FindMember(context, zset, args[next], &search->shape.center);
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
      if (Parsed parsed = FindMember(context, zset, args[2], &search->shape.center);
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

  // False if pages are missing.
  bool Find(ZsetValue& value) {
    if (limit_ != 0) return FindSome(value);
    RankRange ranks[9];
    const size_t squares = cover_.squares().size();
    bool all = true;
    for (size_t i = 0; i < squares; ++i) all &= Ranks(value, cover_.squares()[i], &ranks[i]);
    if (!all) return false;
    for (size_t i = 0; i < squares; ++i) all &= value.Want(ranks[i]);
    if (!all) return false;
    for (size_t i = 0; i < squares; ++i) Collect(value, ranks[i]);
    return true;
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
    value.ForEach(ranks, [&](const ZsetElement& element) {
      if (enough()) return;
      Match match{
          .member = element.member, .score = element.score, .point = GeoPointOf(element.score)};
      if (filter_.Contains(match.point, &match.metres)) matches_.push_back(match);
    });
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

void ReplyMatches(CommandContext& context, const Search& search, std::span<const Match> matches) {
  if (!CheckSize(context, matches)) return;
  const int extras = search.with_distance + search.with_hash + search.with_point;
  context.reply.ArrayHeader(static_cast<int64_t>(matches.size()));
  for (const Match& match : matches) {
    if (extras > 0) context.reply.ArrayHeader(extras + 1);
    context.reply.Bulk(match.member);
    if (search.with_distance) {
      ReplyDistance(context, match.metres / search.shape.unit_metres);
    }
    if (search.with_hash) context.reply.Integer(static_cast<int64_t>(match.score));
    if (search.with_point) ReplyPoint(context, match.point);
  }
}

// The target among the planned keys, which it is one of.
const HashedKey& TargetKey(const CommandContext& context, const Search& search) {
  const std::string_view name = context.args[search.store_argument];
  for (const KeyAccess& access : context.keys) {
    if (access.key.bytes == name) return access.key;
  }
  CHECK_MSG(false, "the target of a search had not been planned");
}

// False if pages are missing. Otherwise either the client has its answer, or `stored` what is to be
// stored.
bool Find(CommandContext& context, const SearchForm& form, Search* search,
          std::optional<ElementCopies>* stored) {
  const HashedKey& source = context.key(form.stores ? 1 : 0);
  OpenZset zset(context, source, Use::kRead);
  if (!zset.CheckType(context)) return true;
  const Parsed parsed = ParseSearch(context, zset, form, search);
  if (parsed != Parsed::kYes) return parsed == Parsed::kNo;
  const bool stores = search->store_argument != 0;
  if (!zset.exists()) {
    if (!stores) context.reply.EmptyArray();
    if (stores) stored->emplace();
    return true;
  }
  if (search->count != 0 && search->order == Order::kNone && !search->any) {
    search->order = Order::kNearest;
  }
  Finder finder(*search);
  if (!finder.Find(zset.value())) return false;
  std::vector<Match>& matches = finder.matches();
  const size_t wanted = search->count == 0
                            ? matches.size()
                            : std::min<size_t>(matches.size(), static_cast<size_t>(search->count));
  Sort(search->order, wanted, &matches);
  const auto given = std::span<const Match>(matches).first(wanted);
  if (!stores) {
    ReplyMatches(context, *search, given);
    return true;
  }
  if (!CheckSize(context, given)) return true;
  stored->emplace();
  for (const Match& match : given) {
    const double score =
        search->store_distances ? match.metres / search->shape.unit_metres : match.score;
    (*stored)->Add({match.member, score});
  }
  return true;
}

void RunSearch(CommandContext& context, const SearchForm& form) {
  Search search;
  std::optional<ElementCopies> stored;
  if (!Find(context, form, &search, &stored) || !stored.has_value()) return;
  StoreZset(context, TargetKey(context, search), *stored,
            form.stores ? "geosearchstore" : "georadiusstore");
}

}  // namespace

void GeoRadiusCommand(CommandContext& context) {
  RunSearch(context, {.from = SearchForm::From::kPoint, .may_store = true});
}

void GeoRadiusRoCommand(CommandContext& context) {
  RunSearch(context, {.from = SearchForm::From::kPoint});
}

void GeoRadiusByMemberCommand(CommandContext& context) {
  RunSearch(context, {.from = SearchForm::From::kMember, .may_store = true});
}

void GeoRadiusByMemberRoCommand(CommandContext& context) {
  RunSearch(context, {.from = SearchForm::From::kMember});
}

void GeoSearchCommand(CommandContext& context) { RunSearch(context, {}); }

void GeoSearchStoreCommand(CommandContext& context) {
  RunSearch(context, {.stores = true, .source_argument = 2});
}

}  // namespace firn::server
