#include "tiering/log/segment_maker.h"

#include <algorithm>
#include <utility>

#include "tiering/log/segment.h"

namespace firn::log {
namespace {

constexpr uint64_t kSmallestCapacity = 1 << 20;
constexpr uint64_t kCapacityStep = 64 << 10;

uint64_t RoundUp(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

Status CheckLimits(const SegmentOrder& order, uint64_t capacity, const io::SpaceInfo& space) {
  if (!order.keep_reserve) return Status::Ok();
  if (order.max_log_bytes != 0) {
    if (order.log_bytes + capacity <= OrdinaryLimit(order.max_log_bytes)) return Status::Ok();
    return {StatusCode::kNoSpace,
            order.directory + ": the log holds " + std::to_string(order.log_bytes) +
                " bytes of the " + std::to_string(order.max_log_bytes) + " that `maxdisk` allows"};
  }
  uint64_t reserve = DiskReserve(space.total_bytes);
  if (space.total_bytes == 0 || space.available_bytes >= reserve + capacity) return Status::Ok();
  return {StatusCode::kNoSpace, order.directory + ": the file system has " +
                                    std::to_string(space.available_bytes) + " bytes left, " +
                                    std::to_string(reserve) + " of which are kept free"};
}

// The steps after the creation.
Result<MadeSegment> Fill(io::FileSystem* file_system, const SegmentOrder& order,
                         std::unique_ptr<io::File> file, uint64_t capacity) {
  if (Status status = file->Allocate(capacity); !status.ok()) return std::unexpected(status);
  if (Status status = file_system->SyncDirectory(order.directory); !status.ok()) {
    return std::unexpected(status);
  }
  auto address = file->Map(0, capacity);
  if (!address) return std::unexpected(address.error());
  MadeSegment made;
  made.id = order.id;
  made.file = std::move(file);
  made.address = *address;
  made.capacity = capacity;
  return made;
}

}  // namespace

uint64_t DiskReserve(uint64_t disk_bytes) {
  return std::min(std::max<uint64_t>(disk_bytes / 20, 1 << 30), disk_bytes / 4);
}

uint64_t OrdinaryCapacity(uint64_t segment_size_bytes, DiskLimits limits) {
  uint64_t capacity = segment_size_bytes;
  for (uint64_t bytes : {limits.max_log_bytes, limits.disk_bytes}) {
    if (bytes != 0) capacity = std::min(capacity, bytes / 16 / kCapacityStep * kCapacityStep);
  }
  return std::max(capacity, kSmallestCapacity);
}

Result<MadeSegment> MakeSegment(io::FileSystem* file_system, const SegmentOrder& order) {
  auto space = file_system->Space(order.directory);
  if (!space) return std::unexpected(space.error());
  uint64_t capacity =
      OrdinaryCapacity(order.segment_size_bytes,
                       {.max_log_bytes = order.max_log_bytes, .disk_bytes = space->total_bytes});
  uint64_t least = RoundUp(kSegmentHeaderSize + order.room_bytes, io::kDirectAlignment);
  capacity = std::max(capacity, least);
  if (Status status = CheckLimits(order, capacity, *space); !status.ok()) {
    return std::unexpected(status);
  }

  std::string path = order.directory + "/" + SegmentFileName(order.id);
  for (;;) {
    auto file = file_system->Open(path, {.create = true, .exclusive = true});
    if (!file) return std::unexpected(file.error());
    auto made = Fill(file_system, order, std::move(*file), capacity);
    if (made) return made;
    // The failure that is reported is the first one; a file that can't be removed is found and
    // removed by the next start, as a segment without a header.
    (void)file_system->Remove(path);
    bool smaller_might_do = made.error().code() == StatusCode::kNoSpace && !order.keep_reserve &&
                            capacity / 2 >= std::max(least, kSmallestCapacity);
    if (!smaller_might_do) return made;
    capacity = RoundUp(capacity / 2, io::kDirectAlignment);
  }
}

}  // namespace firn::log
