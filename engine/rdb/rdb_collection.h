// RdbCollection: how one list, set, sorted set or hash is written. It chooses the form, which may
// take a look at all of the value, and then writes it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/keyspace/entry.h"
#include "engine/rdb/listpack.h"
#include "engine/rdb/rdb_values.h"
#include "engine/types/page_space.h"

namespace firn {

class RdbCollection {
 public:
  // REQUIRES: the value exists. Fields that expire at `now_ms` or before are left out.
  RdbCollection(PageSpace* pages, ValueType type, int64_t now_ms)
      : pages_(*pages), type_(type), now_ms_(now_ms) {}

  // False: a page is not in RAM.
  bool Choose();
  // The rest REQUIRES Choose.
  // All fields have expired: there is nothing to write.
  bool empty() const { return empty_; }
  RdbType form() const { return form_; }
  // The RDB version that knows the form.
  int version() const;
  // False: a page is not in RAM.
  bool Write(RdbPieces* out);

 private:
  bool ChooseList();
  bool ChooseSet();
  bool ChooseZset();
  bool ChooseHash();
  bool InspectExpiries();
  bool WriteSet(RdbPieces* out);
  bool WriteZset(RdbPieces* out);
  bool WriteHash(RdbPieces* out);

  PageSpace& pages_;
  const ValueType type_;
  const int64_t now_ms_;
  RdbType form_ = RdbType::kString;
  bool empty_ = false;
  std::vector<std::string> blocks_;  // of the packed forms
  uint64_t count_ = 0;               // of the others
  int64_t earliest_expiry_ms_ = -1;
};

}  // namespace firn
