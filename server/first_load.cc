#include "server/first_load.h"

#include "server/aof_load.h"
#include "tiering/identity.h"

namespace firn::server {

Status FirstLoad::Prepare() {
  if (files_.Exists(MarkPath())) FIRN_RETURN_IF_ERROR(Abandon());
  const auto identity = ReadIdentity(&files_, directory_);
  if (!identity && identity.error().code() != StatusCode::kNotFound) return identity.error();
  // Data that is not durable begins anew with every start.
  if (identity && identity->durable) return {};
  if (!names_.aof_name.empty()) {
    auto found = FindAofFiles(
        &files_, {.directory = directory_, .folder = names_.aof_folder, .name = names_.aof_name});
    if (!found) return found.error();
    aof_paths_ = std::move(*found);
  }
  due_ = !aof_paths_.empty() || files_.Exists(rdb_path_);
  if (!due_) return {};
  auto mark = files_.Open(MarkPath(), {.create = true});
  if (!mark) return mark.error();
  FIRN_RETURN_IF_ERROR((*mark)->Sync());
  return files_.SyncDirectory(directory_);
}

Status FirstLoad::Finish() {
  FIRN_RETURN_IF_ERROR(files_.Remove(MarkPath()));
  return files_.SyncDirectory(directory_);
}

Status FirstLoad::Abandon() {
  FIRN_RETURN_IF_ERROR(Wipe());
  return Finish();
}

// The identity last: without it nothing may be left.
Status FirstLoad::Wipe() {
  for (const char* part : {"/log", "/index"}) {
    const std::string folder = directory_ + part;
    if (!files_.Exists(folder)) continue;
    const auto names = files_.List(folder);
    if (!names) return names.error();
    for (const std::string& name : *names) {
      FIRN_RETURN_IF_ERROR(files_.Remove(folder + "/" + name));
    }
    FIRN_RETURN_IF_ERROR(files_.SyncDirectory(folder));
    FIRN_RETURN_IF_ERROR(files_.RemoveDirectory(folder));
  }
  const std::string identity = directory_ + "/IDENTITY";
  if (files_.Exists(identity)) FIRN_RETURN_IF_ERROR(files_.Remove(identity));
  return files_.SyncDirectory(directory_);
}

}  // namespace firn::server
