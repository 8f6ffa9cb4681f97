#include "tiering/io/sim_disk.h"

#include <algorithm>
#include <cerrno>

#include "engine/base/check.h"
#include "tiering/io/sim_disk_state.h"

namespace firn::io {
namespace {

using Kind = SimEvent::Kind;
using Call = SimFault::Call;

std::unexpected<Status> Failed(int error, const std::string& path) {
  return std::unexpected(Status::FromErrno(error, path));
}

class SimLock : public FileLock {
 public:
  SimLock(std::shared_ptr<SimDiskState> state, std::string path)
      : state_(std::move(state)), path_(std::move(path)) {}
  ~SimLock() override {
    std::lock_guard lock(state_->mutex);
    state_->locked.erase(path_);
  }

 private:
  const std::shared_ptr<SimDiskState> state_;
  const std::string path_;
};

// A state whose disk holds `tree`, all of it certain.
std::shared_ptr<SimDiskState> MakeState(const SimDiskOptions& options, SimTree tree) {
  auto state = std::make_shared<SimDiskState>(options);
  state->live = std::move(tree);
  state->checkpoints.emplace_back(
      state->live, SimDurableOptions{options.sync_persists_name, options.sizes_wait_for_data});
  for (const auto& [id, node] : state->live) {
    state->used += node.content->AllocatedBytes();
    state->next_node = std::max(state->next_node, id + 1);
  }
  return state;
}

// Names the files for DescribeEvent.
void LabelTree(SimDiskState* state, SimNodeId directory, const std::string& path) {
  for (const auto& [name, id] : *state->live.at(directory).entries) {
    std::string label = path + "/" + name;
    if (state->live.at(id).directory) LabelTree(state, id, label);
    state->nodes[id].label = std::make_shared<const std::string>(std::move(label));
  }
}

uint64_t DigestBytes(uint64_t hash, std::string_view bytes) {
  for (unsigned char c : bytes) hash = (hash ^ c) * 0x100000001b3ull;
  return (hash ^ bytes.size()) * 0x100000001b3ull;
}

uint64_t DigestNode(const SimTree& tree, SimNodeId id, uint64_t hash) {
  const SimNode& node = tree.at(id);
  if (!node.directory) {
    std::string bytes(node.content->size(), '\0');
    node.content->Read(0, bytes);
    return DigestBytes(hash, bytes);
  }
  for (const auto& [name, child] : *node.entries) {
    hash = DigestNode(tree, child, DigestBytes(hash, name));
  }
  return DigestBytes(hash, "");
}

}  // namespace

SimDisk::SimDisk(SimDiskOptions options) {
  SimTree tree;
  tree.emplace(kSimRoot, MakeSimNode(true)).first->second.links = 1;
  state_ = MakeState(options, std::move(tree));
}

SimDisk::~SimDisk() = default;

Result<std::unique_ptr<File>> SimDisk::Open(const std::string& path, OpenOptions options) {
  std::lock_guard lock(state_->mutex);
  SimDiskState& state = *state_;
  if (!state.powered) return Failed(EIO, path);
  SimDiskState::Place place = state.Find(path);
  if (place.node != 0) {
    if (options.create && options.exclusive) {
      return std::unexpected(Status(StatusCode::kBusy, path + " exists", EEXIST));
    }
    if (state.live.at(place.node).directory) return Failed(EISDIR, path);
    if (options.truncate && state.live.at(place.node).content->size() > 0) {
      if (!options.writable) return Failed(EINVAL, path);
      if (Status status = state.Check(Call::kWrite, path); !status.ok()) {
        return std::unexpected(status);
      }
      state.NoteMapped(place.node, 0, UINT64_MAX);
      state.Record({.kind = Kind::kTruncate, .node = place.node});
      state.ReloadMapped(place.node, 0, UINT64_MAX);
    }
  } else {
    if (!options.create || place.directory == 0) return Failed(ENOENT, path);
    if (Status status = state.Check(Call::kNames, path); !status.ok()) {
      return std::unexpected(status);
    }
    place.node = state.next_node++;
    state.nodes[place.node].label = std::make_shared<const std::string>(path);
    state.RecordNames(place.node, false, {{place.directory, place.name, place.node}},
                      "create " + path);
  }
  return MakeSimFile(state_, place.node, path, options.writable);
}

Result<std::vector<std::string>> SimDisk::List(const std::string& directory) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return Failed(EIO, directory);
  SimNodeId id;
  SimNode* node = state_->Directory(directory, &id);
  if (node == nullptr) return Failed(id == 0 ? ENOENT : ENOTDIR, directory);
  std::vector<std::string> names;
  for (const auto& [name, child] : *node->entries) names.push_back(name);
  return names;
}

Status SimDisk::CreateDirectories(const std::string& directory) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return Status::FromErrno(EIO, directory);
  for (size_t end = 0; end < directory.size();) {
    end = std::min(directory.find('/', end + 1), directory.size());
    std::string path = directory.substr(0, end);
    SimDiskState::Place place = state_->Find(path);
    if (place.node != 0) {
      if (!state_->live.at(place.node).directory) return Status::FromErrno(ENOTDIR, path);
      continue;
    }
    FIRN_RETURN_IF_ERROR(state_->Check(Call::kNames, path));
    SimNodeId id = state_->next_node++;
    state_->RecordNames(id, true, {{place.directory, place.name, id}}, "make " + path);
  }
  return Status::Ok();
}

Status SimDisk::Remove(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  FIRN_RETURN_IF_ERROR(state_->Check(Call::kNames, path));
  SimDiskState::Place place = state_->Find(path);
  if (place.node == 0) return Status::FromErrno(ENOENT, path);
  if (state_->live.at(place.node).directory) return Status::FromErrno(EISDIR, path);
  state_->RecordNames(place.node, false, {{place.directory, place.name, 0}}, "remove " + path);
  state_->Collect(place.node);
  return Status::Ok();
}

Status SimDisk::RemoveDirectory(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  FIRN_RETURN_IF_ERROR(state_->Check(Call::kNames, path));
  SimDiskState::Place place = state_->Find(path);
  if (place.node == 0 || place.node == kSimRoot) return Status::FromErrno(ENOENT, path);
  const SimNode& node = state_->live.at(place.node);
  if (!node.directory) return Status::FromErrno(ENOTDIR, path);
  if (!node.entries->empty()) return Status::FromErrno(ENOTEMPTY, path);
  state_->RecordNames(place.node, true, {{place.directory, place.name, 0}}, "remove " + path);
  state_->Collect(place.node);
  return Status::Ok();
}

Status SimDisk::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(state_->mutex);
  FIRN_RETURN_IF_ERROR(state_->Check(Call::kNames, from));
  SimDiskState::Place source = state_->Find(from);
  SimDiskState::Place target = state_->Find(to);
  if (source.node == 0 || target.directory == 0) return Status::FromErrno(ENOENT, from);
  if (source.node == target.node) return Status::Ok();
  bool directory = state_->live.at(source.node).directory;
  if (target.node != 0) {
    const SimNode& old = state_->live.at(target.node);
    if (old.directory != directory) return Status::FromErrno(directory ? ENOTDIR : EISDIR, to);
    if (directory && !old.entries->empty()) return Status::FromErrno(ENOTEMPTY, to);
  }
  state_->RecordNames(
      source.node, directory,
      {{source.directory, source.name, 0}, {target.directory, target.name, source.node}},
      "rename " + from + " to " + to);
  state_->nodes[source.node].label = std::make_shared<const std::string>(to);
  if (target.node != 0) state_->Collect(target.node);
  return Status::Ok();
}

Status SimDisk::Link(const std::string& from, const std::string& to) {
  std::lock_guard lock(state_->mutex);
  FIRN_RETURN_IF_ERROR(state_->Check(Call::kNames, from));
  SimDiskState::Place source = state_->Find(from);
  SimDiskState::Place target = state_->Find(to);
  if (source.node == 0 || target.directory == 0) return Status::FromErrno(ENOENT, from);
  if (target.node != 0) return Status(StatusCode::kBusy, to + " exists", EEXIST);
  if (state_->live.at(source.node).directory) return Status::FromErrno(EPERM, from);
  state_->RecordNames(source.node, false, {{target.directory, target.name, source.node}},
                      "link " + from + " as " + to);
  return Status::Ok();
}

bool SimDisk::Exists(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  return state_->powered && state_->Find(path).node != 0;
}

Status SimDisk::SyncDirectory(const std::string& directory) {
  std::lock_guard lock(state_->mutex);
  FIRN_RETURN_IF_ERROR(state_->Check(Call::kSyncDirectory, directory));
  SimNodeId id;
  if (state_->Directory(directory, &id) == nullptr) return Status::FromErrno(ENOENT, directory);
  ++state_->stats.syncs;
  state_->Record({.kind = Kind::kSyncNames,
                  .node = id,
                  .label = std::make_shared<const std::string>(directory)});
  return Status::Ok();
}

Result<std::unique_ptr<FileLock>> SimDisk::Lock(const std::string& path) {
  {
    std::lock_guard lock(state_->mutex);
    if (state_->locked.contains(path)) {
      return std::unexpected(Status(StatusCode::kBusy, path + " is locked"));
    }
  }
  Result<std::unique_ptr<File>> file = Open(path, {.create = true});
  if (!file) return std::unexpected(file.error());
  std::lock_guard lock(state_->mutex);
  if (!state_->locked.insert(path).second) {
    return std::unexpected(Status(StatusCode::kBusy, path + " is locked"));
  }
  return std::make_unique<SimLock>(state_, path);
}

Result<SpaceInfo> SimDisk::Space(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  if (!state_->powered) return Failed(EIO, path);
  if (state_->Find(path).node == 0) return Failed(ENOENT, path);
  return SpaceInfo{.total_bytes = state_->capacity, .available_bytes = state_->FreeBytes()};
}

uint64_t SimDisk::event_count() const {
  std::lock_guard lock(state_->mutex);
  return state_->history.size();
}

uint64_t SimDisk::inherited_events() const {
  std::lock_guard lock(state_->mutex);
  return state_->inherited;
}

std::string SimDisk::DescribeEvent(uint64_t event) const {
  std::lock_guard lock(state_->mutex);
  return event < state_->history.size() ? DescribeSimEvent(state_->history[event]) : "end";
}

void SimDisk::NoteMappedStores() {
  std::lock_guard lock(state_->mutex);
  for (auto& [id, node] : state_->nodes) {
    if (node.arena != nullptr) state_->NoteMapped(id, 0, UINT64_MAX);
  }
}

std::unique_ptr<SimDisk> SimDisk::CrashImage(uint64_t event, const CrashPolicy& policy,
                                             uint64_t seed) const {
  std::lock_guard lock(state_->mutex);
  Random random(seed);
  SimTree tree = state_->DurableAt(event).Image(state_->history, policy, &random);
  SimDiskOptions options = state_->options;
  options.capacity_bytes = state_->capacity;
  options.seed = random.Next();
  auto image = MakeState(options, std::move(tree));
  image->arenas = state_->arenas;
  LabelTree(image.get(), kSimRoot, "");
  return std::unique_ptr<SimDisk>(new SimDisk(std::move(image)));
}

uint64_t SimDisk::UnsyncedEvents(uint64_t event) const {
  std::lock_guard lock(state_->mutex);
  return state_->DurableAt(event).Pending().size();
}

std::unique_ptr<SimDisk> SimDisk::ProcessDeathImage(uint64_t event) const {
  std::lock_guard lock(state_->mutex);
  const SimHistory& history = state_->history;
  while (event < history.size() && history[event].batched) ++event;
  const SimDurable& durable = state_->DurableAt(event);
  SimDiskOptions options = state_->options;
  options.capacity_bytes = state_->capacity;
  auto image = MakeState(options, durable.tree());
  image->arenas = state_->arenas;
  for (uint64_t i : durable.Pending()) {
    SimEvent pending = history[i];
    pending.batched = false;
    image->next_node = std::max(image->next_node, pending.node + 1);
    image->Record(std::move(pending));
  }
  image->inherited = image->history.size();
  PruneSimTree(&image->live);
  image->used = 0;
  for (const auto& [id, node] : image->live) image->used += node.content->AllocatedBytes();
  LabelTree(image.get(), kSimRoot, "");
  return std::unique_ptr<SimDisk>(new SimDisk(std::move(image)));
}

void SimDisk::PowerOff() {
  NoteMappedStores();
  std::lock_guard lock(state_->mutex);
  state_->powered = false;
}

void SimDisk::Inject(SimFault fault) {
  std::lock_guard lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void SimDisk::ClearFaults() {
  std::lock_guard lock(state_->mutex);
  state_->faults.clear();
}

void SimDisk::SetCapacity(uint64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}

uint64_t SimDisk::used_bytes() const {
  std::lock_guard lock(state_->mutex);
  return state_->used;
}

Status SimDisk::FlipBit(const std::string& path, uint64_t offset, int bit) {
  CHECK(bit >= 0 && bit < 8);
  char byte;
  {
    std::lock_guard lock(state_->mutex);
    SimNodeId id = state_->Find(path).node;
    if (id == 0) return Status::FromErrno(ENOENT, path);
    state_->NoteMapped(id, offset, 1);
    if (state_->live.at(id).content->Read(offset, {&byte, 1}) == 0) {
      return Status::Invalid("past the end of " + path);
    }
  }
  byte = static_cast<char>(byte ^ (1 << bit));
  return Damage(path, offset, {&byte, 1});
}

Status SimDisk::Damage(const std::string& path, uint64_t offset, std::string_view bytes) {
  std::lock_guard lock(state_->mutex);
  SimNodeId id = state_->Find(path).node;
  if (id == 0 || state_->live.at(id).directory) return Status::FromErrno(ENOENT, path);
  if (offset + bytes.size() > state_->live.at(id).content->size()) {
    return Status::Invalid("past the end of " + path);
  }
  state_->NoteMapped(id, offset, bytes.size());
  SimEvent event{.kind = Kind::kDamage, .node = id, .offset = offset};
  event.bytes = std::make_shared<const std::string>(bytes);
  state_->Record(std::move(event));
  state_->ReloadMapped(id, offset, bytes.size());
  return Status::Ok();
}

uint64_t SimDisk::BeginSync(File* file) {
  std::lock_guard lock(state_->mutex);
  state_->NoteMapped(NodeOfSimFile(*file), 0, UINT64_MAX);
  return state_->history.size();
}

Status SimDisk::FinishSync(File* file, uint64_t begun) {
  std::lock_guard lock(state_->mutex);
  return state_->FinishSync(NodeOfSimFile(*file), begun, file->path());
}

SimDiskStats SimDisk::stats() const {
  std::lock_guard lock(state_->mutex);
  return state_->stats;
}

uint64_t SimDisk::Digest() const {
  std::lock_guard lock(state_->mutex);
  return DigestNode(state_->live, kSimRoot, 0xcbf29ce484222325ull);
}

}  // namespace firn::io
