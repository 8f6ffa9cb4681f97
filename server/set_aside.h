// What a start without durability does with the durable data of its directory, once CONFIG SET
// appendonly no has said that it may leave it behind: the data is moved to a directory of its own
// in there, which a server can be started on, as Redis leaves its append-only files where they are.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn::server {

inline constexpr const char* kAsideName = "before-appendonly-no";

// Before the store is opened. Goes on with a move that was interrupted; begins one if `durable` is
// false and the directory's data may be left. `*moved` tells whether there was one. What was set
// aside before goes. Blocking.
Status SetAside(io::FileSystem* files, const std::string& directory, bool durable, bool* moved);

}  // namespace firn::server
