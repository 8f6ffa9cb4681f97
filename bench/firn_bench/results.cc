#include "bench/firn_bench/results.h"

#include <cstdio>

namespace firn::bench {

void OperationResult::Merge(const OperationResult& other) {
  latency_ns.Merge(other.latency_ns);
  done += other.done;
  hits += other.hits;
  misses += other.misses;
  errors += other.errors;
  wrong += other.wrong;
  unexpectedly_missing += other.unexpectedly_missing;
}

void Results::Merge(const Results& other) {
  for (size_t i = 0; i < kOperations; ++i) operations[i].Merge(other.operations[i]);
  bytes_sent += other.bytes_sent;
  bytes_received += other.bytes_received;
  issued += other.issued;
  never_sent += other.never_sent;
  connection_failures += other.connection_failures;
  unanswered += other.unanswered;
  values_checked += other.values_checked;
}

OperationResult Results::Total() const {
  OperationResult total;
  for (const OperationResult& one : operations) total.Merge(one);
  return total;
}

void FailureLog::Print(const std::string& line) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (printed_ > kPrinted) return;
  std::fprintf(stderr, "firn-bench: %s\n", printed_ == kPrinted ? "more of these" : line.c_str());
  ++printed_;
}

}  // namespace firn::bench
