// The commands on scripts and functions, for their rows.
#pragma once

#include "server/command.h"

namespace firn::server {

void EvalCommand(CommandContext& context);
void EvalRoCommand(CommandContext& context);
void EvalShaCommand(CommandContext& context);
void EvalShaRoCommand(CommandContext& context);
void FcallCommand(CommandContext& context);
void FcallRoCommand(CommandContext& context);

void ScriptDebugCommand(CommandContext& context);
void ScriptExistsCommand(CommandContext& context);
void ScriptFlushCommand(CommandContext& context);
void ScriptHelpCommand(CommandContext& context);
void ScriptKillCommand(CommandContext& context);
void ScriptLoadCommand(CommandContext& context);

void FunctionDeleteCommand(CommandContext& context);
void FunctionDumpCommand(CommandContext& context);
void FunctionFlushCommand(CommandContext& context);
void FunctionHelpCommand(CommandContext& context);
void FunctionKillCommand(CommandContext& context);
void FunctionListCommand(CommandContext& context);
void FunctionLoadCommand(CommandContext& context);
void FunctionRestoreCommand(CommandContext& context);
void FunctionStatsCommand(CommandContext& context);

}  // namespace firn::server
