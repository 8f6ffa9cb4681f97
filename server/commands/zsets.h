// The functions of the sorted set commands; the rows that name them are in zset_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void BZMPopCommand(CommandContext& context);
void BZPopMaxCommand(CommandContext& context);
void BZPopMinCommand(CommandContext& context);
void ZAddCommand(CommandContext& context);
void ZCardCommand(CommandContext& context);
void ZCountCommand(CommandContext& context);
void ZDiffCommand(CommandContext& context);
void ZDiffStoreCommand(CommandContext& context);
void ZIncrByCommand(CommandContext& context);
void ZInterCardCommand(CommandContext& context);
void ZInterCommand(CommandContext& context);
void ZInterStoreCommand(CommandContext& context);
void ZLexCountCommand(CommandContext& context);
void ZMPopCommand(CommandContext& context);
void ZMScoreCommand(CommandContext& context);
void ZPopMaxCommand(CommandContext& context);
void ZPopMinCommand(CommandContext& context);
void ZRandMemberCommand(CommandContext& context);
void ZRangeByLexCommand(CommandContext& context);
void ZRangeByScoreCommand(CommandContext& context);
void ZRangeCommand(CommandContext& context);
void ZRangeStoreCommand(CommandContext& context);
void ZRankCommand(CommandContext& context);
void ZRemCommand(CommandContext& context);
void ZRemRangeByLexCommand(CommandContext& context);
void ZRemRangeByRankCommand(CommandContext& context);
void ZRemRangeByScoreCommand(CommandContext& context);
void ZRevRangeByLexCommand(CommandContext& context);
void ZRevRangeByScoreCommand(CommandContext& context);
void ZRevRangeCommand(CommandContext& context);
void ZRevRankCommand(CommandContext& context);
void ZScanCommand(CommandContext& context);
void ZScoreCommand(CommandContext& context);
void ZUnionCommand(CommandContext& context);
void ZUnionStoreCommand(CommandContext& context);

}  // namespace firn::server
