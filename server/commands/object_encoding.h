// How values of every type are represented, in Redis' words.
#pragma once

#include <string_view>

#include "tiering/store.h"

namespace firn::server {

// As OBJECT ENCODING has it. Empty for a collection whose root is not in RAM.
std::string_view EncodingName(const Database::ObjectInfo& info);

}  // namespace firn::server
