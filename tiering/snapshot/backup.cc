#include "tiering/snapshot/backup.h"

#include <algorithm>

#include "engine/base/check.h"
#include "tiering/index/index.h"
#include "tiering/snapshot/durability_switch.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kCopyBytes = 1 << 20;

Status CopyBytes(io::FileSystem* files, io::File* from, uint64_t bytes, const std::string& to) {
  auto target = files->Open(to, {.create = true, .exclusive = true});
  if (!target) return target.error();
  std::string block;
  for (uint64_t at = 0; at < bytes;) {
    block.resize(std::min(kCopyBytes, bytes - at));
    auto read = from->ReadAt(at, block);
    if (!read) return read.error();
    if (*read == 0) return Status::Corruption(from->path() + " is shorter than it should be");
    FIRN_RETURN_IF_ERROR((*target)->WriteAt(at, std::string_view(block).substr(0, *read)));
    at += *read;
  }
  return (*target)->Sync();
}

}  // namespace

Status LinkOrCopy(io::FileSystem* files, const std::string& from, const std::string& to) {
  auto file = files->Open(from, {.writable = false});
  if (!file) return file.error();
  if (files->Link(from, to).ok()) return (*file)->Sync();
  auto size = (*file)->Size();
  if (!size) return size.error();
  return CopyBytes(files, file->get(), *size, to);
}

Result<std::unique_ptr<StoreBackup>> Store::BeginBackup(std::string directory) {
  if (!impl_->options_.durable) {
    return std::unexpected(Status(StatusCode::kUnsupported,
                                  "without appendonly the log does not hold all data: use SAVE"));
  }
  if (impl_->durability_switch_->running()) {
    return std::unexpected(Status(StatusCode::kBusy, "not all data is durable yet"));
  }
  if (!impl_->log_->poison().ok()) return std::unexpected(impl_->log_->poison());
  return std::make_unique<StoreBackup>(impl_.get(), std::move(directory));
}

StoreBackup::StoreBackup(StoreImpl* store, std::string directory)
    : store_(store->alive()),
      files_(*store->environment_.file_system),
      source_(store->options_.directory),
      directory_(std::move(directory)),
      identity_(store->identity_),
      index_(store->index_) {
  store->segments_->KeepAll();
}

StoreBackup::~StoreBackup() {
  if (auto store = store_.lock()) (*store)->segments_->EndKeepAll();
}

Status StoreBackup::CopyIndex() { return index_->Checkpoint(directory_ + "/index"); }

void StoreBackup::TakeLog() {
  auto alive = store_.lock();
  CHECK(alive != nullptr);
  StoreImpl& store = **alive;
  CHECK_MSG(store.group_depth_ == 0, "a backup was to be made amid a transaction");
  const log::LogPosition end = store.log_->tail();
  last_lsn_ = store.log_->appended_lsn();
  for (const auto& [id, segment] : store.segments_->all()) {
    const bool is_last = id == end.segment_id;
    const uint64_t bytes = is_last ? end.offset : segment->end_offset;
    parts_.push_back(
        {.id = id, .file = segment->file, .bytes = bytes, .is_final = segment->sealed && !is_last});
  }
}

Status StoreBackup::CopyLog() {
  FIRN_RETURN_IF_ERROR(files_.CreateDirectories(directory_ + "/log"));
  for (const Part& part : parts_) FIRN_RETURN_IF_ERROR(CopyPart(part));
  FIRN_RETURN_IF_ERROR(files_.SyncDirectory(directory_ + "/log"));
  FIRN_RETURN_IF_ERROR(files_.SyncDirectory(directory_ + "/index"));
  FIRN_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
  Identity identity = identity_;
  identity.may_be_left = false;
  identity.reaches_lsn = last_lsn_;
  FIRN_RETURN_IF_ERROR(WriteIdentity(&files_, directory_, identity));
  return files_.SyncDirectory(directory_);
}

Status StoreBackup::CopyPart(const Part& part) const {
  const std::string name = "/log/" + log::SegmentFileName(part.id);
  if (part.is_final && files_.Link(source_ + name, directory_ + name).ok()) {
    return part.file->Sync();
  }
  return CopyBytes(&files_, part.file.get(), part.bytes, directory_ + name);
}

}  // namespace firn
