// The functions of the bitmap commands; the rows that name them are in bitmap_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

struct ParsedRequest;

void BitCountCommand(CommandContext& context);
void BitFieldCommand(CommandContext& context);
void BitFieldRoCommand(CommandContext& context);
void BitOpCommand(CommandContext& context);
void BitPosCommand(CommandContext& context);
void GetBitCommand(CommandContext& context);
void SetBitCommand(CommandContext& context);
// Runs of them (MergedFunction).
bool MergedGetBit(CommandContext& context, std::span<const ParsedRequest> requests);
bool MergedSetBit(CommandContext& context, std::span<const ParsedRequest> requests);

// What BITFIELD wants of its key: to read it, if it only gets.
Access BitFieldAccess(std::span<const std::string_view> args, const KeySpec& spec);

// Parses the place of a bit, which a string must be able to hold; answers the client if it can't.
bool ParseBitOffsetOr(CommandContext& context, std::string_view text, uint64_t* offset);

}  // namespace firn::server
