// AccessSurvey: how much the keys in RAM are used, for a dump: seconds without use, or the LFU
// counter, as maxmemory-policy wants. A walk in slices on the executor, before the moment that is
// saved; eight bytes for each key. Then Finish, and any thread may look up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace firn {

class AccessSurvey {
 public:
  bool is_lfu() const { return is_lfu_; }

  // Once the walk has ended.
  void Finish() {
    for (Database& database : databases_) std::sort(database.notes.begin(), database.notes.end());
  }
  // Seconds without use, at most 2^24 - 1, or the counter. A key that isn't in RAM counts as the
  // one in RAM that is used least. REQUIRES: finished.
  uint32_t Find(uint32_t db, uint64_t hash) const {
    if (db >= databases_.size()) return 0;
    const Database& database = databases_[db];
    const uint64_t prefix = hash & ~kUseMask;
    auto it = std::lower_bound(database.notes.begin(), database.notes.end(), prefix);
    if (it != database.notes.end() && (*it & ~kUseMask) == prefix) {
      return static_cast<uint32_t>(*it & kUseMask);
    }
    return database.least_used;
  }

 private:
  friend class Store;
  static constexpr uint64_t kUseMask = (1 << 24) - 1;
  struct Database {
    std::vector<uint64_t> notes;  // the upper 40 bits of the hash, and the use
    uint32_t least_used = 0;
  };

  void Note(uint32_t db, uint64_t hash, uint32_t use) {
    Database& database = databases_[db];
    use = static_cast<uint32_t>(std::min<uint64_t>(use, kUseMask));
    const bool is_first = database.notes.empty();
    database.notes.push_back((hash & ~kUseMask) | use);
    const uint32_t known = database.least_used;
    database.least_used = is_first ? use : is_lfu_ ? std::min(known, use) : std::max(known, use);
  }

  std::vector<Database> databases_;
  bool is_lfu_ = false;
  bool has_begun_ = false;
  uint32_t db_ = 0;  // where the walk stands
  uint64_t next_hash_ = 0;
};

}  // namespace firn
