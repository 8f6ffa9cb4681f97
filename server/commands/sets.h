// The functions of the set commands; the rows that name them are in set_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void SAddCommand(CommandContext& context);
void SCardCommand(CommandContext& context);
void SDiffCommand(CommandContext& context);
void SDiffStoreCommand(CommandContext& context);
void SInterCardCommand(CommandContext& context);
void SInterCommand(CommandContext& context);
void SInterStoreCommand(CommandContext& context);
void SIsMemberCommand(CommandContext& context);
void SMIsMemberCommand(CommandContext& context);
void SMembersCommand(CommandContext& context);
void SMoveCommand(CommandContext& context);
void SPopCommand(CommandContext& context);
void SRandMemberCommand(CommandContext& context);
void SRemCommand(CommandContext& context);
void SScanCommand(CommandContext& context);
void SUnionCommand(CommandContext& context);
void SUnionStoreCommand(CommandContext& context);

}  // namespace firn::server
