// The report of a run, for people and as JSON.
#pragma once

#include <optional>
#include <string>

#include "bench/firn_bench/options.h"
#include "bench/firn_bench/results.h"
#include "bench/firn_bench/scan_check.h"

namespace firn::bench {

struct Report {
  explicit Report(const Options& run_options) : options(run_options) {}

  const Options& options;
  Results results;
  std::optional<ScanResult> scan;
  // Of the measured part, from the end of the warm-up to the last reply.
  double seconds = 0;
  // firn-bench's own.
  double cpu_seconds = 0;

  // Exit code as in --help.
  int ExitCode() const;
};

std::string ReportText(const Report& report);
std::string ReportJson(const Report& report);

}  // namespace firn::bench
