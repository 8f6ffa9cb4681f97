// Geo commands that add members and look at single ones. A geo value is a sorted set.
#include "server/commands/geo.h"

#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "engine/types/string_ops.h"
#include "server/blocking.h"
#include "server/commands/geo_common.h"
#include "server/commands/zset_common.h"

namespace firn::server {

using Lookup = ZsetValue::Lookup;
using Use = OpenZset::Use;

bool ParseGeoPointOr(CommandContext& context, const PointTexts& texts, GeoPoint* point) {
  if (!ParseScoreOr(context, texts.longitude, &point->longitude)) return false;
  if (!ParseScoreOr(context, texts.latitude, &point->latitude)) return false;
  if (IsGeoPoint(*point)) return true;
  // The longest number has 309 digits before its point.
  char text[768];
  std::snprintf(text, sizeof text, "ERR invalid longitude,latitude pair %f,%f", point->longitude,
                point->latitude);
  context.reply.Error(text);
  return false;
}

bool ParseGeoUnitOr(CommandContext& context, std::string_view text, double* metres) {
  struct Unit {
    std::string_view name;
    double metres;
  };
  constexpr Unit kUnits[] = {{"m", 1}, {"km", 1000}, {"ft", 0.3048}, {"mi", 1609.34}};
  for (const Unit& unit : kUnits) {
    if (!EqualsIgnoreCase(text, unit.name)) continue;
    *metres = unit.metres;
    return true;
  }
  context.reply.Error("ERR unsupported unit provided. please use M, KM, FT, MI");
  return false;
}

void ReplyDistance(CommandContext& context, double distance) {
  char text[kMaxDistanceText];
  context.reply.Bulk({text, FormatGeoDistance(distance, text)});
}

void ReplyPoint(CommandContext& context, const GeoPoint& point) {
  context.reply.ArrayHeader(2);
  for (double coordinate : {point.longitude, point.latitude}) {
    const std::string text = FormatLongDouble(coordinate);
    if (context.reply.protocol() > 2) {
      context.reply.Raw("," + text + "\r\n");
    } else {
      context.reply.Bulk(text);
    }
  }
}

namespace {

struct GeoAddRequest {
  ZsetValue::AddOptions options;
  bool count_changed = false;
  std::vector<ZsetElement> elements;
};

bool ParseGeoAddOr(CommandContext& context, GeoAddRequest* request) {
  std::span<const std::string_view> args = context.args;
  ZsetValue::AddOptions& options = request->options;
  size_t at = 2;
  for (; at < args.size(); ++at) {
    if (EqualsIgnoreCase(args[at], "nx")) {
      options.only_new = true;
    } else if (EqualsIgnoreCase(args[at], "xx")) {
      options.only_existing = true;
    } else if (EqualsIgnoreCase(args[at], "ch")) {
      request->count_changed = true;
    } else {
      break;
    }
  }
  if (at == args.size() || (args.size() - at) % 3 != 0 ||
      (options.only_new && options.only_existing)) {
    context.reply.Error(kSyntaxError);
    return false;
  }
  request->elements.reserve((args.size() - at) / 3);
  for (; at < args.size(); at += 3) {
    GeoPoint point;
    if (!ParseGeoPointOr(context, {args[at], args[at + 1]}, &point)) return false;
    request->elements.push_back({.member = args[at + 2], .score = GeoScore(point)});
  }
  return true;
}

// False if pages are missing, or the type is wrong, which is answered.
bool AddAll(CommandContext& context, const GeoAddRequest& request, int64_t* added,
            int64_t* changed) {
  OpenZset zset(context, context.key(), Use::kWrite);
  if (!zset.CheckType(context)) return false;
  ZsetValue& value = zset.value();
  const bool several = request.elements.size() > 1;
  if (several) {
    bool all = true;
    for (const ZsetElement& element : request.elements) {
      all &= value.WantAdd(element, request.options);
    }
    if (!all) return false;
    value.BeginBatch();
  }
  ZsetLimits limits = ZsetLimitsOf(context);
  // Redis looks at the number given, whether or not they name different members.
  if (request.elements.size() > limits.max_listpack_entries) limits.max_listpack_entries = 0;
  for (const ZsetElement& element : request.elements) {
    switch (value.Add(element, request.options, limits)) {
      case ZsetValue::AddResult::kMissing:
        return false;
      case ZsetValue::AddResult::kAdded:
        ++*added;
        break;
      case ZsetValue::AddResult::kChanged:
        ++*changed;
        break;
      default:
        break;
    }
  }
  if (several) value.EndBatch();
  return true;
}

// The scores of members, none for absent ones; false if pages are missing.
bool FindScores(OpenZset& zset, std::span<const std::string_view> members,
                std::vector<std::optional<double>>* scores) {
  scores->resize(members.size());
  bool all = true;
  for (size_t i = 0; i < members.size(); ++i) {
    double score;
    const Lookup lookup = zset.value().Score(members[i], &score);
    all &= lookup != Lookup::kMissing;
    if (lookup == Lookup::kPresent) (*scores)[i] = score;
  }
  return all;
}

}  // namespace

void GeoAddCommand(CommandContext& context) {
  GeoAddRequest request;
  if (!ParseGeoAddOr(context, &request)) return;
  int64_t added = 0;
  int64_t changed = 0;
  if (!AddAll(context, request, &added, &changed)) return;
  context.reply.Integer(added + (request.count_changed ? changed : 0));
  if (added + changed == 0) return;
  NoteZsetChange(context, context.key(), "zadd", false);
  if (added > 0) SignalReady(context, context.key());
}

void GeoDistCommand(CommandContext& context) {
  std::span<const std::string_view> args = context.args;
  double unit = 1;
  if (args.size() == 5 && !ParseGeoUnitOr(context, args[4], &unit)) return;
  if (args.size() > 5) return context.reply.Error(kSyntaxError);
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  double first = 0;
  double second = 0;
  const Lookup found = zset.value().Score(args[2], &first);
  const Lookup found_second = zset.value().Score(args[3], &second);
  if (found == Lookup::kMissing || found_second == Lookup::kMissing) return;
  if (found == Lookup::kAbsent || found_second == Lookup::kAbsent) return context.reply.Null();
  ReplyDistance(context, GeoDistance(GeoPointOf(first), GeoPointOf(second)) / unit);
}

void GeoHashCommand(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  std::vector<std::optional<double>> scores;
  if (!FindScores(zset, context.args.subspan(2), &scores)) return;
  context.reply.ArrayHeader(static_cast<int64_t>(scores.size()));
  for (const std::optional<double>& score : scores) {
    if (!score.has_value()) {
      context.reply.Null();
      continue;
    }
    const auto text = GeoHashText(GeoPointOf(*score));
    context.reply.Bulk({text.data(), text.size()});
  }
}

void GeoPosCommand(CommandContext& context) {
  OpenZset zset(context, context.key(), Use::kRead);
  if (!zset.CheckType(context)) return;
  std::vector<std::optional<double>> scores;
  if (!FindScores(zset, context.args.subspan(2), &scores)) return;
  context.reply.ArrayHeader(static_cast<int64_t>(scores.size()));
  for (const std::optional<double>& score : scores) {
    if (score.has_value()) {
      ReplyPoint(context, GeoPointOf(*score));
    } else {
      context.reply.NullArray();
    }
  }
}

}  // namespace firn::server
