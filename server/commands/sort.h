// The functions of SORT; the rows that name them are in sort_rows.cc.
#pragma once

#include "server/command.h"

namespace firn::server {

void SortCommand(CommandContext& context);
void SortReadOnlyCommand(CommandContext& context);

}  // namespace firn::server
