// Reaper: deletes the pages of collections that are gone, a few at a time, so that no command ever
// waits for the size of what it deletes. What is still to be done stands in the log, as a note in
// the keyspace of the pages, until it is done: a crash leaves no page behind. A cold root is read
// first, after the command's reply; until then the note says where in the log it lies, and holds
// its segment.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "engine/keyspace/entry.h"
#include "tiering/store.h"

namespace firn {

struct Keyspace;
class StoreImpl;
namespace log {
struct LogPosition;
}

class Reaper {
 public:
  explicit Reaper(StoreImpl* store) : store_(*store) {}
  ~Reaper();

  // A root of a keyspace of keys, whose record is being deleted or overwritten by the change under
  // way. Logs a note if it has pages.
  void AddRoot(Keyspace& keyspace, std::string_view root);
  // As AddRoot, for a root that is not in RAM, at this place in the log. Logs a note in any case.
  void AddRecord(Keyspace& keyspace, PackedPosition position);
  // For pages that have no root yet, of a copy that is being made. The note stays in RAM.
  void WriteNote(Keyspace& pages, uint64_t value_id, uint32_t end);
  // They have one now: they stay. REQUIRES: WriteNote.
  void EraseNote(Keyspace& pages, uint64_t value_id);
  // They will have none: they go. REQUIRES: WriteNote.
  void Reap(Keyspace& pages, uint64_t value_id, uint32_t end);
  // A note that a start found.
  void NoteFound(uint32_t pages_keyspace, std::string_view key);
  // Deletes a bounded number of pages; true if it would go on at once.
  bool Step();
  bool busy() const { return waiting() > 0; }
  // Values whose pages are still to be deleted.
  size_t waiting() const { return jobs_.size() + found_.size() + roots_.size() + reads_; }
  // Gives up what waits for the disk, before the store is closed.
  void Stop();

 private:
  struct Job {
    uint32_t keyspace = 0;  // of the pages
    std::string note;       // the note's key
    uint64_t value_id = 0;
    uint32_t next = 0;
    uint32_t end = 0;  // 0: stands in the note, which has yet to be read
  };
  // A root that has been read, for a note that names its record.
  struct Root {
    uint32_t keyspace = 0;  // of the pages
    std::string note;
    uint64_t segment_id = 0;
    std::string bytes;
  };
  // A note's segment, until what came of the note is durable.
  struct Hold {
    uint64_t lsn = 0;
    uint64_t segment_id = 0;
  };
  void AddRootTo(Keyspace& pages, std::string_view root);
  void ReadRoot(uint32_t pages_keyspace, std::string note, const log::LogPosition& position);
  // Whether the note is there; false, and waiting_ is set, too, if that isn't known yet.
  bool HasNote(Keyspace& pages, const HashedKey& note);
  // All: true if it goes on at once.
  bool StepFound();
  bool StepRoots();
  bool StepJobs();
  void Unhold(uint64_t segment_id);
  void EndHolds();
  bool ReadNote(Keyspace& pages, Job* job);
  bool DeletePages(Keyspace& pages, Job* job);
  // False if it has to wait.
  bool Plan(std::span<const KeyAccess> keys);
  void AddJob(Job job);

  StoreImpl& store_;
  std::deque<Job> jobs_;
  std::deque<Root> found_;  // by a start, not read yet
  std::deque<Root> roots_;
  std::deque<Hold> holds_;
  Ticket ticket_;
  bool waiting_ = false;
  uint32_t reads_ = 0;
};

}  // namespace firn
