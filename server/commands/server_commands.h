// The functions of the commands on the server itself; the rows that name them are in
// server_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void BackupToCommand(CommandContext& context);
void BackupHelpCommand(CommandContext& context);
void BgRewriteAofCommand(CommandContext& context);
void BgSaveCommand(CommandContext& context);
void ConfigGetCommand(CommandContext& context);
void ConfigHelpCommand(CommandContext& context);
void ConfigResetStatCommand(CommandContext& context);
void ConfigRewriteCommand(CommandContext& context);
void ConfigSetCommand(CommandContext& context);
void DebugCommand(CommandContext& context);
void InfoCommand(CommandContext& context);
void LastSaveCommand(CommandContext& context);
void LolwutCommand(CommandContext& context);
void MemoryDoctorCommand(CommandContext& context);
void MemoryHelpCommand(CommandContext& context);
void MemoryMallocStatsCommand(CommandContext& context);
void MemoryPurgeCommand(CommandContext& context);
void MemoryStatsCommand(CommandContext& context);
void MemoryUsageCommand(CommandContext& context);
void ModuleHelpCommand(CommandContext& context);
void ModuleListCommand(CommandContext& context);
void ModuleLoadCommand(CommandContext& context);
void ModuleLoadExCommand(CommandContext& context);
void ModuleUnloadCommand(CommandContext& context);
void ReplicaOfCommand(CommandContext& context);
void RoleCommand(CommandContext& context);
void SaveCommand(CommandContext& context);
void ShutdownCommand(CommandContext& context);
void SlowLogGetCommand(CommandContext& context);
void SlowLogHelpCommand(CommandContext& context);
void SlowLogLenCommand(CommandContext& context);
void SlowLogResetCommand(CommandContext& context);
void TimeCommand(CommandContext& context);
// CLUSTER with any subcommand: there is no cluster here.
void ClusterCommand(CommandContext& context);

}  // namespace firn::server
