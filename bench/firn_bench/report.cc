#include "bench/firn_bench/report.h"

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string_view>

namespace firn::bench {

namespace {

struct PercentileRow {
  const char* name;
  double fraction;
};
constexpr std::array<PercentileRow, 5> kPercentiles = {{
    {"p50", 0.5},
    {"p90", 0.9},
    {"p99", 0.99},
    {"p99.9", 0.999},
    {"p99.99", 0.9999},
}};

double Microseconds(uint64_t ns) { return static_cast<double>(ns) / 1000; }

template <typename... Args>
std::string Format(const char* format, Args... args) {
  char text[256];
  std::snprintf(text, sizeof text, format, args...);
  return text;
}

std::string OperationText(std::string_view name, const OperationResult& result, double seconds) {
  std::string text = Format("%-7s %11" PRIu64 " %11.0f/s  us:", std::string(name).c_str(),
                            result.done, static_cast<double>(result.done) / seconds);
  for (const PercentileRow& row : kPercentiles) {
    text += Format(" %s %.0f", row.name, Microseconds(result.latency_ns.Percentile(row.fraction)));
  }
  text += Format(" max %.0f", Microseconds(result.latency_ns.Max()));
  if (result.hits + result.misses > 0) {
    text += Format("  hits %" PRIu64 " misses %" PRIu64, result.hits, result.misses);
  }
  if (result.errors > 0) text += Format("  ERRORS %" PRIu64, result.errors);
  if (result.wrong > 0) text += Format("  WRONG %" PRIu64, result.wrong);
  return text + "\n";
}

std::string OperationJson(const OperationResult& result, double seconds) {
  std::string json = Format("{\"done\": %" PRIu64 ", \"per_second\": %.1f, \"hits\": %" PRIu64
                            ", \"misses\": %" PRIu64 ", \"errors\": %" PRIu64,
                            result.done, static_cast<double>(result.done) / seconds, result.hits,
                            result.misses, result.errors);
  json += Format(", \"wrong\": %" PRIu64 ", \"unexpectedly_missing\": %" PRIu64
                 ", \"latency_us\": {\"mean\": %.2f",
                 result.wrong, result.unexpectedly_missing, result.latency_ns.Mean() / 1000);
  for (const PercentileRow& row : kPercentiles) {
    json += Format(", \"%s\": %.2f", row.name,
                   Microseconds(result.latency_ns.Percentile(row.fraction)));
  }
  return json + Format(", \"max\": %.2f}}", Microseconds(result.latency_ns.Max()));
}

std::string ScanJson(const ScanResult& scan) {
  std::string json = Format("{\"finished\": %s, \"replies\": %" PRIu64 ", \"returned\": %" PRIu64
                            ", \"distinct\": %" PRIu64 ", \"missing\": %" PRIu64,
                            scan.finished ? "true" : "false", scan.replies, scan.returned,
                            scan.distinct, scan.missing);
  return json + Format(", \"deleted\": %" PRIu64 ", \"foreign\": %" PRIu64
                       ", \"wide_cursors\": %" PRIu64 ", \"seconds\": %.3f, \"right\": %s}",
                       scan.deleted, scan.foreign, scan.wide_cursors, scan.seconds,
                       scan.right() ? "true" : "false");
}

}  // namespace

int Report::ExitCode() const {
  OperationResult total = results.Total();
  if (total.errors > 0 || total.wrong > 0) return 1;
  if (scan && !scan->right()) return scan->finished ? 1 : 3;
  return results.connection_failures > 0 ? 3 : 0;
}

std::string ReportText(const Report& report) {
  if (report.scan) return "scan " + ScanJson(*report.scan) + "\n";
  std::string text;
  OperationResult total = report.results.Total();
  int kinds = 0;
  for (const OperationRow& row : kOperationRows) {
    const OperationResult& result = report.results.operations[static_cast<size_t>(row.operation)];
    if (result.done + result.errors == 0) continue;
    ++kinds;
    text += OperationText(row.name, result, report.seconds);
  }
  if (kinds != 1) text += OperationText("all", total, report.seconds);
  text += Format("%.2f s, %.2f us of firn-bench's CPU each", report.seconds,
                 report.cpu_seconds * 1e6 / static_cast<double>(report.results.issued + 1));
  if (report.options.check) text += Format(", %" PRIu64 " checked", report.results.values_checked);
  if (report.results.never_sent > 0) {
    text += Format(", %" PRIu64 " due but never sent", report.results.never_sent);
  }
  if (report.results.connection_failures > 0) {
    text += Format(", %" PRIu64 " connections failed with %" PRIu64 " unanswered",
                   report.results.connection_failures, report.results.unanswered);
  }
  return text + "\n";
}

std::string ReportJson(const Report& report) {
  const Results& results = report.results;
  std::string json =
      Format("{\"seconds\": %.4f, \"cpu_seconds\": %.4f, \"issued\": %" PRIu64
             ", \"values_checked\": %" PRIu64,
             report.seconds, report.cpu_seconds, results.issued, results.values_checked);
  json += Format(", \"bytes_sent\": %" PRIu64 ", \"bytes_received\": %" PRIu64
                 ", \"never_sent\": %" PRIu64 ", \"connection_failures\": %" PRIu64
                 ", \"unanswered\": %" PRIu64,
                 results.bytes_sent, results.bytes_received, results.never_sent,
                 results.connection_failures, results.unanswered);
  json += Format(", \"exit_code\": %d", report.ExitCode());
  if (report.scan) json += ",\n \"scan\": " + ScanJson(*report.scan);
  json += ",\n \"all\": " + OperationJson(results.Total(), report.seconds);
  json += ",\n \"operations\": {";
  const char* separator = "";
  for (const OperationRow& row : kOperationRows) {
    const OperationResult& result = results.operations[static_cast<size_t>(row.operation)];
    if (result.done + result.errors == 0) continue;
    json += std::string(separator) + "\n  \"" + std::string(row.name) +
            "\": " + OperationJson(result, report.seconds);
    separator = ",";
  }
  return json + "}}\n";
}

}  // namespace firn::bench
