// MONITOR and LATENCY: their functions; the rows that name them are in observation_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void MonitorCommand(CommandContext& context);
void LatencyDoctorCommand(CommandContext& context);
void LatencyGraphCommand(CommandContext& context);
void LatencyHelpCommand(CommandContext& context);
void LatencyHistogramCommand(CommandContext& context);
void LatencyHistoryCommand(CommandContext& context);
void LatencyLatestCommand(CommandContext& context);
void LatencyResetCommand(CommandContext& context);

}  // namespace firn::server
