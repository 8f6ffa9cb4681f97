// The functions of the geo commands; the rows that name them are in geo_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void GeoAddCommand(CommandContext& context);
void GeoDistCommand(CommandContext& context);
void GeoHashCommand(CommandContext& context);
void GeoPosCommand(CommandContext& context);
void GeoRadiusByMemberCommand(CommandContext& context);
void GeoRadiusByMemberRoCommand(CommandContext& context);
void GeoRadiusCommand(CommandContext& context);
void GeoRadiusRoCommand(CommandContext& context);
void GeoSearchCommand(CommandContext& context);
void GeoSearchStoreCommand(CommandContext& context);

}  // namespace firn::server
