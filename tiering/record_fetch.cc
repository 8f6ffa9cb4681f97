#include "tiering/record_fetch.h"

#include "engine/base/check.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

constexpr uint64_t kHeadReadBytes = 4096;

struct Operation : io::DiskRequest {
  StoreImpl* store = nullptr;
  io::Loop* loop = nullptr;  // outlives the store
  std::weak_ptr<StoreImpl*> alive;
  RecordFetchRequest request;
  RecordFetchDone callback;
  uint64_t segment_id = 0;
  std::shared_ptr<io::File> file;
  uint64_t record_offset = 0;
  uint64_t read_offset = 0;
  uint32_t read_size = 0;
  uint64_t total_read = 0;
  char* buffer = nullptr;

  ~Operation() { loop->FreeReadBuffer(buffer); }
};

void Complete(io::DiskRequest* request, int result);

void Submit(Operation* operation, uint64_t size) {
  constexpr uint64_t kMask = io::kDirectAlignment - 1;
  operation->read_offset = operation->record_offset & ~kMask;
  uint64_t end = (operation->record_offset + size + kMask) & ~kMask;
  operation->read_size = static_cast<uint32_t>(end - operation->read_offset);
  operation->loop->FreeReadBuffer(operation->buffer);
  operation->buffer = operation->loop->AllocateReadBuffer(operation->read_size);
  CHECK(operation->buffer != nullptr);
  StoreImpl& store = *operation->store;
  ++store.stats_.disk_reads;
  store.stats_.disk_read_bytes += operation->read_size;
  store.fetch_memory_ += operation->read_size;
  operation->loop->Read(operation->file.get(), operation->read_offset, operation->buffer,
                        operation->read_size, operation);
}

void Finish(Operation* operation, Result<FetchedRecord> result) {
  log::Segment* segment = operation->store->segments_->ById(operation->segment_id);
  if (segment != nullptr) --segment->holds;
  if (!result) {
    ++operation->store->stats_.read_errors;
    operation->store->Log(3, result.error().message());
  }
  operation->callback(std::move(result));
  delete operation;
}

std::string Where(const Operation& operation) {
  return operation.file->path() + " at offset " + std::to_string(operation.record_offset);
}

void Complete(io::DiskRequest* request, int result) {
  auto* operation = static_cast<Operation*>(request);
  if (operation->alive.expired()) {
    delete operation;
    return;
  }
  operation->store->fetch_memory_ -= operation->read_size;
  if (result < 0) {
    Finish(operation, std::unexpected(Status::FromErrno(-result, Where(*operation))));
    return;
  }
  operation->total_read += static_cast<uint64_t>(result);
  uint64_t skip = operation->record_offset - operation->read_offset;
  std::string_view bytes;
  if (static_cast<uint64_t>(result) > skip) {
    bytes = std::string_view(operation->buffer + skip, static_cast<uint64_t>(result) - skip);
  }
  FetchedRecord fetched;
  fetched.bytes_read = operation->total_read;
  uint64_t needed = 0;
  log::DecodeOutcome outcome = log::DecodeRecord(bytes, &fetched.record, &needed);
  fetched.complete = outcome == log::DecodeOutcome::kOk;
  if (outcome == log::DecodeOutcome::kNeedMore && operation->request.head_only) {
    outcome = log::DecodeRecordHead(bytes, &fetched.record, &needed);
  }
  if (outcome == log::DecodeOutcome::kNeedMore && needed > bytes.size() &&
      static_cast<uint32_t>(result) == operation->read_size) {
    Submit(operation, needed);
    return;
  }
  if (outcome != log::DecodeOutcome::kOk) {
    Finish(operation,
           std::unexpected(Status::Corruption("damaged record in " + Where(*operation))));
    return;
  }
  Finish(operation, fetched);
}

}  // namespace

void StartRecordFetch(StoreImpl* store, const RecordFetchRequest& request, RecordFetchDone done) {
  auto* operation = new Operation();
  operation->done = &Complete;
  operation->store = store;
  operation->loop = store->environment_.loop;
  operation->alive = store->alive();
  operation->request = request;
  operation->callback = std::move(done);
  log::Segment* segment = store->segments_->Of(request.position);
  if (segment == nullptr) {
    // Answered from the loop, as every other outcome is.
    store->environment_.loop->Post([operation] {
      if (operation->alive.expired()) {
        delete operation;
        return;
      }
      RecordFetchDone callback = std::move(operation->callback);
      delete operation;
      callback(std::unexpected(Status::Corruption("a position in no known segment")));
    });
    return;
  }
  ++segment->holds;
  operation->segment_id = segment->id;
  operation->file = segment->file;
  operation->record_offset = store->segments_->OffsetOf(request.position);
  uint64_t size = request.head_only ? std::min(request.size_guess_bytes, kHeadReadBytes)
                                    : request.size_guess_bytes;
  Submit(operation, std::max<uint64_t>(size, sizeof(log::RecordHeader)));
}

}  // namespace firn
