// One whole SCAN, held against what the keys should be.
#pragma once

#include <cstdint>

#include "bench/firn_bench/options.h"
#include "bench/firn_bench/results.h"

namespace firn::bench {

struct ScanResult {
  bool finished = false;
  uint64_t replies = 0;
  uint64_t returned = 0;
  uint64_t distinct = 0;
  // Expected and never returned.
  uint64_t missing = 0;
  // Returned though they must be missing.
  uint64_t deleted = 0;
  // Names that are not among the keys.
  uint64_t foreign = 0;
  // Cursors of 2^53 and above, which clients that keep numbers as doubles would corrupt.
  uint64_t wide_cursors = 0;
  double seconds = 0;

  bool right() const {
    return finished && missing == 0 && deleted == 0 && foreign == 0 && wide_cursors == 0;
  }
};

// Scans on one connection, COUNT 1000, for at most options.max_seconds.
ScanResult ScanAll(const Options& options, FailureLog& failures);

}  // namespace firn::bench
