// Who may do what; and what is observed.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr EnumName kPermissions[] = {
    {"no", static_cast<int64_t>(Permission::kNo)},
    {"yes", static_cast<int64_t>(Permission::kYes)},
    {"local", static_cast<int64_t>(Permission::kLocal)},
};
constexpr EnumName kPubsubDefaults[] = {{"allchannels", 1}, {"resetchannels", 0}};

constexpr OptionRow kSecurityRows[] = {
    String("requirepass", "", "The password of the default user; empty asks for none.")
        .With(kSensitive | kEmptyIsUnset)
        .Store<&V::requirepass>(),
    Enum("enable-protected-configs", "no", kPermissions,
         "Whether CONFIG SET may change protected options: never, always, or for clients of this "
         "machine.")
        .With(kImmutable)
        .Store<&V::enable_protected_configs>(),
    Enum("enable-debug-command", "no", kPermissions,
         "Whether DEBUG may be used: never, always, or by clients of this machine.")
        .With(kImmutable)
        .Store<&V::enable_debug_command>(),
    Enum("enable-module-command", "no", kPermissions,
         "Whether MODULE may load modules: never, always, or for clients of this machine.")
        .With(kImmutable)
        .Store<&V::enable_module_command>(),
    String("aclfile", "", "The file of users and their rights.")
        .With(kImmutable)
        .Store<&V::aclfile>(),
    Integer("acllog-max-len", "128", {0, kLongMax}, "Refused accesses that ACL LOG remembers.")
        .With(kUnsigned)
        .Store<&V::acllog_max_len>(),
    Enum("acl-pubsub-default", "resetchannels", kPubsubDefaults,
         "Whether new users may use every channel.")
        .Store<&V::acl_pubsub_all_channels>(),
};

constexpr OptionRow kObservationRows[] = {
    Bool("latency-tracking", "yes", "Measures the time of every command for INFO latencystats.")
        .Store<&V::latency_tracking>(),
    Words("latency-tracking-info-percentiles", "50 99 99.9", ParsePercentiles,
          "The percentiles INFO latencystats shows.")
        .StoreBy(StorePercentiles),
    Integer("latency-monitor-threshold", "0", {0, kLongMax},
            "Events that take at least so long are remembered for LATENCY; 0 remembers none.")
        .In(Unit::kMilliseconds)
        .Store<&V::latency_monitor_threshold_ms>(),
    Integer("slowlog-log-slower-than", "10000", {-1, kLongMax},
            "Commands that take longer are remembered for SLOWLOG; -1 remembers none.")
        .In(Unit::kMicroseconds)
        .Store<&V::slowlog_log_slower_than_us>(),
    Integer("slowlog-max-len", "128", {0, kLongMax}, "How many commands SLOWLOG remembers.")
        .Store<&V::slowlog_max_len>(),
    Words("notify-keyspace-events", "", ParseKeyspaceEvents,
          "The events on keys that are published, as letters.")
        .OneWord()
        .StoreBy(StoreKeyspaceEvents),
    Integer("busy-reply-threshold", "5000", {0, kLongMax},
            "How long a script may run before other clients are told that it does.")
        .Alias("lua-time-limit")
        .In(Unit::kMilliseconds)
        .Store<&V::busy_reply_threshold_ms>(),
};

}  // namespace

std::span<const OptionRow> SecurityRows() { return kSecurityRows; }
std::span<const OptionRow> ObservationRows() { return kObservationRows; }

}  // namespace firn::server
