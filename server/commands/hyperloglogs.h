// The functions of the HyperLogLog commands; the rows that name them are in hyperloglog_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void PfAddCommand(CommandContext& context);
void PfCountCommand(CommandContext& context);
void PfDebugCommand(CommandContext& context);
void PfMergeCommand(CommandContext& context);
void PfSelfTestCommand(CommandContext& context);

}  // namespace firn::server
