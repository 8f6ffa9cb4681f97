// RdbRows: the payload of DUMP of a large collection, given row by row, for those who can't have
// all of it in RAM or take too long over it:
//
//   RdbRows rows(&sink, {.compress = compress, .type = ValueType::kSet, .count = n});
//   rows.Add(row) ... in the order of the tree, of a sorted set from the last to the first;
//   rows.End();
//
// The form is the one that needs nothing but the number of rows, as RdbWriter chooses it for
// large values.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/keyspace/entry.h"
#include "engine/page/packed_page.h"
#include "engine/rdb/rdb_sink.h"
#include "engine/rdb/rdb_values.h"

namespace firn {

class RdbRows {
 public:
  // Whether a value with this root can be given so: not if fields expire, nor if all is integers
  // that Redis packs, nor a stream.
  static bool Fits(ValueType type, std::string_view root);

  struct Options {
    bool compress = true;
    ValueType type = ValueType::kSet;
    uint64_t count = 0;
  };
  RdbRows(RdbSink* sink, const Options& options);
  void Add(const PackedRow& row);
  // Flushes the sink, which has nothing but this.
  void End();

 private:
  RdbSink& sink_;
  RdbPieces out_;
  const ValueType type_;
};

}  // namespace firn
