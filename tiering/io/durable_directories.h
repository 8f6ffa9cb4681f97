// Directories whose own names survive a power cut.
#pragma once

#include <string>

#include "engine/base/status.h"
#include "tiering/io/file.h"

namespace firn::io {

// As CreateDirectories; and what was made is durable, its name in the directory above included.
// Blocking; any thread.
Status CreateDurableDirectories(FileSystem* files, const std::string& directory);

}  // namespace firn::io
