// What the geo commands share.
#pragma once

#include <string_view>

#include "engine/types/geo.h"
#include "server/commands/common.h"

namespace firn::server {

// --- arguments; each answers the client with an error and returns false if the text doesn't fit

struct PointTexts {
  std::string_view longitude;
  std::string_view latitude;
};
bool ParseGeoPointOr(CommandContext& context, const PointTexts& texts, GeoPoint* point);
// What one of a unit is in metres.
bool ParseGeoUnitOr(CommandContext& context, std::string_view text, double* metres);

// --- replies

void ReplyDistance(CommandContext& context, double distance);
void ReplyPoint(CommandContext& context, const GeoPoint& point);

}  // namespace firn::server
