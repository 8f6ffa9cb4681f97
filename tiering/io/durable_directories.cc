#include "tiering/io/durable_directories.h"

#include <vector>

namespace firn::io {

Status CreateDurableDirectories(FileSystem* files, const std::string& directory) {
  std::vector<std::string> parents;  // of what is new, the lowest first
  std::string path = directory;
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  while (path.size() > 1 && !files->Exists(path)) {
    const size_t slash = path.rfind('/');
    if (slash == std::string::npos) {
      path = ".";
    } else {
      path.resize(slash == 0 ? 1 : slash);
    }
    parents.push_back(path);
    if (path == ".") break;
  }
  FIRN_RETURN_IF_ERROR(files->CreateDirectories(directory));
  for (const std::string& parent : parents) FIRN_RETURN_IF_ERROR(files->SyncDirectory(parent));
  return {};
}

}  // namespace firn::io
