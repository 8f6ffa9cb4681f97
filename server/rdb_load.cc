#include "server/rdb_load.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "engine/base/check.h"
#include "server/value_limits.h"

namespace firn::server {
namespace {

// A value that takes more is added in parts.
constexpr uint64_t kPartBytes = 4 << 20;
// Elements that are added to a part at a time: each may want a page of its own.
constexpr size_t kElementsAtATime = 256;
// After so many bytes, what else the store has to do gets a turn.
constexpr uint64_t kBreathBytes = 256 << 10;
constexpr uint64_t kKeyOverhead = 64;
constexpr int64_t kMaxWaitMicros = 10'000;

class FileSource final : public RdbSource {
 public:
  FileSource(io::File* file, uint64_t size, const std::function<void(uint64_t)>& read)
      : file_(*file), size_(size), read_(read) {}
  Result<size_t> Read(char* to, size_t size) override {
    Result<size_t> got = file_.ReadAt(at_, {to, size});
    if (got) at_ += *got;
    if (got && read_) read_(*got);
    return got;
  }
  uint64_t size() const override { return size_; }

 private:
  io::File& file_;
  const uint64_t size_;
  const std::function<void(uint64_t)>& read_;
  uint64_t at_ = 0;
};

}  // namespace

Status RdbLoader::SelectDb(uint64_t db) {
  if (db >= store_.databases()) {
    return Status::Invalid("a key of database " + std::to_string(db) + ", but `databases` is " +
                           std::to_string(store_.databases()));
  }
  db_ = static_cast<uint32_t>(db);
  return {};
}

Status RdbLoader::Function(std::string_view code) {
  if (options_.function) return options_.function(code);
  return {StatusCode::kUnsupported, "a library of functions can't be loaded"};
}

Status RdbLoader::BeginKey(const RdbKey& key) {
  key_ = key.key;
  expiry_ms_ = key.expiry_ms;
  // -1 is how Redis says that there is none.
  if (expiry_ms_ == -1) expiry_ms_.reset();
  const int64_t now = store_.expiry_clock_ms();
  skipped_ = expiry_ms_ && *expiry_ms_ <= now;
  partial_ = false;
  std::optional<int64_t> idle_seconds;
  if (key.idle_seconds) {
    idle_seconds = static_cast<int64_t>(std::min<uint64_t>(*key.idle_seconds, INT64_MAX));
  }
  access_ = RestoredAccess(options_.lfu, key.frequency, idle_seconds, now);
  value_.Begin(key.type);
  return {};
}

Status RdbLoader::Add(const RestoredValue::Element& element) {
  if (skipped_) return {};
  value_.Add(element);
  if (value_.bytes() < kPartBytes || value_.type() == ValueType::kString) return {};
  return AddPart();
}

Status RdbLoader::Stream(const StreamPiece& piece) {
  if (skipped_) return {};
  value_.Add(piece);
  return value_.bytes() < kPartBytes ? Status() : AddPart();
}

Status RdbLoader::SkipEmptyKey() {
  ++report_.empty;
  if (options_.log) options_.log("skipping empty key: " + key_);
  return {};
}

Status RdbLoader::EndKey() {
  if (skipped_) {
    ++report_.expired;
    return {};
  }
  if (partial_) {
    FIRN_RETURN_IF_ERROR(AddPart());
    FIRN_RETURN_IF_ERROR(Complete());
  } else {
    if (!value_.IsDistinct()) return Status::Corruption("a member or field comes twice");
    value_.DropExpired(store_.expiry_clock_ms());
    if (value_.count() == 0) {
      ++report_.expired;
      return {};
    }
    FIRN_RETURN_IF_ERROR(Create());
  }
  ++report_.keys;
  return options_.key_delay_us == 0 ? Status() : Delay();
}

// A negative delay: the share of a microsecond, as Redis has it.
Status RdbLoader::Delay() {
  const int64_t delay = options_.key_delay_us;
  if (delay < 0 && report_.keys % static_cast<uint64_t>(-delay) != 0) return {};
  std::this_thread::sleep_for(std::chrono::microseconds(std::max<int64_t>(delay, 1)));
  return Breathe(0);
}

Status RdbLoader::Twice() const { return Status::Corruption("the key '" + key_ + "' comes twice"); }

// --- making values

Status RdbLoader::Create() {
  bool twice = false;
  FIRN_RETURN_IF_ERROR(Run(Access::kReplace, value_.bytes(), [&] {
    Database& db = store_.database(db_);
    const HashedKey key = store_.Key(key_);
    const bool exists = db.Lookup(key, {.touch = false, .count_hit = false}).exists();
    twice = exists && !options_.replace;
    if (twice) return true;
    store_.BeginGroup();
    if (exists) db.Delete(key);
    value_.Create(db, key, options_.limits);
    SetDetails();
    store_.EndGroup();
    return true;
  }));
  return twice ? Twice() : Status();
}

// Of the key that is there.
void RdbLoader::SetDetails() {
  Database& db = store_.database(db_);
  const HashedKey key = store_.Key(key_);
  if (expiry_ms_) db.SetExpiry(key, *expiry_ms_);
  if (access_) db.SetAccess(key, *access_);
}

Status RdbLoader::AddPart() {
  value_.DropExpired(store_.expiry_clock_ms());
  using Extended = RestoredValue::Extended;
  Extended result = Extended::kAll;
  bool twice = false;
  for (size_t first = 0; first < value_.count() && result == Extended::kAll;) {
    const size_t end = std::min(first + kElementsAtATime, value_.count());
    FIRN_RETURN_IF_ERROR(Run(Access::kUpdate, value_.bytes() / value_.count() * (end - first), [&] {
      Database& db = store_.database(db_);
      const HashedKey key = store_.Key(key_);
      if (!partial_) {
        const bool exists = db.Lookup(key, {.touch = false, .count_hit = false}).exists();
        twice = exists && !options_.replace;
        if (twice) return true;
        if (exists) db.Delete(key);
        partial_ = true;
      }
      result = value_.Extend(db, key, options_.limits, {.first = &first, .end = end});
      return result != Extended::kMissing;
    }));
    if (twice) return Twice();
  }
  value_.Clear();
  if (result == Extended::kTwice) return Status::Corruption("a member or field comes twice");
  return {};
}

Status RdbLoader::Complete() {
  if (!expiry_ms_ && !access_) return {};
  return Run(Access::kUpdate, kKeyOverhead, [this] {
    const HashedKey key = store_.Key(key_);
    Database& db = store_.database(db_);
    if (db.Lookup(key, {.touch = false, .count_hit = false}).exists()) SetDetails();
    return true;
  });
}

// --- planning, as for a command

Status RdbLoader::Run(Access access, uint64_t bytes, const std::function<bool()>& step) {
  Ticket ticket;
  bool ready = false;
  ticket.on_ready = [&ready] { ready = true; };
  const KeyAccess key{.db = db_, .key = store_.Key(key_), .access = access};
  Status status;
  bool run_again = false;
  for (bool done = false; !done && status.ok();) {
    ready = false;
    PlanResult plan = PlanResult::kReady;
    if (!run_again) {
      // Redis, too, loads what doesn't fit.
      using Gate = Store::WriteGate;
      const Gate gate = store_.CheckWrite(bytes, false, &ticket);
      if (gate == Gate::kWait) {
        status = Wait(ready);
        continue;
      }
      if (gate != Gate::kOk && gate != Gate::kOutOfMemory) {
        status = store_.log_failure();
        if (status.ok()) status = {StatusCode::kNoSpace, "there is no room on the disk"};
        continue;
      }
      plan = store_.Plan({&key, 1}, &ticket);
    }
    if (plan == PlanResult::kReady) {
      done = step();
      if (done) break;
      plan = store_.PlanMissing({&key, 1}, &ticket);
    }
    run_again = plan == PlanResult::kReady;
    if (plan == PlanResult::kWaiting) status = Wait(ready);
    if (plan == PlanResult::kReadError) status = ticket.error();
  }
  store_.Release(&ticket);
  const Status run_error = store_.TakeRunError();
  if (!status.ok()) return status;
  if (!run_error.ok()) return run_error;
  since_breath_ += bytes + kKeyOverhead;
  if (since_breath_ < kBreathBytes) return {};
  since_breath_ = 0;
  return Breathe(0);
}

Status RdbLoader::Wait(const bool& ready) {
  while (!ready) FIRN_RETURN_IF_ERROR(Breathe(kMaxWaitMicros));
  return {};
}

Status RdbLoader::Breathe(int64_t max_wait_micros) {
  const int64_t wait = store_.EndIteration();
  options_.loop->RunOnce(std::min(wait, max_wait_micros));
  if (options_.stopped && options_.stopped()) {
    return {StatusCode::kBusy, "the server was told to stop"};
  }
  return {};
}

// --- files

Status LoadRdbFile(io::FileSystem* files, const std::string& path, RdbLoader* loader,
                   uint64_t* end) {
  auto file = files->Open(path, {.writable = false});
  if (!file) return file.error();
  auto size = (*file)->Size();
  if (!size) return size.error();
  FileSource source(file->get(), *size, loader->options().read);
  RdbReader reader(&source, loader, {.checksum = loader->options().checksum});
  const Status status = reader.ReadFile();
  if (end != nullptr) *end = reader.offset();
  if (status.ok()) return status;
  return {status.code(), path + ": " + status.message(), status.error_number()};
}

}  // namespace firn::server
