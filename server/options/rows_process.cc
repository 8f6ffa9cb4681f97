// The process: how it runs, logs and ends.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr EnumName kLogLevels[] = {
    {"debug", static_cast<int64_t>(LogLevel::kDebug)},
    {"verbose", static_cast<int64_t>(LogLevel::kVerbose)},
    {"notice", static_cast<int64_t>(LogLevel::kNotice)},
    {"warning", static_cast<int64_t>(LogLevel::kWarning)},
    {"nothing", static_cast<int64_t>(LogLevel::kNothing)},
};
constexpr EnumName kSupervisions[] = {
    {"upstart", static_cast<int64_t>(Supervision::kUpstart)},
    {"systemd", static_cast<int64_t>(Supervision::kSystemd)},
    {"auto", static_cast<int64_t>(Supervision::kAuto)},
    {"no", static_cast<int64_t>(Supervision::kNo)},
};
constexpr EnumName kShutdownFlags[] = {
    {"default", 0},        {"save", kShutdownSave},   {"nosave", kShutdownNosave},
    {"now", kShutdownNow}, {"force", kShutdownForce},
};
constexpr EnumName kSyslogFacilities[] = {
    {"user", 0},   {"local0", 1}, {"local1", 2}, {"local2", 3}, {"local3", 4},
    {"local4", 5}, {"local5", 6}, {"local6", 7}, {"local7", 8},
};

constexpr OptionRow kRows[] = {
    String("dir", ".",
           "The directory of the data, which must exist. Relative paths of other options start "
           "from it.")
        .With(kProtectedOption | kDenyLoading | kStartOnly | kDirectory)
        .Store<&V::dir>(),
    Integer("databases", "16", {1, kIntMax}, "How many databases there are, numbered from 0.")
        .With(kImmutable)
        .Store<&V::databases>(),
    Bool("daemonize", "no", "Runs in the background, with a pidfile.")
        .With(kImmutable)
        .Store<&V::daemonize>(),
    Enum("supervised", "no", kSupervisions,
         "Tells a supervisor that the server is ready to serve or about to end.")
        .With(kImmutable)
        .Store<&V::supervised>(),
    String("pidfile", "",
           "Where the process number is written; if empty, /var/run/redis.pid when daemonized, "
           "else nowhere.")
        .With(kImmutable | kEmptyIsUnset)
        .Store<&V::pidfile>(),
    Enum("loglevel", "notice", kLogLevels, "The least important messages that are logged.")
        .Store<&V::loglevel>(),
    String("logfile", "", "The file for log messages; empty is the standard output.")
        .With(kImmutable)
        .Store<&V::logfile>(),
    Bool("syslog-enabled", "no", "Logs to the system log as well.")
        .With(kImmutable)
        .Store<&V::syslog_enabled>(),
    String("syslog-ident", "redis", "The name of the server in the system log.")
        .With(kImmutable)
        .Store<&V::syslog_ident>(),
    Enum("syslog-facility", "local0", kSyslogFacilities, "The facility of the system log.")
        .With(kImmutable)
        .Store<&V::syslog_facility>(),
    Integer("hz", "10", {0, kIntMax},
            "How often a second background work is looked after, brought into 1 to 500.")
        .Check(ClampHz)
        .Store<&V::hz>(),
    Bool("dynamic-hz", "yes", "Whether Redis raises hz with the number of clients.").Ignored(),
    Bool("crash-log-enabled", "yes", "Logs a report when the server crashes.")
        .Store<&V::crash_log_enabled>(),
    Bool("crash-memcheck-enabled", "yes", "Whether Redis tests the memory after a crash.")
        .Ignored(),
    Bool("use-exit-on-panic", "no", "For tests of Redis: exits instead of aborting.")
        .With(kHidden)
        .Ignored(),
    Integer("watchdog-period", "0", {0, kIntMax}, "For tests of Redis: logs slow events.")
        .In(Unit::kMilliseconds)
        .With(kHidden)
        .Ignored(),
    Flags("shutdown-on-sigint", "default", kShutdownFlags,
          "How SIGINT ends the server, in the words of SHUTDOWN.")
        .Check(CheckShutdownFlags)
        .Store<&V::shutdown_on_sigint>(),
    Flags("shutdown-on-sigterm", "default", kShutdownFlags,
          "How SIGTERM ends the server, in the words of SHUTDOWN.")
        .Check(CheckShutdownFlags)
        .Store<&V::shutdown_on_sigterm>(),
    Integer("shutdown-timeout", "10", {0, kIntMax}, "How long SHUTDOWN waits for replicas.")
        .In(Unit::kSeconds)
        .Pending("replication"),
    Bool("always-show-logo", "no", "Whether Redis prints its logo to log files too.")
        .With(kImmutable)
        .Ignored(),
    Bool("set-proc-title", "yes", "Whether the server gives its process a title.")
        .With(kImmutable)
        .Store<&V::set_proc_title>(),
    String("proc-title-template", "{title} {listen-addr} {server-mode}",
           "The title of the process, as ps shows it.")
        .Check(CheckProcTitleTemplate)
        .Store<&V::proc_title_template>(),
    String("ignore-warnings", "", "Warnings about the machine at which Redis does not stop.")
        .Ignored(),
    String("locale-collate", "", "The locale by which strings are compared for sorting.")
        .Future("sorting by locale"),
    String("server_cpulist", "", "The processors the main thread runs on.")
        .With(kImmutable | kEmptyIsUnset)
        .Future("pinning threads to processors"),
    String("bio_cpulist", "", "The processors background threads run on.")
        .With(kImmutable | kEmptyIsUnset)
        .Future("pinning threads to processors"),
    String("aof_rewrite_cpulist", "", "The processors of the child that rewrites Redis' AOF.")
        .With(kImmutable | kEmptyIsUnset)
        .Ignored(),
    String("bgsave_cpulist", "", "The processors of the child that saves Redis' snapshots.")
        .With(kImmutable | kEmptyIsUnset)
        .Ignored(),
};

}  // namespace

std::span<const OptionRow> ProcessRows() { return kRows; }

}  // namespace firn::server
