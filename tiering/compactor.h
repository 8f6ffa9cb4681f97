// Compactor: gives space back. It takes a sealed segment (segment_picker.h), copies what is alive
// into the cold stream, and proposes the moves, which the executor applies only where the old
// position is still the newest. A chunk at a time:
//
//   worker: read a chunk -> executor: what of it is alive? -> worker: append the copies, sync
//     -> executor: apply moves, hand them to the indexer -> ... -> index flushed -> unlink
//
// Of a key left to the index a worker asks the index; if its record is alive, the key has a stub in
// the table from then on until the index knows of the move.
//
// Executor thread; its jobs touch only the files.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "tiering/compaction_chunk.h"
#include "tiering/evictor.h"
#include "tiering/indexer.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment.h"
#include "tiering/segment_picker.h"

namespace firn {

class Departures;
class StoreImpl;

// Of the name of a cold segment whose header is not synced yet.
inline constexpr std::string_view kUnfinishedSuffix = ".new";

class Compactor {
 public:
  explicit Compactor(StoreImpl* store) : store_(*store) {}

  void Step();
  bool busy() const { return job_running_ || victim_ != 0; }
  bool job_running() const { return job_running_; }
  // The segment that is being compacted, 0: none.
  uint64_t victim() const { return victim_; }
  // Collects all garbage that there is, as BGREWRITEAOF asks for; false if that is being done.
  bool Rewrite();
  bool rewriting() const { return rewriting_; }
  // Of deletes that can't be left out yet, since something older is there.
  uint64_t KeptDeleteBytes() const;

 private:
  using ColdFile = CompactionFile;
  using Chunk = CompactionChunk;
  struct ColdStream {
    std::shared_ptr<ColdFile> file;  // being filled
    uint64_t previous_segment = 0;
    uint32_t previous_crc = 0;
  };
  SegmentPicker::Others OthersThanSegments() const;
  int64_t PauseAfter(int64_t worked_micros) const;
  bool MayDropUnread(const log::Segment& segment) const;
  void BeginVictim(uint64_t id);
  void NextChunk();
  void ReadChunk();
  void OnChunkRead(std::shared_ptr<Chunk> chunk);
  bool IsLive(const log::RecordView& record, uint64_t hash, log::PackedPosition position) const;
  bool KeepsDelete(uint64_t lsn) const;
  // Whether only the index knows if the item is alive.
  bool IsLeft(const Chunk::Item& item) const;
  void AskIndex(std::shared_ptr<Chunk> chunk);
  void TakeLeft(Chunk* chunk, Chunk::Item* item, const Departures& departures);
  void EvictLive(Chunk* chunk);
  void MoveLive(std::shared_ptr<Chunk> chunk);
  void WriteChunk(std::shared_ptr<Chunk> chunk);
  void OnChunkWritten(std::shared_ptr<Chunk> chunk);
  // Whether some are of keys left to the index.
  bool ApplyMoves(Chunk* chunk);
  void AwaitMoves(std::shared_ptr<Chunk> chunk);
  void EndChunk(const Chunk& chunk);
  void OpenColdFile(std::shared_ptr<Chunk> chunk, int lifetime);
  void FinishVictim();
  void UnlinkReady();
  void GiveUpVictim(const std::string& why);
  void Abandon(const Status& status);

  StoreImpl& store_;
  uint64_t victim_ = 0;
  std::shared_ptr<log::LogReader> reader_;
  std::array<ColdStream, kCompactionFiles> cold_streams_;
  int64_t chunk_begun_micros_ = 0;
  int64_t resume_micros_ = 0;
  bool paused_ = false;  // until resume_micros_
  bool evicts_ = false;  // what is alive in the victim
  Evictor::Emptied emptied_;
  bool saw_keyspace_names_ = false;
  std::string tear_;  // of the victim
  bool job_running_ = false;
  bool failed_ = false;
  bool rewriting_ = false;
  int64_t rewrite_begun_micros_ = 0;
  bool flush_asked_ = false;
  int64_t last_pick_micros_ = 0;
  std::vector<uint64_t> unlinkable_;  // flushed, waiting for holds to be released
  // Begins of the segments whose files may still be there, or come back at a power cut.
  std::vector<uint64_t> removed_as_of_lsns_;
  std::vector<uint64_t> unreadable_;  // victims that could not be emptied
};

}  // namespace firn
