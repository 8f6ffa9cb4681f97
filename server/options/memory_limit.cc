#include "server/options/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

namespace firn::server {
namespace {

// Version 1 writes "no limit" as the largest multiple of the page size; nothing real is near it.
constexpr uint64_t kNoLimit = uint64_t{1} << 60;
constexpr uint64_t kKiB = 1024;

enum class CgroupVersion { kOne, kTwo };

struct Mount {
  CgroupVersion version;
  std::string root;   // the cgroup that appears at `point`
  std::string point;  // where it is mounted
};

bool ListContains(std::string_view list, std::string_view item) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (list.substr(0, comma) == item) {
      return true;
    }
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

uint64_t MachineMemory(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    uint64_t kib = 0;
    if (fields >> name >> kib && name == "MemTotal:") {
      return kib * kKiB;
    }
  }
  return kNoLimit;
}

// A line is "id parent major:minor ROOT POINT options [optional fields] - TYPE source OPTIONS".
std::vector<Mount> CgroupMounts(const std::string& root) {
  std::vector<Mount> mounts;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string skipped, mount_root, point, type, source, options;
    fields >> skipped >> skipped >> skipped >> mount_root >> point;
    while (fields >> skipped && skipped != "-") {
    }
    fields >> type >> source >> options;
    if (type == "cgroup2") {
      mounts.push_back({CgroupVersion::kTwo, mount_root, point});
    } else if (type == "cgroup" && ListContains(options, "memory")) {
      mounts.push_back({CgroupVersion::kOne, mount_root, point});
    }
  }
  return mounts;
}

// The path of the process's cgroup in the hierarchy of this version. A line of the file is
// "number:controllers:PATH"; version 2 has number 0 and no controllers.
std::optional<std::string> CgroupPath(const std::string& root, CgroupVersion version) {
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    const bool found =
        version == CgroupVersion::kTwo ? controllers.empty() : ListContains(controllers, "memory");
    if (found) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

uint64_t ReadLimit(const std::string& path) {
  std::ifstream file(path);
  uint64_t bytes = 0;
  // "max" is no number, and so is no limit.
  return file >> bytes && bytes < kNoLimit ? bytes : kNoLimit;
}

// Limits hold for all cgroups below, so those between the process's own and the mount count too.
uint64_t CgroupLimit(const std::string& root, const Mount& mount) {
  const std::optional<std::string> path = CgroupPath(root, mount.version);
  if (!path) {
    return kNoLimit;
  }
  // In a container, the mount may begin at the container's own cgroup, or the path may lead outside
  // of what is mounted. Then the top of the mount is the nearest one that can be seen.
  std::string below = mount.root == "/" ? *path : "";
  if (mount.root != "/" && path->starts_with(mount.root)) {
    below = path->substr(mount.root.size());
  }
  if (below.find("..") != std::string::npos) {
    below.clear();
  }
  const char* file =
      mount.version == CgroupVersion::kTwo ? "/memory.max" : "/memory.limit_in_bytes";
  uint64_t limit = kNoLimit;
  for (;;) {
    while (below.ends_with('/')) {
      below.pop_back();
    }
    limit = std::min(limit, ReadLimit(root + mount.point + below + file));
    if (below.empty()) {
      return limit;
    }
    below.erase(below.rfind('/') == std::string::npos ? 0 : below.rfind('/'));
  }
}

}  // namespace

uint64_t UsableMemoryBytes(const std::string& root) {
  uint64_t bytes = MachineMemory(root);
  for (const Mount& mount : CgroupMounts(root)) {
    bytes = std::min(bytes, CgroupLimit(root, mount));
  }
  return bytes == kNoLimit ? 0 : bytes;
}

}  // namespace firn::server
