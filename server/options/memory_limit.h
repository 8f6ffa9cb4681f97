// How much memory this process may count on.
#pragma once

#include <cstdint>
#include <string>

namespace firn::server {

// The smallest of: the machine's memory, and the limits of the process's cgroup and of those above
// it, of version 1 and version 2. Unreadable files limit nothing; 0 if nothing could be read.
//
// `root` is put before every path (/proc/meminfo, /proc/self/cgroup, /proc/self/mountinfo, and the
// mounts named there), so that tests can describe a machine as a tree of files.
uint64_t UsableMemoryBytes(const std::string& root = "");

}  // namespace firn::server
