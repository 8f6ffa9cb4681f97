#include "tiering/log_archiver.h"

#include <algorithm>

#include "tiering/compactor.h"
#include "tiering/io/durable_directories.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr int64_t kRetryMicros = 5'000'000;
constexpr uint64_t kCopyBytes = 1 << 20;

Status CopyBytes(io::FileSystem* files, const SegmentToKeep& segment, const std::string& to) {
  auto target = files->Open(to, {.create = true, .truncate = true});
  if (!target) return target.error();
  std::string block;
  for (uint64_t at = 0; at < segment.bytes;) {
    block.resize(std::min(kCopyBytes, segment.bytes - at));
    auto read = segment.file->ReadAt(at, block);
    if (!read) return read.error();
    if (*read == 0) break;
    FIRN_RETURN_IF_ERROR((*target)->WriteAt(at, std::string_view(block).substr(0, *read)));
    at += *read;
  }
  return (*target)->Sync();
}

}  // namespace

Status KeepSegment(io::FileSystem* files, const SegmentToKeep& segment,
                   const std::string& directory) {
  const std::string path = directory + "/" + log::SegmentFileName(segment.id);
  const std::string temporary = path + std::string(kUnfinishedSuffix);
  if (files->Exists(temporary)) FIRN_RETURN_IF_ERROR(files->Remove(temporary));
  // A link that fails may yet be a copy.
  const bool linked = segment.may_link && files->Link(segment.file->path(), temporary).ok();
  if (!linked) FIRN_RETURN_IF_ERROR(CopyBytes(files, segment, temporary));
  FIRN_RETURN_IF_ERROR(files->Rename(temporary, path));
  // Of two names of one file, a rename takes none away.
  if (files->Exists(temporary)) FIRN_RETURN_IF_ERROR(files->Remove(temporary));
  return files->SyncDirectory(directory);
}

Status LogArchiver::Begin(std::string directory, uint64_t last_lsn) {
  if (directory.empty()) return {};
  io::FileSystem& files = *store_.environment_.file_system;
  FIRN_RETURN_IF_ERROR(io::CreateDurableDirectories(&files, directory));
  auto names = files.List(directory);
  if (!names) return names.error();
  uint64_t last = 0;
  for (const std::string& name : *names) {
    uint64_t id;
    if (log::ParseSegmentFileName(name, &id)) last = std::max(last, id);
  }
  if (last != 0) {
    const std::string path = directory + "/" + log::SegmentFileName(last);
    auto file = files.Open(path, {.writable = false});
    if (!file) return file.error();
    std::string block(log::kSegmentHeaderSize, '\0');
    auto size = (*file)->ReadAt(0, block);
    if (!size) return size.error();
    block.resize(*size);
    auto header = log::DecodeSegmentHeader(block, path);
    if (!header) return header.error();
    if (header->directory_id != store_.identity_.directory_id) {
      return Status::Invalid("log-archive-dir " + directory +
                             " keeps the log of another data directory");
    }
    const log::Segment* ours = store_.segments_->ById(last);
    auto kept_bytes = (*file)->Size();
    if (!kept_bytes) return kept_bytes.error();
    const bool was_cut = ours != nullptr && *kept_bytes > ours->file_bytes;
    if (header->as_of_lsn > last_lsn || was_cut) {
      return Status::Invalid(
          "log-archive-dir " + directory + " keeps a later log (" + log::SegmentFileName(last) +
          ") than that of the data directory, which was brought back to an earlier moment: what is "
          "written from now on has to go to another log-archive-dir");
    }
  }
  directory_ = std::move(directory);
  kept_up_to_ = last;
  return {};
}

// The next that is to be kept and can be; null if there is none.
log::Segment* LogArchiver::NextSealed() const {
  const auto& all = store_.segments_->all();
  for (auto it = all.upper_bound(kept_up_to_); it != all.end(); ++it) {
    log::Segment* segment = it->second.get();
    if (segment->stream != log::Stream::kFresh) continue;
    const bool is_synced = segment->last_lsn <= store_.log_->durable_lsn();
    return segment->sealed && is_synced ? segment : nullptr;
  }
  return nullptr;
}

void LogArchiver::Step() {
  if (!active() || in_flight_ || !store_.options_.durable) return;
  const log::Segment* active = store_.log_->active();
  if (active == nullptr || active->id == seen_active_) return;
  if (failing_ && store_.environment_.loop->NowMicros() < next_try_micros_) return;
  const log::Segment* next = NextSealed();
  if (next == nullptr) {
    const auto& all = store_.segments_->all();
    const bool waits = std::any_of(all.upper_bound(kept_up_to_), all.end(), [&](const auto& item) {
      return item.second->stream == log::Stream::kFresh && item.second.get() != active &&
             item.second->sealed;
    });
    if (!waits) seen_active_ = active->id;
    return;
  }
  in_flight_ = true;
  auto status = std::make_shared<Status>();
  store_.RunJob(
      io::WorkPriority::kBackground,
      [status, files = store_.environment_.file_system, directory = directory_,
       segment = SegmentToKeep{.file = next->file, .id = next->id, .bytes = next->end_offset}] {
        *status = KeepSegment(files, segment, directory);
      },
      [this, status, id = next->id] { OnKept(id, *status); });
}

void LogArchiver::OnKept(uint64_t id, const Status& status) {
  in_flight_ = false;
  if (status.ok()) {
    kept_up_to_ = id;
    ++kept_;
    if (std::exchange(failing_, false)) store_.Log(2, "log-archive-dir can be written to again");
    return;
  }
  next_try_micros_ = store_.environment_.loop->NowMicros() + kRetryMicros;
  if (!std::exchange(failing_, true)) {
    store_.Log(3,
               "A segment of the log can't be kept in log-archive-dir, and stays in the log "
               "until it can: " +
                   status.message());
  }
}

Status LogArchiver::Finish() {
  if (!active() || !store_.options_.durable) return {};
  io::FileSystem& files = *store_.environment_.file_system;
  const auto& all = store_.segments_->all();
  for (auto it = all.upper_bound(kept_up_to_); it != all.end(); ++it) {
    const log::Segment& segment = *it->second;
    if (segment.stream != log::Stream::kFresh || !segment.sealed) continue;
    FIRN_RETURN_IF_ERROR(KeepSegment(
        &files, {.file = segment.file, .id = segment.id, .bytes = segment.end_offset}, directory_));
    kept_up_to_ = segment.id;
    ++kept_;
  }
  return {};
}

}  // namespace firn
