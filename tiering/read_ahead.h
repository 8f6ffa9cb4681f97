// ReadAhead: fetches pages that commands will soon want: those behind the end of a list that is
// being consumed, so that a pop doesn't wait for each page in turn. What came is held until the
// reader has passed it, or nothing more was asked for in a while; it is bounded.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <vector>

#include "engine/types/page_space.h"
#include "tiering/store.h"

namespace firn {

class StoreImpl;

class ReadAhead {
 public:
  explicit ReadAhead(StoreImpl* store) : store_(*store) {}

  // These pages, in the order in which they will be wanted, are the next of a value; those asked
  // for before and not named here have been passed. `keyspace` is that of the pages. The reads
  // begin at the end of the iteration.
  void Want(uint32_t keyspace, uint64_t value_id, std::span<const PageNumber> pages);
  void Step();
  // Gives everything back, before the store is closed.
  void Stop();

 private:
  struct Request {
    uint32_t keyspace = 0;
    uint64_t value_id = 0;
    std::vector<PageNumber> pages;
  };
  struct Held {
    uint32_t keyspace = 0;
    uint64_t value_id = 0;
    PageNumber page = 0;
    Ticket ticket;
  };
  void Begin(const Request& request);
  void Hold(const Request& request, PageNumber page);
  template <typename Predicate>
  void ReleaseIf(Predicate passed);

  StoreImpl& store_;
  std::vector<Request> requests_;
  std::deque<std::unique_ptr<Held>> held_;  // oldest first
  int64_t asked_micros_ = 0;                // last
};

}  // namespace firn
