// What the files of COMMAND's subcommands share.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "server/command.h"

namespace firn::server {

// By a name such as "get" or "config|get", whatever its case; null if there is no such command.
const Command* FindCommandByFullName(const CommandTable& table, std::string_view name);
// Of AclCategory: the row's categories with those that its flags imply.
uint64_t AclCategoriesOf(const Command& command);
// Of KeyFlag: what this very call does to a key, where the spec says that it depends on the
// arguments.
uint64_t KeyFlagsOfUse(const Command& command, std::span<const std::string_view> args,
                       const KeySpec& spec);
// COMMAND DOCS.
void CommandDocs(CommandContext& context);

}  // namespace firn::server
