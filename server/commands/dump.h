// The functions of the commands that carry values in Redis' dump format; the rows that name them
// are in dump_rows.cc.
#pragma once

#include <cstdint>
#include <string>

#include "server/command.h"

namespace firn::server {

void DumpCommand(CommandContext& context);
void MigrateCommand(CommandContext& context);
void RestoreCommand(CommandContext& context);

// What DUMP gives of a key. REQUIRES: planned with kRead.
enum class Dumped : uint8_t { kYes, kMissing, kAbsent };
Dumped DumpKey(CommandContext& context, const HashedKey& key, std::string* payload);

}  // namespace firn::server
