#include <cerrno>
#include <cstring>

#include "engine/base/check.h"
#include "tiering/io/sim_disk_state.h"

namespace firn::io {
namespace {

using Kind = SimEvent::Kind;

class SimFile : public File {
 public:
  SimFile(std::shared_ptr<SimDiskState> state, SimNodeId node, std::string path, bool writable)
      : File(std::move(path)), state_(std::move(state)), node_(node), writable_(writable) {
    ++state_->nodes[node].handles;
  }
  ~SimFile() override {
    std::lock_guard lock(state_->mutex);
    --state_->nodes.at(node_).handles;
    state_->Collect(node_);
  }

  Result<size_t> ReadAt(uint64_t offset, std::span<char> into) override {
    std::lock_guard lock(state_->mutex);
    return Read(offset, into);
  }

  Result<size_t> ReadDirectAt(uint64_t offset, std::span<char> into) override {
    CHECK(offset % kDirectAlignment == 0 && into.size() % kDirectAlignment == 0);
    CHECK(reinterpret_cast<uintptr_t>(into.data()) % kDirectAlignment == 0);
    std::lock_guard lock(state_->mutex);
    Result<size_t> result = Read(offset, into);
    if (result) state_->CountDirectRead(node_, offset, into.size());
    return result;
  }

  Status WriteAt(uint64_t offset, std::string_view bytes) override {
    std::lock_guard lock(state_->mutex);
    if (!writable_) return Status::FromErrno(EBADF, path());
    return state_->Write(node_, offset, bytes, path());
  }

  Status Sync() override {
    std::lock_guard lock(state_->mutex);
    state_->NoteMapped(node_, 0, UINT64_MAX);
    return state_->FinishSync(node_, state_->history.size(), path());
  }

  Status Truncate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    if (!writable_) return Status::FromErrno(EBADF, path());
    FIRN_RETURN_IF_ERROR(state_->Check(SimFault::Call::kWrite, path()));
    state_->NoteMapped(node_, 0, UINT64_MAX);
    state_->Record({.kind = Kind::kTruncate, .node = node_, .offset = size});
    state_->ReloadMapped(node_, 0, UINT64_MAX);
    return Status::Ok();
  }

  Status Allocate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    if (!writable_) return Status::FromErrno(EBADF, path());
    return state_->Allocate(node_, size, path());
  }

  Result<uint64_t> Size() override {
    std::lock_guard lock(state_->mutex);
    if (!state_->powered) return std::unexpected(Status::FromErrno(EIO, path()));
    return state_->live.at(node_).content->size();
  }

  Result<char*> Map(uint64_t offset, uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    return state_->Map(node_, offset, size, path());
  }

  void Unmap(char* address, uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    state_->Unmap(address, size);
  }

  Status Populate(char* address, uint64_t, uint64_t size) override {
    const bool zeros =
        size == 0 || (*address == 0 && std::memcmp(address, address + 1, size - 1) == 0);
    CHECK_MSG(zeros, "written bytes would be filled with zeros");
    return Status::Ok();
  }
  bool LockInRam(char*, uint64_t) override { return true; }
  void DropCache(uint64_t, uint64_t) override {}

  SimNodeId node() const { return node_; }

 private:
  Result<size_t> Read(uint64_t offset, std::span<char> into) {
    if (Status status = state_->Check(SimFault::Call::kRead, path()); !status.ok()) {
      return std::unexpected(status);
    }
    ++state_->stats.reads;
    state_->NoteMapped(node_, offset, into.size());
    return state_->live.at(node_).content->Read(offset, into);
  }

  const std::shared_ptr<SimDiskState> state_;
  const SimNodeId node_;
  const bool writable_;
};

}  // namespace

std::unique_ptr<File> MakeSimFile(std::shared_ptr<SimDiskState> state, SimNodeId node,
                                  std::string path, bool writable) {
  return std::make_unique<SimFile>(std::move(state), node, std::move(path), writable);
}

SimNodeId NodeOfSimFile(const File& file) { return static_cast<const SimFile&>(file).node(); }

}  // namespace firn::io
