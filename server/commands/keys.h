// The functions of the key commands; the rows that name them are in key_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void CopyCommand(CommandContext& context);
void DbSizeCommand(CommandContext& context);
void DelCommand(CommandContext& context);
void ExistsCommand(CommandContext& context);
void ExpireCommand(CommandContext& context);
void ExpireAtCommand(CommandContext& context);
void ExpireTimeCommand(CommandContext& context);
void FlushAllCommand(CommandContext& context);
void FlushDbCommand(CommandContext& context);
void KeysCommand(CommandContext& context);
void MoveCommand(CommandContext& context);
void ObjectEncodingCommand(CommandContext& context);
void ObjectFreqCommand(CommandContext& context);
void ObjectHelpCommand(CommandContext& context);
void ObjectIdleTimeCommand(CommandContext& context);
void ObjectRefCountCommand(CommandContext& context);
void PersistCommand(CommandContext& context);
void PExpireCommand(CommandContext& context);
void PExpireAtCommand(CommandContext& context);
void PExpireTimeCommand(CommandContext& context);
void PTtlCommand(CommandContext& context);
void RandomKeyCommand(CommandContext& context);
void RenameCommand(CommandContext& context);
void RenameNxCommand(CommandContext& context);
void ScanCommand(CommandContext& context);
void SwapDbCommand(CommandContext& context);
void TouchCommand(CommandContext& context);
void TtlCommand(CommandContext& context);
void TypeCommand(CommandContext& context);
void UnlinkCommand(CommandContext& context);
void WaitAofCommand(CommandContext& context);
void WaitCommand(CommandContext& context);

}  // namespace firn::server
