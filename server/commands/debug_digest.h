// DEBUG DIGEST and DIGEST-VALUE, by the rules of Redis: so one command tells whether two servers
// hold the same data.
#pragma once

#include "server/command.h"

namespace firn::server {

// Walks all databases; values on disk are read a few at a time and stay where they are.
void DigestOfEverything(CommandContext& context);
// Of the keys from the third argument on.
void DigestOfValues(CommandContext& context);

}  // namespace firn::server
