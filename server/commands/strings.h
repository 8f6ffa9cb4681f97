// The functions of the string commands; the rows that name them are in string_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

struct ParsedRequest;

void AppendCommand(CommandContext& context);
// Several requests of one pipeline for one string, each with a reply of its own (dispatcher.h).
bool MergedAppend(CommandContext& context, std::span<const ParsedRequest> requests);
void DecrCommand(CommandContext& context);
void DecrByCommand(CommandContext& context);
void GetCommand(CommandContext& context);
void GetDelCommand(CommandContext& context);
void GetExCommand(CommandContext& context);
void GetRangeCommand(CommandContext& context);
void GetSetCommand(CommandContext& context);
void IncrCommand(CommandContext& context);
void IncrByCommand(CommandContext& context);
void IncrByFloatCommand(CommandContext& context);
void LcsCommand(CommandContext& context);
void MGetCommand(CommandContext& context);
void MSetCommand(CommandContext& context);
void MSetNxCommand(CommandContext& context);
void PSetExCommand(CommandContext& context);
void SetCommand(CommandContext& context);
void SetExCommand(CommandContext& context);
void SetNxCommand(CommandContext& context);
void SetRangeCommand(CommandContext& context);
void StrLenCommand(CommandContext& context);

// What SET and GETEX want of their key depends on their options.
Access SetAccess(std::span<const std::string_view> args, const KeySpec& spec);
Access GetExAccess(std::span<const std::string_view> args, const KeySpec& spec);

}  // namespace firn::server
