#include "server/first_load.h"

#include "server/aof_load.h"
#include "tiering/identity.h"

namespace firn::server {

Status FirstLoad::Prepare() {
  if (files_.Exists(MarkPath())) {
    FIRN_RETURN_IF_ERROR(CheckMark());
    FIRN_RETURN_IF_ERROR(Abandon());
  }
  const auto identity = ReadIdentity(&files_, directory_);
  if (!identity && identity.error().code() != StatusCode::kNotFound) return identity.error();
  // Data that is not durable begins anew with every start.
  const bool has_data = identity && identity->durable;
  if (is_import()) {
    if (has_data) return {};
    aof_paths_ = names_.import_paths;
  } else if (!names_.aof_name.empty()) {
    auto found = FindAofFiles(
        &files_, {.directory = directory_, .folder = names_.aof_folder, .name = names_.aof_name});
    if (has_data) {
      if (found && !found->empty()) passed_over_ = found->back();
      return {};
    }
    if (!found) return found.error();
    aof_paths_ = std::move(*found);
  } else if (has_data) {
    return {};
  }
  due_ = !aof_paths_.empty() || files_.Exists(rdb_path_);
  return due_ ? WriteMark() : Status();
}

// An import's mark names its files, a line each; that of a load of the directory's own is empty.
Status FirstLoad::CheckMark() {
  if (is_import()) return {};
  auto mark = files_.Open(MarkPath(), {.writable = false});
  if (!mark) return mark.error();
  char text[1024];
  auto size = (*mark)->ReadAt(0, text);
  if (!size) return size.error();
  if (*size == 0) return {};
  const std::string_view lines(text, *size);
  return Status::Invalid(directory_ + " holds a part of what firn-convert was to import from " +
                         std::string(lines.substr(0, lines.find('\n'))) +
                         " when it was killed: run it again");
}

Status FirstLoad::WriteMark() {
  auto mark = files_.Open(MarkPath(), {.create = true, .truncate = true});
  if (!mark) return mark.error();
  std::string lines;
  for (const std::string& path : names_.import_paths) lines += path + "\n";
  FIRN_RETURN_IF_ERROR((*mark)->WriteAt(0, lines));
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
  // In a directory that a tool made, the libraries of functions are its work, too.
  for (const char* name : {"/FUNCTIONS", "/IDENTITY"}) {
    if (!is_import() && name == std::string_view("/FUNCTIONS")) continue;
    if (files_.Exists(directory_ + name)) FIRN_RETURN_IF_ERROR(files_.Remove(directory_ + name));
  }
  return files_.SyncDirectory(directory_);
}

}  // namespace firn::server
