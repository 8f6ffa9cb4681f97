// CLIENT and COMMAND: their rows, and what connection.cc shares with them.
#pragma once

#include <span>
#include <string_view>

#include "server/command.h"

namespace firn::server {

std::span<const Command> ClientSubcommands();
std::span<const Command> CommandSubcommands();
void CommandCommand(CommandContext& context);
void ClientGetNameCommand(CommandContext& context);
void ClientHelpCommand(CommandContext& context);
void ClientIdCommand(CommandContext& context);
void ClientInfoCommand(CommandContext& context);
void ClientKillCommand(CommandContext& context);
void ClientListCommand(CommandContext& context);
void ClientNoEvictCommand(CommandContext& context);
void ClientNoTouchCommand(CommandContext& context);
void ClientPauseCommand(CommandContext& context);
void ClientReplyCommand(CommandContext& context);
void ClientSetInfoCommand(CommandContext& context);
void ClientSetNameCommand(CommandContext& context);
void ClientUnblockCommand(CommandContext& context);
void ClientUnpauseCommand(CommandContext& context);
void ClientCachingCommand(CommandContext& context);
void ClientGetRedirCommand(CommandContext& context);
void ClientTrackingCommand(CommandContext& context);
void ClientTrackingInfoCommand(CommandContext& context);
// Answers with an error and returns false if it can't be a client's name.
bool CheckClientName(CommandContext& context, std::string_view name);

}  // namespace firn::server
