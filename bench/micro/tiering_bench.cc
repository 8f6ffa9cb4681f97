// What a write costs below the commands, and what finding a root on the disk costs: records, the
// log and the index. Log and index lie in a new directory below TMPDIR, which should be on the
// disk in question.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "tiering/index/index.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/posix_file.h"
#include "tiering/log/log_writer.h"
#include "tiering/log/record.h"

namespace firn {
namespace {

std::string Name(uint64_t i) {
  std::string digits = std::to_string(i);
  return "key:" + std::string(13 - digits.size(), '0') + digits;
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* parent = std::getenv("TMPDIR");
    std::string pattern = std::string(parent == nullptr ? "/tmp" : parent) + "/firn-micro-XXXXXX";
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }  // empty if it couldn't be made

 private:
  std::string path_;
};

// --- records

log::RecordSpec Image(const std::string& key, const std::string& value) {
  return {.kind = log::RecordKind::kImage,
          .type = log::kDiskString,
          .keyspace = 1,
          .key = key,
          .payload = value};
}

// The argument: bytes of the value.
void BM_RecordEncode(benchmark::State& state) {
  const std::string key = Name(1);
  const std::string value(state.range(0), 'v');
  const log::RecordSpec spec = Image(key, value);
  std::vector<char> bytes(log::PaddedSize(log::EncodedSize(spec)));
  log::RecordContext context = {.epoch = 1, .lsn = 1, .wall_ms = 1'700'000'000'000};
  for (auto _ : state) {
    context.previous_crc = log::EncodeRecord(spec, context, bytes.data());
    ++context.lsn;
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(BM_RecordEncode)->Arg(64)->Arg(1'024)->Arg(16'384)->Arg(1 << 20);

// With the checksum, as recovery and every cold read do it.
void BM_RecordDecode(benchmark::State& state) {
  const std::string key = Name(1);
  const std::string value(state.range(0), 'v');
  const log::RecordSpec spec = Image(key, value);
  std::string bytes(log::PaddedSize(log::EncodedSize(spec)), '\0');
  log::EncodeRecord(spec, {.epoch = 1, .lsn = 1, .wall_ms = 1'700'000'000'000}, bytes.data());
  log::RecordView record;
  uint64_t needed = 0;
  for (auto _ : state) {
    if (log::DecodeRecord(bytes, &record, &needed) != log::DecodeOutcome::kOk) {
      state.SkipWithError("the record is not read back");
      break;
    }
    benchmark::DoNotOptimize(record);
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(BM_RecordDecode)->Arg(64)->Arg(1'024)->Arg(16'384)->Arg(1 << 20);

// --- the log

// A writer and its loop. Segments that are full are taken away, so that any number of appends fits
// on the disk.
class Log {
 public:
  Status Start(const std::string& directory) {
    auto loop = io::CreateNetLoop({}, &notice_);
    if (!loop) return loop.error();
    loop_ = std::move(*loop);
    log::LogWriterOptions options = {
        .directory = directory + "/log", .directory_id = 1, .epoch = 1, .lock_in_ram = false};
    FIRN_RETURN_IF_ERROR(file_system_->CreateDirectories(options.directory));
    segments_ = std::make_unique<log::SegmentTable>(options.segment_size_bytes);
    directory_ = options.directory;
    writer_ =
        std::make_unique<log::LogWriter>(file_system_.get(), loop_.get(), segments_.get(), options);
    Status status = writer_->Start();
    if (!status.ok()) writer_.reset();
    return status;
  }
  ~Log() {
    if (writer_ != nullptr) static_cast<void>(writer_->Stop());
  }
  // As an iteration of the executor's loop does between two batches of commands.
  void RunIteration() {
    loop_->RunOnce(0);
    writer_->AdvanceWindow();
  }
  bool MakeRoom(uint64_t bytes) {
    log::LogWriter::Room room;
    while ((room = writer_->CheckRoom(bytes, log::LogWriter::Urgency::kNormal)) ==
           log::LogWriter::Room::kWait) {
      loop_->RunOnce(1'000);
      writer_->AdvanceWindow();
    }
    return room == log::LogWriter::Room::kReady;
  }
  void RemoveOldSegments() {
    std::vector<log::Segment*> old;
    for (const auto& [id, segment] : segments_->all()) {
      if (segment->sealed && segment->holds == 0) old.push_back(segment.get());
    }
    for (log::Segment* segment : old) {
      static_cast<void>(file_system_->Remove(directory_ + "/" + log::SegmentFileName(segment->id)));
      segments_->Remove(segment);
    }
  }
  log::LogWriter& writer() { return *writer_; }
  bool WaitUntilDurable() {
    writer_->Sync();
    while (writer_->durable_lsn() < writer_->appended_lsn() && writer_->poison().ok()) {
      loop_->RunOnce(10'000);
    }
    return writer_->poison().ok();
  }

 private:
  std::unique_ptr<io::FileSystem> file_system_ = io::CreatePosixFileSystem();
  std::string notice_;
  std::string directory_;
  std::unique_ptr<io::NetLoop> loop_;
  std::unique_ptr<log::SegmentTable> segments_;
  std::unique_ptr<log::LogWriter> writer_;
};

// The argument: bytes of the value. Includes what waiting for segments, memory and the disk costs
// when appends never pause: a sync is asked for every 4 MiB.
void BM_LogAppend(benchmark::State& state) {
  constexpr uint64_t kSyncBytes = 4 << 20;
  TemporaryDirectory directory;
  Log log;
  Status status = log.Start(directory.path());
  if (!status.ok()) {
    state.SkipWithError(status.message().c_str());
    return;
  }
  const std::string key = Name(1);
  const std::string value(state.range(0), 'v');
  const log::RecordSpec spec = Image(key, value);
  const uint64_t size = log::PaddedSize(log::EncodedSize(spec));
  uint64_t appended = 0;
  for (auto _ : state) {
    if (!log.MakeRoom(size) || !log.writer().Append(spec, 1)) {
      state.SkipWithError("nothing can be appended");
      break;
    }
    appended += size;
    if (appended % (64 << 10) < size) log.RunIteration();
    if (appended % kSyncBytes < size) {
      log.writer().Sync();
      log.RemoveOldSegments();
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(appended));
}
BENCHMARK(BM_LogAppend)->Arg(64)->Arg(1'024)->Arg(16'384)->UseRealTime();

// One small record, then its sync: what `appendfsync always` adds to a lone command.
void BM_LogAppendDurably(benchmark::State& state) {
  TemporaryDirectory directory;
  Log log;
  Status status = log.Start(directory.path());
  if (!status.ok()) {
    state.SkipWithError(status.message().c_str());
    return;
  }
  const std::string key = Name(1);
  const std::string value(64, 'v');
  for (auto _ : state) {
    if (!log.MakeRoom(1 << 10) || !log.writer().Append(Image(key, value), 1) ||
        !log.WaitUntilDurable()) {
      state.SkipWithError("nothing can be appended");
      break;
    }
  }
}
BENCHMARK(BM_LogAppendDurably)->UseRealTime()->Unit(benchmark::kMicrosecond);

// --- the index

constexpr uint64_t kBatch = 1'000;

IndexKey IndexKeyOf(uint64_t i) { return {1, Random(i).Next(), Name(i)}; }

IndexBatch BatchFrom(uint64_t first) {
  IndexBatch batch;
  for (uint64_t i = first; i < first + kBatch; ++i) {
    batch.changes.push_back({IndexKeyOf(i), IndexRoot{.position = {.segment_id = 1, .offset = 4096},
                                                      .logical_size = 144,
                                                      .size = 144,
                                                      .lsn = i + 1,
                                                      .type = log::kDiskString}});
  }
  return batch;
}

std::unique_ptr<Index> FilledIndex(const std::string& directory, uint64_t keys) {
  auto index = Index::Open({.directory = directory + "/index"});
  if (!index) return nullptr;
  for (uint64_t first = 0; first < keys; first += kBatch) {
    if (!(*index)->Apply(BatchFrom(first)).ok()) return nullptr;
  }
  if (!(*index)->Flush().ok()) return nullptr;
  return std::move(*index);
}

// Batches of 1000 new roots, with the flushes and compactions that they cause; the time is one
// root's.
void BM_IndexApply(benchmark::State& state) {
  TemporaryDirectory directory;
  auto index = FilledIndex(directory.path(), 0);
  if (index == nullptr) {
    state.SkipWithError("no index");
    return;
  }
  uint64_t first = 0;
  while (state.KeepRunningBatch(kBatch)) {
    state.PauseTiming();
    const IndexBatch batch = BatchFrom(first);
    first += kBatch;
    state.ResumeTiming();
    if (!index->Apply(batch).ok()) {
      state.SkipWithError("a batch was refused");
      return;
    }
  }
}
BENCHMARK(BM_IndexApply)->UseRealTime();

// Keys in random order: the first argument's fit the block cache, the second's don't.
void BM_IndexFind(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  TemporaryDirectory directory;
  auto index = FilledIndex(directory.path(), keys);
  if (index == nullptr) {
    state.SkipWithError("no index");
    return;
  }
  Random random(1);
  for (auto _ : state) {
    auto root = index->Find(IndexKeyOf(random.Below(keys)));
    if (!root || !root->has_value()) {
      state.SkipWithError("a root is missing");
      break;
    }
  }
}
BENCHMARK(BM_IndexFind)->Arg(10'000)->Arg(500'000)->UseRealTime();

void BM_IndexFindAbsent(benchmark::State& state) {
  const auto keys = static_cast<uint64_t>(state.range(0));
  TemporaryDirectory directory;
  auto index = FilledIndex(directory.path(), keys);
  if (index == nullptr) {
    state.SkipWithError("no index");
    return;
  }
  Random random(1);
  for (auto _ : state) benchmark::DoNotOptimize(index->Find({1, random.Next(), "absent"}));
}
BENCHMARK(BM_IndexFindAbsent)->Arg(10'000)->Arg(500'000)->UseRealTime();

}  // namespace
}  // namespace firn
