#include "server/rdb_file.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/base/siphash.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/long_string.h"
#include "server/options/version.h"
#include "tiering/snapshot/snapshot_pages.h"

namespace firn::server {
namespace {

constexpr uint64_t kSyncBytes = 4 << 20;
constexpr std::string_view kTemporaryPrefix = "temp-";
constexpr std::string_view kTemporarySuffix = ".rdb";

class FileSink final : public RdbSink {
 public:
  FileSink(io::File* file, bool incremental_sync)
      : file_(*file), incremental_sync_(incremental_sync) {}

 protected:
  Status Write(std::string_view bytes) override {
    FIRN_RETURN_IF_ERROR(file_.WriteAt(offset_, bytes));
    offset_ += bytes.size();
    if (!incremental_sync_ || offset_ - synced_ < kSyncBytes) return Status::Ok();
    FIRN_RETURN_IF_ERROR(file_.Sync());
    // Nobody will read it soon: the page cache is for others.
    file_.DropCache(synced_, offset_ - synced_);
    synced_ = offset_;
    return Status::Ok();
  }
  Status Overwrite(uint64_t offset, std::string_view bytes) override {
    return file_.WriteAt(offset, bytes);
  }

 private:
  io::File& file_;
  const bool incremental_sync_;
  uint64_t offset_ = 0;
  uint64_t synced_ = 0;
};

class DumpWriter {
 public:
  DumpWriter(SnapshotView* view, RdbSink* sink, const RdbFileOptions& options,
             std::atomic<uint64_t>* keys)
      : view_(*view),
        sink_(*sink),
        options_(options),
        keys_(*keys),
        writer_(sink, {.compress = options.compress,
                       .checksum = options.checksum,
                       .now_ms = view->source().now_ms}) {}

  Status Write() {
    FIRN_RETURN_IF_ERROR(view_.Open());
    writer_.Header();
    writer_.Aux("redis-ver", kRedisVersion);
    writer_.Aux("redis-bits", "64");
    writer_.Aux("ctime", std::to_string(view_.source().now_ms / 1000));
    writer_.Aux("used-mem", std::to_string(options_.used_memory));
    writer_.Aux("aof-base", options_.is_aof_base ? "1" : "0");
    for (const std::string& code : options_.functions) writer_.Function(code);
    for (uint32_t db = 0; db < view_.source().databases.size(); ++db) {
      bool any = false;
      FIRN_RETURN_IF_ERROR(view_.VisitKeys(db, [&](const SnapshotValue& value) {
        if (!std::exchange(any, true)) BeginDatabase(db);
        return WriteKey(db, value);
      }));
    }
    writer_.End();
    return sink_.status();
  }

 private:
  void BeginDatabase(uint32_t db) {
    const SnapshotSource::Database& database = view_.source().databases[db];
    writer_.SelectDb(db);
    writer_.ResizeDb({.keys = database.keys, .expiring = database.expiring});
  }

  Status WriteKey(uint32_t db, const SnapshotValue& value) {
    RdbWriter::Key key{.key = value.key, .expiry_ms = value.expiry_ms};
    if (options_.access != nullptr) AddUse(db, &key);
    if (value.type == ValueType::kString) {
      if (value.is_integer) {
        writer_.StringKey(key, std::to_string(value.integer));
      } else {
        writer_.StringKey(key, value.bytes);
      }
    } else if (value.type == ValueType::kLongString) {
      SnapshotPages pages(&view_, db, value.bytes);
      std::string bytes;
      LongString(&pages).Read({}, &bytes);
      FIRN_RETURN_IF_ERROR(pages.status());
      writer_.StringKey(key, bytes);
    } else {
      SnapshotPages pages(&view_, db, value.bytes);
      RdbWriter::Written written = writer_.CollectionKey(key, value.type, &pages);
      FIRN_RETURN_IF_ERROR(pages.status());
      if (written == RdbWriter::Written::kMissing) {
        return Status::Corruption("a collection lacks pages");
      }
    }
    keys_.fetch_add(1, std::memory_order_relaxed);
    if (options_.key_delay_us != 0) Delay();
    return sink_.status();
  }

  void AddUse(uint32_t db, RdbWriter::Key* key) const {
    const uint64_t hash = SipHash13(view_.source().secret, key->key);
    const uint32_t use = options_.access->Find(db, hash);
    if (options_.access->is_lfu()) {
      key->frequency = static_cast<uint8_t>(std::min<uint32_t>(use, UINT8_MAX));
    } else {
      key->idle_seconds = use;
    }
  }

  void Delay() {
    constexpr int64_t kSlice = 5000;
    int64_t micros = options_.key_delay_us;
    if (micros < 0) micros = ++delays_ % -micros == 0 ? 1 : 0;
    for (; micros > 0 && !view_.cancelled(); micros -= kSlice) {
      std::this_thread::sleep_for(std::chrono::microseconds(std::min(micros, kSlice)));
    }
  }

  SnapshotView& view_;
  RdbSink& sink_;
  const RdbFileOptions& options_;
  std::atomic<uint64_t>& keys_;
  RdbWriter writer_;
  int64_t delays_ = 0;
};

Status Abandoned() { return Status(StatusCode::kBusy, "the dump was abandoned"); }

}  // namespace

DumpFile::DumpFile(io::FileSystem* files, const std::string& directory, const std::string& name)
    : files_(*files),
      directory_(directory),
      temporary_(directory + "/" + std::string(kTemporaryPrefix) + std::to_string(getpid()) +
                 std::string(kTemporarySuffix)),
      path_(directory + "/" + name) {}

std::unique_ptr<io::File> DumpFile::OpenReplaced() {
  auto file = files_.Open(path_, {.writable = false});
  return file ? std::move(*file) : nullptr;
}

Result<std::unique_ptr<io::File>> DumpFile::Create() {
  std::lock_guard lock(mutex_);
  if (abandoned_) return std::unexpected(Abandoned());
  // What lies there could not be removed before, and its writer may still be writing.
  if (files_.Exists(temporary_)) {
    if (Status status = files_.Remove(temporary_); !status.ok()) return std::unexpected(status);
  }
  auto file = files_.Open(temporary_, {.create = true, .exclusive = true});
  is_temporary_ = file.has_value();
  return file;
}

Status DumpFile::Commit() {
  // Closed without the lock.
  const std::unique_ptr<io::File> replaced = OpenReplaced();
  {
    std::lock_guard lock(mutex_);
    if (abandoned_) return Abandoned();
    FIRN_RETURN_IF_ERROR(files_.Rename(temporary_, path_));
    is_temporary_ = false;
  }
  return files_.SyncDirectory(directory_);
}

void DumpFile::Remove() {
  std::lock_guard lock(mutex_);
  RemoveLocked();
}

void DumpFile::Abandon() {
  std::lock_guard lock(mutex_);
  abandoned_ = true;
  RemoveLocked();
}

void DumpFile::RemoveLocked() {
  if (!std::exchange(is_temporary_, false)) return;
  // The next dump or the next start tries again.
  static_cast<void>(files_.Remove(temporary_));
}

Status WriteRdbFile(DumpFile* dump, SnapshotView* view, const RdbFileOptions& options,
                    std::atomic<uint64_t>* keys) {
  auto file = dump->Create();
  if (!file) return file.error();
  auto write = [&] {
    FileSink sink(file->get(), options.incremental_sync);
    FIRN_RETURN_IF_ERROR(DumpWriter(view, &sink, options, keys).Write());
    FIRN_RETURN_IF_ERROR((*file)->Sync());
    return dump->Commit();
  };
  Status status = write();
  if (!status.ok()) dump->Remove();
  return status;
}

Status RemoveTemporaryDumps(io::FileSystem* files, const std::string& directory) {
  auto names = files->List(directory);
  if (!names) return names.error();
  for (const std::string& name : *names) {
    std::string_view middle(name);
    if (!middle.starts_with(kTemporaryPrefix) || !middle.ends_with(kTemporarySuffix)) continue;
    if (middle.size() <= kTemporaryPrefix.size() + kTemporarySuffix.size()) continue;
    middle.remove_prefix(kTemporaryPrefix.size());
    middle.remove_suffix(kTemporarySuffix.size());
    if (!std::ranges::all_of(middle, [](char c) { return c >= '0' && c <= '9'; })) continue;
    FIRN_RETURN_IF_ERROR(files->Remove(directory + "/" + name));
  }
  return Status::Ok();
}

void RemoveOwnTemporaryDump() {
  char name[64] = {};
  char* end = std::ranges::copy(kTemporaryPrefix, name).out;
  end = std::to_chars(end, std::end(name), getpid()).ptr;
  std::ranges::copy(kTemporarySuffix, end);
  unlink(name);
}

}  // namespace firn::server
