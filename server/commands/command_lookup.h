// What the files of COMMAND's subcommands share.
#pragma once

#include <string_view>

#include "server/command.h"

namespace firn::server {

// By a name such as "get" or "config|get", whatever its case; null if there is no such command.
const Command* FindCommandByFullName(const CommandTable& table, std::string_view name);
// COMMAND DOCS.
void CommandDocs(CommandContext& context);

}  // namespace firn::server
