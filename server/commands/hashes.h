// The functions of the hash commands; the rows that name them are in hash_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void HDelCommand(CommandContext& context);
void HExistsCommand(CommandContext& context);
void HExpireCommand(CommandContext& context);
void HExpireAtCommand(CommandContext& context);
void HExpireTimeCommand(CommandContext& context);
void HGetCommand(CommandContext& context);
void HGetAllCommand(CommandContext& context);
void HGetDelCommand(CommandContext& context);
void HGetExCommand(CommandContext& context);
void HIncrByCommand(CommandContext& context);
void HIncrByFloatCommand(CommandContext& context);
void HKeysCommand(CommandContext& context);
void HLenCommand(CommandContext& context);
void HMGetCommand(CommandContext& context);
void HMSetCommand(CommandContext& context);
void HPersistCommand(CommandContext& context);
void HPExpireCommand(CommandContext& context);
void HPExpireAtCommand(CommandContext& context);
void HPExpireTimeCommand(CommandContext& context);
void HPTtlCommand(CommandContext& context);
void HRandFieldCommand(CommandContext& context);
void HScanCommand(CommandContext& context);
void HSetCommand(CommandContext& context);
void HSetExCommand(CommandContext& context);
void HSetNxCommand(CommandContext& context);
void HStrLenCommand(CommandContext& context);
void HTtlCommand(CommandContext& context);
void HValsCommand(CommandContext& context);

}  // namespace firn::server
