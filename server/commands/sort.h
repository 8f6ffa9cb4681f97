// The functions of SORT; the rows that name them are in sort_rows.cc.
#pragma once

#include <string_view>

#include "server/command.h"

namespace firn::server {

// The number that an element is sorted by. As strtod reads the text up to the first NUL; spaces may
// lead, and nothing is zero. False: it is none.
bool ParseSortWeight(std::string_view text, double* weight);

void SortCommand(CommandContext& context);
void SortReadOnlyCommand(CommandContext& context);

}  // namespace firn::server
