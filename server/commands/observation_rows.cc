// The rows of MONITOR and LATENCY.
#include "server/command.h"
#include "server/commands/observation.h"

namespace firn::server {
namespace {

constexpr uint64_t kObserves = kAdmin | kNoscript | kLoading | kStale;

constexpr CommandArgument kEvent[] = {{.name = "event"}};
constexpr CommandArgument kEvents[] = {
    {.name = "event", .flags = CommandArgument::kOptional | CommandArgument::kMultiple}};
constexpr CommandArgument kCommandNames[] = {
    {.name = "COMMAND", .flags = CommandArgument::kOptional | CommandArgument::kMultiple}};
constexpr std::string_view kTips[] = {"nondeterministic_output", "request_policy:all_nodes",
                                      "response_policy:special"};
constexpr std::string_view kResetTips[] = {"request_policy:all_nodes", "response_policy:agg_sum"};

constexpr Command kLatencySubcommands[] = {
    {.name = "doctor",
     .arity = 2,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyDoctorCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Says what the latency spikes point to.",
     .tips = kTips},
    {.name = "graph",
     .arity = 3,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyGraphCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Draws the latency spikes of an event.",
     .tips = kTips,
     .arguments = kEvent},
    {.name = "help",
     .arity = 2,
     .flags = kLoading | kStale,
     .acl_categories = 0,
     .function = LatencyHelpCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Describes the subcommands."},
    {.name = "histogram",
     .arity = -2,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyHistogramCommand,
     .group = "server",
     .since = "7.0.0",
     .complexity = "O(N), N: the number of commands with a histogram",
     .summary = "Tells how long commands took.",
     .tips = kTips,
     .arguments = kCommandNames},
    {.name = "history",
     .arity = 3,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyHistoryCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Lists the latency spikes of an event.",
     .tips = kTips,
     .arguments = kEvent},
    {.name = "latest",
     .arity = 2,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyLatestCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Lists the newest latency spike of each event.",
     .tips = kTips},
    {.name = "reset",
     .arity = -2,
     .flags = kObserves,
     .acl_categories = 0,
     .function = LatencyResetCommand,
     .group = "server",
     .since = "2.8.13",
     .complexity = "O(1)",
     .summary = "Forgets the latency spikes of events, or of all.",
     .tips = kResetTips,
     .arguments = kEvents}};

constexpr Command kRows[] = {{.name = "latency",
                              .arity = -2,
                              .flags = 0,
                              .acl_categories = 0,
                              .subcommands = kLatencySubcommands,
                              .group = "server",
                              .since = "2.8.13",
                              .complexity = "As the subcommand says.",
                              .summary = "Groups the commands that tell about latency."},
                             {.name = "monitor",
                              .arity = 1,
                              .flags = kObserves | kRunsInPlace,
                              .acl_categories = 0,
                              .function = MonitorCommand,
                              .group = "server",
                              .since = "1.0.0",
                              .complexity = "O(1)",
                              .summary = "Sends all that clients run, from now on."}};

}  // namespace

std::span<const Command> ObservationCommands() { return kRows; }

}  // namespace firn::server
