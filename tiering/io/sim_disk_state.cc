#include "tiering/io/sim_disk_state.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine/base/check.h"

namespace firn::io {

using Kind = SimEvent::Kind;

namespace {

// So many pages on end may have been stored to and be as they were, if stores ascend.
constexpr uint64_t kSamePagesMax = (64 << 10) / kSimChunkSize;

}  // namespace

SimDiskState::SimDiskState(SimDiskOptions disk_options)
    : options(disk_options), capacity(disk_options.capacity_bytes), random(disk_options.seed) {}

SimDiskState::~SimDiskState() {
  powered = false;
  for (auto& [id, node] : nodes) {
    NoteMapped(id, 0, UINT64_MAX);
    if (node.arena) arenas->Give(std::move(node.arena));
  }
}

SimDiskState::Place SimDiskState::Find(const std::string& path) const {
  Place place;
  SimNodeId at = kSimRoot;
  place.node = kSimRoot;
  for (size_t begin = 0; begin <= path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    std::string_view part = std::string_view(path).substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    auto directory = at == 0 ? live.end() : live.find(at);
    if (directory == live.end() || !directory->second.directory) return {};
    place.directory = at;
    place.name = part;
    auto entry = directory->second.entries->find(place.name);
    place.node = at = entry == directory->second.entries->end() ? 0 : entry->second;
  }
  return place;
}

SimNode* SimDiskState::Directory(const std::string& path, SimNodeId* id) {
  *id = Find(path).node;
  if (*id == 0) return nullptr;
  SimNode& node = live.at(*id);
  return node.directory ? &node : nullptr;
}

void SimDiskState::Record(SimEvent event) {
  if (event.label == nullptr) event.label = nodes[event.node].label;
  auto node = live.find(event.node);
  bool data = event.kind == Kind::kWrite || event.kind == Kind::kTruncate ||
              event.kind == Kind::kAllocate || event.kind == Kind::kDamage;
  uint64_t before = data ? node->second.content->AllocatedBytes() : 0;
  ApplySimEvent(&live, event);
  if (data) used += node->second.content->AllocatedBytes() - before;
  if (event.kind == Kind::kWrite) {
    nodes[event.node].unsynced.push_back(history.size());
    stats.written_bytes += event.bytes->size();
  }
  history.push_back(std::move(event));
}

void SimDiskState::RecordNames(SimNodeId node, bool directory, std::vector<SimNameChange> changes,
                               const std::string& label) {
  SimEvent event{.kind = Kind::kNames, .directory = directory, .node = node};
  event.label = std::make_shared<const std::string>(label);
  event.names = std::make_shared<const std::vector<SimNameChange>>(std::move(changes));
  Record(std::move(event));
}

void SimDiskState::RecordWrite(SimNodeId node, uint64_t offset, std::string_view bytes,
                               bool batched) {
  SimEvent event{.kind = Kind::kWrite, .batched = batched, .node = node, .offset = offset};
  event.bytes = std::make_shared<const std::string>(bytes);
  Record(std::move(event));
}

template <typename Visit>
void SimDiskState::VisitStores(SimNodeId id, SimOpenNode* node, uint64_t begin, uint64_t end,
                               Visit visit) {
  // The visit may replace the object that this points to.
  const std::shared_ptr<SimContent>& content = live.at(id).content;
  const bool ascending = options.ascending_stores;
  uint64_t page = ascending ? node->last_store : begin;
  end = ascending ? node->mapped.size() : std::min<uint64_t>(end, node->mapped.size());
  for (uint64_t same = 0; page < end && (!ascending || same <= kSamePagesMax); ++page) {
    if (node->mapped[page] == 0) continue;
    const char* now = node->arena->base() + page * kSimChunkSize;
    const char* then = content->Chunk(page);
    if (std::memcmp(now, then, kSimChunkSize) == 0) {
      ++same;
      continue;
    }
    same = 0;
    node->last_store = page;
    node->arena->NoteUsed((page + 1) * kSimChunkSize);
    visit(page, now, then);
  }
}

void SimDiskState::NoteMapped(SimNodeId id, uint64_t offset, uint64_t size) {
  auto open = nodes.find(id);
  if (open == nodes.end() || open->second.arena == nullptr || size == 0) return;
  SimOpenNode& node = open->second;
  const char* base = node.arena->base();
  uint64_t run = 0;  // changed sectors [run, run_end)
  uint64_t run_end = 0;
  bool batched = false;
  auto flush = [&] {
    if (run == run_end) return;
    uint64_t begin = run * kSimSectorSize;
    RecordWrite(id, begin, {base + begin, (run_end - run) * kSimSectorSize}, batched);
    batched = true;
    run = run_end;
  };
  auto note = [&](uint64_t page, const char* now, const char* then) {
    if (!powered) return;
    if (!live.at(id).content->IsReserved(page * kSimChunkSize)) ++stats.sparse_mapped_stores;
    uint64_t differs = 0;  // bit by sector, taken before a flush can change the chunk
    for (uint64_t i = 0; i < kSimChunkSize / kSimSectorSize; ++i) {
      if (std::memcmp(now + i * kSimSectorSize, then + i * kSimSectorSize, kSimSectorSize) != 0) {
        differs |= 1u << i;
      }
    }
    for (uint64_t i = 0; i < kSimChunkSize / kSimSectorSize; ++i) {
      if ((differs >> i & 1) == 0) continue;
      uint64_t sector = page * (kSimChunkSize / kSimSectorSize) + i;
      if (sector != run_end) {
        flush();
        run = sector;
      }
      run_end = sector + 1;
    }
  };
  VisitStores(id, &node, offset / kSimChunkSize, (offset + size - 1) / kSimChunkSize + 1, note);
  flush();
}

void SimDiskState::ReloadMapped(SimNodeId id, uint64_t offset, uint64_t size) {
  auto open = nodes.find(id);
  if (open == nodes.end() || open->second.arena == nullptr || size == 0) return;
  SimOpenNode& node = open->second;
  uint64_t last = std::min<uint64_t>(node.mapped.size(), (offset + size - 1) / kSimChunkSize + 1);
  const SimContent& content = *live.at(id).content;
  for (uint64_t page = offset / kSimChunkSize; page < last; ++page) {
    if (node.mapped[page] != 0) LoadMapped(&node, content, page);
  }
}

void SimDiskState::LoadMapped(SimOpenNode* node, const SimContent& content, uint64_t page) {
  const uint64_t at = page * kSimChunkSize;
  const bool hole = content.IsHole(at);
  if (hole && at >= node->arena->used()) return;
  std::memcpy(node->arena->base() + at, content.Chunk(page), kSimChunkSize);
  if (!hole) node->arena->NoteUsed(at + kSimChunkSize);
}

void SimDiskState::Collect(SimNodeId id) {
  auto node = live.find(id);
  if (node == live.end() || node->second.links > 0 || id == kSimRoot) return;
  auto open = nodes.find(id);
  if (open != nodes.end()) {
    if (open->second.handles > 0 || open->second.arena != nullptr) return;
    nodes.erase(open);
  }
  used -= node->second.content->AllocatedBytes();
  live.erase(node);
}

int SimDiskState::Fault(SimFault::Call call, const std::string& path) {
  for (auto fault = faults.begin(); fault != faults.end(); ++fault) {
    if (fault->call != call || path.find(fault->path_part) == std::string::npos) continue;
    if (fault->skip > 0) {
      --fault->skip;
      continue;
    }
    int error = fault->error;
    if (!fault->repeats) faults.erase(fault);
    ++stats.faults;
    return error;
  }
  return 0;
}

Status SimDiskState::Check(SimFault::Call call, const std::string& path) {
  if (!powered) return Status::FromErrno(EIO, path + " (power is off)");
  if (int error = Fault(call, path); error != 0) return Status::FromErrno(error, path);
  return Status::Ok();
}

Status SimDiskState::Write(SimNodeId id, uint64_t offset, std::string_view bytes,
                           const std::string& path) {
  FIRN_RETURN_IF_ERROR(Check(SimFault::Call::kWrite, path));
  if (bytes.empty()) return Status::Ok();
  NoteMapped(id, offset, bytes.size());
  // A full disk takes the part that fits, and says so.
  const SimContent& content = *live.at(id).content;
  uint64_t free = FreeBytes();
  uint64_t fits = 0;
  while (fits < bytes.size()) {
    uint64_t at = offset + fits;
    if (content.IsHole(at) && !content.IsReserved(at)) {
      if (free < kSimChunkSize) break;
      free -= kSimChunkSize;
    }
    fits = std::min<uint64_t>(bytes.size(), (at / kSimChunkSize + 1) * kSimChunkSize - offset);
  }
  if (fits > 0) {
    RecordWrite(id, offset, bytes.substr(0, fits), false);
    ReloadMapped(id, offset, fits);
  }
  return fits < bytes.size() ? Status::FromErrno(ENOSPC, path) : Status::Ok();
}

Status SimDiskState::Allocate(SimNodeId id, uint64_t size, const std::string& path) {
  FIRN_RETURN_IF_ERROR(Check(SimFault::Call::kAllocate, path));
  SimContent after = *live.at(id).content;
  uint64_t before = after.AllocatedBytes();
  after.Reserve(size);
  if (after.AllocatedBytes() - before > FreeBytes()) return Status::FromErrno(ENOSPC, path);
  Record({.kind = Kind::kAllocate, .node = id, .offset = size});
  return Status::Ok();
}

Result<char*> SimDiskState::Map(SimNodeId id, uint64_t offset, uint64_t size,
                                const std::string& path) {
  if (!powered) return std::unexpected(Status::FromErrno(EIO, path + " (power is off)"));
  CHECK(offset % kSimChunkSize == 0 && size % kSimChunkSize == 0 && size > 0);
  std::shared_ptr<SimContent> content = live.at(id).content;
  CHECK_MSG(offset + size <= content->size(), "a mapping lies inside its file");
  SimOpenNode& node = nodes[id];
  if (node.arena == nullptr) node.arena = arenas->Take(offset + size);
  CHECK_MSG(offset + size <= node.arena->capacity(), "a mapped file grew out of its arena");
  if (node.mapped.size() < (offset + size) / kSimChunkSize) {
    node.mapped.resize((offset + size) / kSimChunkSize);
  }
  for (uint64_t page = offset / kSimChunkSize; page < (offset + size) / kSimChunkSize; ++page) {
    if (node.mapped[page]++ == 0) LoadMapped(&node, *content, page);
  }
  char* address = node.arena->base() + offset;
  mappings[address].push_back({id, offset, size});
  return address;
}

void SimDiskState::Unmap(char* address, uint64_t size) {
  // A part of a mapping may be unmapped; then what is left and right of it stays.
  auto at = mappings.upper_bound(address);
  size_t index = 0;
  for (bool found = false; !found;) {
    CHECK_MSG(at != mappings.begin(), "unmapping what is not mapped");
    --at;
    uint64_t before = static_cast<uint64_t>(address - at->first);
    for (index = at->second.size(); !found && index > 0;) {
      found = before + size <= at->second[--index].size;
    }
  }
  char* const base = at->first;
  const SimMapping mapping = at->second[index];
  at->second.erase(at->second.begin() + static_cast<ptrdiff_t>(index));
  if (at->second.empty()) mappings.erase(at);
  const uint64_t before = static_cast<uint64_t>(address - base);
  const uint64_t after = mapping.size - before - size;
  if (before > 0) mappings[base].push_back({mapping.node, mapping.offset, before});
  if (after > 0) {
    mappings[address + size].push_back({mapping.node, mapping.offset + before + size, after});
  }

  NoteMapped(mapping.node, mapping.offset + before, size);
  SimOpenNode& node = nodes.at(mapping.node);
  const SimContent& content = *live.at(mapping.node).content;
  for (uint64_t i = 0; i < size / kSimChunkSize; ++i) {
    const uint64_t page = (mapping.offset + before) / kSimChunkSize + i;
    --node.mapped[page];
    if (powered) {
      const char* now = node.arena->base() + page * kSimChunkSize;
      CHECK_MSG(std::memcmp(now, content.Chunk(page), kSimChunkSize) == 0,
                "a store was not found: it did not follow the one before");
    }
  }
  if (std::all_of(node.mapped.begin(), node.mapped.end(), [](uint16_t n) { return n == 0; })) {
    arenas->Give(std::move(node.arena));
    node.mapped.clear();
    node.last_store = 0;
    Collect(mapping.node);
  }
}

Status SimDiskState::FinishSync(SimNodeId id, uint64_t covers, const std::string& path) {
  if (!powered) return Status::FromErrno(EIO, path + " (power is off)");
  int error = Fault(SimFault::Call::kSync, path);
  ++stats.syncs;
  std::erase_if(nodes[id].unsynced, [&](uint64_t event) { return event < covers; });
  SimEvent event{
      .kind = error == 0 ? Kind::kSync : Kind::kFailedSync, .node = id, .covers = covers};
  if (error != 0) event.offset = random.Next();
  Record(std::move(event));
  return error == 0 ? Status::Ok() : Status::FromErrno(error, path);
}

void SimDiskState::CountDirectRead(SimNodeId id, uint64_t offset, uint64_t size) {
  ++stats.direct_reads;
  for (uint64_t i : nodes[id].unsynced) {
    const SimEvent& event = history[i];
    if (event.offset < offset + size && offset < event.offset + event.bytes->size()) {
      ++stats.direct_reads_of_unsynced;
      CHECK_MSG(!options.check_direct_reads, "a direct read touches bytes that are not synced");
      return;
    }
  }
}

const SimDurable& SimDiskState::DurableAt(uint64_t event) {
  CHECK(event <= history.size());
  size_t checkpoint = std::min<uint64_t>(event / kCheckpointEvents, checkpoints.size() - 1);
  if (!cursor || cursor->position() > event ||
      cursor->position() < checkpoints[checkpoint].position()) {
    cursor = checkpoints[checkpoint];
  }
  while (cursor->position() < event) {
    cursor->Advance(history);
    if (cursor->position() == checkpoints.size() * kCheckpointEvents) {
      checkpoints.push_back(*cursor);
    }
  }
  return *cursor;
}

}  // namespace firn::io
