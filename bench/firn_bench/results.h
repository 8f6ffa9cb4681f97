// What a run counts, and the failures that it prints.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "bench/firn_bench/histogram.h"
#include "bench/firn_bench/operation.h"

namespace firn::bench {

struct OperationResult {
  Histogram latency_ns;
  uint64_t done = 0;
  uint64_t hits = 0;
  uint64_t misses = 0;
  // Error replies.
  uint64_t errors = 0;
  // Failed checks: wrong values, and keys that are there or missing against expectation.
  uint64_t wrong = 0;
  uint64_t unexpectedly_missing = 0;

  void Merge(const OperationResult& other);
};

struct Results {
  std::array<OperationResult, kOperations> operations;
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  // All, with the warm-up: the keys that were touched.
  uint64_t issued = 0;
  // Open loop: operations that were due before the end and never sent.
  uint64_t never_sent = 0;
  uint64_t connection_failures = 0;
  // Sent, and the connection was lost before the reply.
  uint64_t unanswered = 0;
  uint64_t values_checked = 0;

  OperationResult& operator[](Operation operation) {
    return operations[static_cast<size_t>(operation)];
  }
  void Merge(const Results& other);
  OperationResult Total() const;
};

// Prints the first few failures of a run on standard error. Any thread.
class FailureLog {
 public:
  void Print(const std::string& line);

 private:
  static constexpr int kPrinted = 10;
  std::mutex mutex_;
  int printed_ = 0;
};

}  // namespace firn::bench
