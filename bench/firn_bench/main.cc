// firn-bench: a load generator for servers that speak RESP. `firn-bench --help` lists the options,
// bench/README.md the runs that show Firn's figures.
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "bench/firn_bench/options.h"
#include "bench/firn_bench/report.h"
#include "bench/firn_bench/scan_check.h"
#include "bench/firn_bench/worker.h"

namespace firn::bench {
namespace {

double CpuSeconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

void SetTimes(RunState& run) {
  const Options& options = run.options;
  auto after = [&run](double seconds) {
    return run.start_ns + static_cast<uint64_t>(seconds * 1e9);
  };
  run.start_ns = NowNs();
  run.measure_ns = options.warmup_seconds > 0 ? after(options.warmup_seconds) : 0;
  run.deadline_ns = after(options.max_seconds);
  if (options.seconds > 0) {
    run.deadline_ns = std::min(run.deadline_ns, after(options.warmup_seconds + options.seconds));
  }
}

// Runs the threads until they are done; SIGINT and SIGTERM end the run early, with its report.
void RunThreads(RunState& run, std::vector<std::unique_ptr<Worker>>& workers) {
  std::atomic<size_t> running = workers.size();
  SetTimes(run);
  std::vector<std::thread> threads;
  for (auto& worker : workers) {
    threads.emplace_back([&running, &worker] {
      worker->Run();
      running.fetch_sub(1);
    });
  }
  sigset_t signals = StopSignals();
  while (running.load() > 0) {
    timespec tick = {.tv_sec = 0, .tv_nsec = 10'000'000};
    if (sigtimedwait(&signals, nullptr, &tick) > 0) run.stop.store(true);
  }
  for (std::thread& thread : threads) thread.join();
}

void Load(RunState& run, Report& report) {
  std::vector<std::unique_ptr<Worker>> workers;
  bool connected = true;
  for (uint32_t i = 0; i < run.options.threads && connected; ++i) {
    workers.push_back(std::make_unique<Worker>(run, i));
    connected = workers.back()->Connect();
  }
  if (connected) RunThreads(run, workers);
  uint64_t end_ns = 0;
  for (const auto& worker : workers) {
    report.results.Merge(worker->results());
    end_ns = std::max(end_ns, worker->end_ns());
  }
  uint64_t begin_ns = std::max(run.start_ns, run.measure_ns);
  report.seconds = end_ns > begin_ns ? static_cast<double>(end_ns - begin_ns) / 1e9 : 1e-9;
}

int Main(const std::vector<std::string>& arguments) {
  auto options = ParseOptions(arguments);
  if (!options) {
    if (options.error().empty()) {
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    }
    std::fprintf(stderr, "firn-bench: %s (--help lists the options)\n", options.error().c_str());
    return 2;
  }
  if (!options->scan_all) {
    // RunThreads() awaits them; threads inherit the mask.
    sigset_t signals = StopSignals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  }

  RunState run(*options);
  Report report(*options);
  double cpu_before = CpuSeconds();
  if (options->scan_all) {
    report.scan = ScanAll(*options, run.failures);
    report.seconds = report.scan->seconds;
  } else {
    Load(run, report);
  }
  report.cpu_seconds = CpuSeconds() - cpu_before;

  if (!options->quiet) std::fputs(ReportText(report).c_str(), stdout);
  if (!options->json_path.empty()) {
    FILE* file = std::fopen(options->json_path.c_str(), "w");
    std::string json = ReportJson(report);
    if (file == nullptr || std::fwrite(json.data(), 1, json.size(), file) != json.size() ||
        std::fclose(file) != 0) {
      std::fprintf(stderr, "firn-bench: cannot write %s\n", options->json_path.c_str());
      return 2;
    }
  }
  return report.ExitCode();
}

}  // namespace
}  // namespace firn::bench

int main(int argc, char** argv) {
  return firn::bench::Main(std::vector<std::string>(argv + 1, argv + argc));
}
