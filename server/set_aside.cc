#include "server/set_aside.h"

#include "tiering/identity.h"

namespace firn::server {
namespace {

constexpr const char* kIdentity = "/IDENTITY";
// In the order in which they are moved, behind the identity.
constexpr const char* kParts[] = {"/log", "/index", "/FUNCTIONS"};

Status RemoveFolder(io::FileSystem* files, const std::string& folder) {
  if (!files->Exists(folder)) return Status::Ok();
  auto names = files->List(folder);
  if (!names) return names.error();
  for (const std::string& name : *names) FIRN_RETURN_IF_ERROR(files->Remove(folder + "/" + name));
  return files->RemoveDirectory(folder);
}

// The identity first: what is left can then not be taken for data.
Status RemoveOld(io::FileSystem* files, const std::string& aside) {
  for (const char* name : {kIdentity, "/FUNCTIONS"}) {
    if (files->Exists(aside + name)) FIRN_RETURN_IF_ERROR(files->Remove(aside + name));
  }
  FIRN_RETURN_IF_ERROR(RemoveFolder(files, aside + "/log"));
  return RemoveFolder(files, aside + "/index");
}

Status Sync(io::FileSystem* files, const std::string& directory, const std::string& aside) {
  FIRN_RETURN_IF_ERROR(files->SyncDirectory(aside));
  return files->SyncDirectory(directory);
}

}  // namespace

// The identity is moved first. A directory that has none, with one set aside that has no log yet,
// is amid a move: a directory's own log exists from its first start on.
Status SetAside(io::FileSystem* files, const std::string& directory, bool durable, bool* moved) {
  const std::string aside = directory + "/" + kAsideName;
  *moved = false;
  auto identity = ReadIdentity(files, directory);
  if (!identity && identity.error().code() != StatusCode::kNotFound) return identity.error();
  if (identity && !identity->durable && files->Exists(directory + "/FUNCTIONS")) {
    // Of a switch to durability that was interrupted.
    FIRN_RETURN_IF_ERROR(files->Remove(directory + "/FUNCTIONS"));
  }
  if (identity) {
    if (durable || !identity->durable || !identity->may_be_left) return Status::Ok();
    FIRN_RETURN_IF_ERROR(files->CreateDirectories(aside));
    FIRN_RETURN_IF_ERROR(RemoveOld(files, aside));
    FIRN_RETURN_IF_ERROR(Sync(files, directory, aside));
    FIRN_RETURN_IF_ERROR(files->Rename(directory + kIdentity, aside + kIdentity));
    FIRN_RETURN_IF_ERROR(Sync(files, directory, aside));
  } else if (!files->Exists(aside + kIdentity)) {
    return Status::Ok();
  }
  for (const char* part : kParts) {
    if (files->Exists(aside + part) || !files->Exists(directory + part)) continue;
    FIRN_RETURN_IF_ERROR(files->Rename(directory + part, aside + part));
    *moved = true;
  }
  return *moved ? Sync(files, directory, aside) : Status::Ok();
}

}  // namespace firn::server
