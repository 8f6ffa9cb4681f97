// ValueBuild: the pages of a collection that is being made for a command, a slice an iteration
// (TreeBuilder makes them). They have a value id of their own, and no key leads to them until
// Database::SetBuilt gives them one. Without one they are deleted in the background when this
// object goes, and after a crash: the reaper's note is logged before the first of them.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "engine/types/page_space.h"
#include "tiering/store.h"

namespace firn {

class ValueBuild {
 public:
  explicit ValueBuild(Database& database);
  ~ValueBuild();
  ValueBuild(const ValueBuild&) = delete;
  ValueBuild& operator=(const ValueBuild&) = delete;

  uint64_t value_id() const { return id_; }
  // The database was emptied, or the store closed: nothing may be called any more.
  bool lost() const;
  // All pages will have numbers below this, as far as that is known: after a crash, no others are
  // looked for. Before the first page.
  void ExpectEnd(PageNumber end) { expected_end_ = end; }
  // Whether pages of so many bytes may be written now: asked before each slice.
  enum class Room : uint8_t {
    kReady,
    kLater,  // in one of the next iterations
    kFailed,
  };
  Room CheckRoom(uint64_t bytes);
  // REQUIRES: not lost; the page is new. A failure of the log shows in Store::TakeRunError.
  void WritePage(PageNumber page, std::string_view bytes);

 private:
  friend class Database;
  std::weak_ptr<StoreImpl*> store_;
  uint32_t keyspace_ = 0;  // of the pages
  uint64_t id_ = 0;
  PageNumber expected_end_ = 0;
  PageNumber noted_end_ = 0;  // what the reaper's note covers
  Ticket ticket_;
};

}  // namespace firn
