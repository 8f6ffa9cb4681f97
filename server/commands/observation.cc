#include "server/commands/observation.h"

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"

namespace firn::server {
namespace {

using Sample = LatencyMonitor::Sample;
using Series = LatencyMonitor::Series;

constexpr size_t kGraphColumns = 80;
constexpr size_t kGraphRows = 4;

struct Summary {
  uint64_t min = 0, max = 0, mean = 0, deviation = 0;
  double period_seconds = 0;  // between two spikes
};

Summary Summarize(const std::vector<Sample>& samples, int64_t now_seconds) {
  Summary summary;
  if (samples.empty()) return summary;
  uint64_t sum = 0;
  summary.min = summary.max = samples[0].millis;
  for (const Sample& sample : samples) {
    sum += sample.millis;
    summary.min = std::min(summary.min, sample.millis);
    summary.max = std::max(summary.max, sample.millis);
  }
  summary.mean = sum / samples.size();
  sum = 0;
  for (const Sample& sample : samples) {
    sum += std::max(sample.millis, summary.mean) - std::min(sample.millis, summary.mean);
  }
  summary.deviation = sum / samples.size();
  const int64_t span = std::max<int64_t>(now_seconds - samples.front().time_seconds, 1);
  summary.period_seconds = static_cast<double>(span) / static_cast<double>(samples.size());
  return summary;
}

std::string AgeOf(int64_t seconds) {
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600) return std::to_string(seconds / 60) + "m";
  if (seconds < 24 * 3600) return std::to_string(seconds / 3600) + "h";
  return std::to_string(seconds / (24 * 3600)) + "d";
}

// Bars of the newest samples, with their ages written downwards below.
std::string Draw(std::vector<Sample> samples, const Summary& summary, int64_t now_seconds) {
  if (samples.size() > kGraphColumns) {
    samples.erase(samples.begin(), samples.end() - kGraphColumns);
  }
  // In half rows: every bar has one at least.
  auto height = [&](const Sample& sample) {
    const uint64_t range = summary.max - summary.min;
    const uint64_t above = sample.millis - summary.min;
    return 1 + (range == 0 ? 0 : above * (2 * kGraphRows - 1) / range);
  };
  std::string text;
  for (size_t row = kGraphRows; row-- > 0;) {
    std::string line;
    for (const Sample& sample : samples) {
      const uint64_t halves = height(sample);
      line += halves >= 2 * row + 2 ? '#' : halves == 2 * row + 1 ? '_' : ' ';
    }
    text += line + "\n";
  }
  text += "\n";
  for (size_t row = 0;; ++row) {
    std::string line;
    for (const Sample& sample : samples) {
      const std::string age = AgeOf(now_seconds - sample.time_seconds);
      line += row < age.size() ? age[row] : ' ';
    }
    if (line.find_first_not_of(' ') == std::string::npos) return text;
    text += line + "\n";
  }
}

// What a spike of the event points to.
std::string_view AdviceOn(std::string_view event) {
  if (event == "command") {
    return "Look at SLOWLOG GET for the commands that take long: commands over many elements, "
           "such as KEYS, or large values.";
  }
  if (event == "fast-command") {
    return "Commands that do little took long: the process does not get the processor when it "
           "needs it. Lower the load of the machine.";
  }
  if (event == "fetch") {
    return "Values come from the disk slowly: see the fetch percentiles in INFO tiering. Raise "
           "maxmemory, or use a faster disk.";
  }
  if (event == "demotion-wait") {
    return "Writers wait since values can't leave RAM as fast as new ones come: the disk is too "
           "slow for this rate of writes.";
  }
  if (event == "log-sync") {
    return "The disk is slow to make the log durable: use a local disk with fast flushes, or "
           "appendfsync everysec.";
  }
  if (event == "compaction") {
    return "Compaction of the log holds the executor up: raise maxdisk, so that less has to be "
           "copied for the same room.";
  }
  if (event == "expire-cycle") {
    return "Many keys expire at the same time: spread their times to live.";
  }
  return {};
}

void ReplyHistogram(CommandContext& context, const Command& command) {
  const LatencyHistogram& histogram = *context.server.latency(command);
  context.reply.Bulk(context.server.FullNameOf(command));
  context.reply.MapHeader(2);
  context.reply.Bulk(std::string_view("calls"));
  context.reply.Integer(static_cast<int64_t>(histogram.total()));
  context.reply.Bulk(std::string_view("histogram_usec"));
  std::vector<std::pair<uint64_t, uint64_t>> levels;  // microseconds, how many took no more
  uint64_t before = 0;
  for (uint64_t nanos = 1024; before < histogram.total(); nanos *= 2) {
    const bool last = nanos >= 1ull << 39;
    const uint64_t count = last ? histogram.total() : histogram.CountUpTo(nanos + nanos / 128);
    // The upper ends of Redis' buckets, which are a 128th wider.
    if (count > before) levels.emplace_back((nanos + nanos / 128 - 1) / 1000, count);
    before = count;
  }
  context.reply.MapHeader(static_cast<int64_t>(levels.size()));
  for (const auto& [micros, count] : levels) {
    context.reply.Integer(static_cast<int64_t>(micros));
    context.reply.Integer(static_cast<int64_t>(count));
  }
}

}  // namespace

void MonitorCommand(CommandContext& context) {
  if (context.client.transaction().running) {
    context.reply.Error("ERR MONITOR isn't allowed for DENY BLOCKING client");
    return;
  }
  context.server.monitors().Add(&context.client);
  context.client.set_monitoring(true);
  context.reply.Ok();
}

void LatencyHistoryCommand(CommandContext& context) {
  const auto& events = context.server.latency_monitor().events();
  auto it = events.find(context.args[2]);
  if (it == events.end()) return context.reply.EmptyArray();
  const std::vector<Sample> samples = it->second.samples();
  context.reply.ArrayHeader(static_cast<int64_t>(samples.size()));
  for (const Sample& sample : samples) {
    context.reply.ArrayHeader(2);
    context.reply.Integer(sample.time_seconds);
    context.reply.Integer(static_cast<int64_t>(sample.millis));
  }
}

void LatencyLatestCommand(CommandContext& context) {
  const auto& events = context.server.latency_monitor().events();
  context.reply.ArrayHeader(static_cast<int64_t>(events.size()));
  for (const auto& [name, series] : events) {
    context.reply.ArrayHeader(4);
    context.reply.Bulk(name);
    context.reply.Integer(series.latest().time_seconds);
    context.reply.Integer(static_cast<int64_t>(series.latest().millis));
    context.reply.Integer(static_cast<int64_t>(series.worst_millis()));
  }
}

void LatencyResetCommand(CommandContext& context) {
  LatencyMonitor& monitor = context.server.latency_monitor();
  if (context.args.size() == 2) return context.reply.Integer(monitor.ResetAll());
  int64_t count = 0;
  for (std::string_view event : context.args.subspan(2)) count += monitor.Reset(event);
  context.reply.Integer(count);
}

void LatencyGraphCommand(CommandContext& context) {
  const auto& events = context.server.latency_monitor().events();
  auto it = events.find(context.args[2]);
  if (it == events.end()) {
    context.reply.Error("ERR No samples available for event '" +
                        std::string(UpToNul(context.args[2])) + "'");
    return;
  }
  const int64_t now = context.now_ms() / 1000;
  const std::vector<Sample> samples = it->second.samples();
  const Summary summary = Summarize(samples, now);
  std::string text = it->first + " - high " + std::to_string(summary.max) + " ms, low " +
                     std::to_string(summary.min) + " ms (all time high " +
                     std::to_string(it->second.worst_millis()) + " ms)\n";
  text += std::string(kGraphColumns, '-') + "\n" + Draw(samples, summary, now);
  context.reply.Verbatim("txt", text);
}

void LatencyDoctorCommand(CommandContext& context) {
  const auto& events = context.server.latency_monitor().events();
  const int64_t now = context.now_ms() / 1000;
  std::string text;
  if (events.empty() && context.server.options()->latency_monitor_threshold_ms == 0) {
    text =
        "Latency is not monitored. Turn it on with CONFIG SET latency-monitor-threshold "
        "<milliseconds>.\n";
  } else if (events.empty()) {
    text = "No latency spike was seen so far.\n";
  }
  std::string advice;
  int number = 0;
  for (const auto& [name, series] : events) {
    const std::vector<Sample> samples = series.samples();
    const Summary summary = Summarize(samples, now);
    char line[256];
    std::snprintf(line, sizeof line,
                  "%d. %s: %zu latency spikes (average %llums, mean deviation %llums, period %.2f "
                  "sec). Worst all time event %llums.\n",
                  ++number, name.c_str(), samples.size(),
                  static_cast<unsigned long long>(summary.mean),
                  static_cast<unsigned long long>(summary.deviation), summary.period_seconds,
                  static_cast<unsigned long long>(series.worst_millis()));
    text += line;
    if (const std::string_view about = AdviceOn(name); !about.empty()) {
      advice.append("- ").append(about).append("\n");
    }
  }
  if (!advice.empty()) text += "\nWhat may help:\n\n" + advice;
  context.reply.Verbatim("txt", text);
}

void LatencyHistogramCommand(CommandContext& context) {
  std::vector<const Command*> rows;
  auto take = [&](const Command& row) {
    if (context.server.latency(row) != nullptr) rows.push_back(&row);
  };
  auto take_with_subcommands = [&](const Command& row) {
    take(row);
    for (const Command& sub : row.subcommands) take(sub);
  };
  CommandTable& table = context.server.commands();
  if (context.args.size() == 2) {
    for (const Command* command : table.all()) take_with_subcommands(*command);
  }
  for (std::string_view name : context.args.subspan(2)) {
    const size_t bar = name.find('|');
    const Command* row = table.Find(name.substr(0, bar));
    if (row != nullptr && bar != std::string_view::npos) {
      row = table.FindSub(*row, name.substr(bar + 1));
    }
    if (row != nullptr) take_with_subcommands(*row);
  }
  context.reply.MapHeader(static_cast<int64_t>(rows.size()));
  for (const Command* row : rows) ReplyHistogram(context, *row);
}

void LatencyHelpCommand(CommandContext& context) {
  static constexpr HelpLine kLines[] = {
      {"DOCTOR", "Says what the latency spikes point to."},
      {"GRAPH <event>", "Draws the latency spikes of <event>."},
      {"HISTORY <event>", "Lists the times and latencies of <event>."},
      {"LATEST", "Lists the newest latency spike of each event."},
      {"RESET [<event> ...]", "Forgets the latency spikes of events, or of all."},
      {"HISTOGRAM [COMMAND ...]", "Tells how long commands took, all of them or those given."}};
  ReplyHelp(context, "LATENCY", kLines);
}

}  // namespace firn::server
