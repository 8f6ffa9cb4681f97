// Replication. The server is a master without replicas so far: what would tune it is remembered, so
// that a configuration of Redis starts, and what would have an effect without it is refused.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

constexpr EnumName kDisklessLoad[] = {{"disabled", 0}, {"on-empty-db", 1}, {"swapdb", 2}};
constexpr EnumName kPropagationErrors[] = {{"ignore", 0}, {"panic", 1}, {"panic-on-replicas", 2}};
constexpr std::string_view kReplication = "replication";

constexpr OptionRow kRows[] = {
    Words("replicaof", "", ParseReplicaOf, "The host and port of the master to copy.")
        .Alias("slaveof")
        .With(kImmutable)
        .Future(kReplication),
    String("masterauth", "", "The password for the master.")
        .With(kSensitive | kEmptyIsUnset)
        .Pending(kReplication),
    String("masteruser", "", "The user for the master.")
        .With(kSensitive | kEmptyIsUnset)
        .Pending(kReplication),
    Bool("replica-serve-stale-data", "yes", "Answers while the link to the master is down.")
        .Alias("slave-serve-stale-data")
        .Pending(kReplication),
    Bool("replica-read-only", "yes", "Refuses writes on a replica.")
        .Alias("slave-read-only")
        .Pending(kReplication),
    Bool("replica-ignore-maxmemory", "yes", "Leaves eviction to the master.")
        .Alias("slave-ignore-maxmemory")
        .Pending(kReplication),
    Bool("replica-ignore-disk-write-errors", "no",
         "Goes on with the master's writes when its own disk refuses.")
        .Pending(kReplication),
    Bool("replica-lazy-flush", "no", "Empties a replica in the background before a full copy.")
        .Alias("slave-lazy-flush")
        .Pending(kReplication),
    Bool("replica-announced", "yes", "Shows the replica to Sentinel.").Pending(kReplication),
    String("replica-announce-ip", "", "The address a replica gives to its master.")
        .Alias("slave-announce-ip")
        .With(kEmptyIsUnset)
        .Pending(kReplication),
    Integer("replica-announce-port", "0", {0, 65535}, "The port a replica gives to its master.")
        .Alias("slave-announce-port")
        .Pending(kReplication),
    Integer("replica-priority", "100", {0, kIntMax},
            "Which replica Sentinel promotes: the lowest but 0, which is never promoted.")
        .Alias("slave-priority")
        .Pending(kReplication),
    Integer("min-replicas-to-write", "0", {0, kIntMax},
            "Refuses writes while fewer replicas keep up; 0 never does.")
        .Alias("min-slaves-to-write")
        .Future(kReplication),
    Integer("min-replicas-max-lag", "10", {0, kIntMax},
            "How late a replica may be to count for min-replicas-to-write.")
        .Alias("min-slaves-max-lag")
        .In(Unit::kSeconds)
        .Pending(kReplication),
    Integer("repl-backlog-size", "1mb", {1, kLongMax},
            "Recent writes kept for replicas that come back.")
        .In(Unit::kMemory)
        .Check(ClampBacklog)
        .Pending(kReplication),
    Integer("repl-backlog-ttl", "3600", {0, kLongMax},
            "How long the backlog is kept without replicas; 0 keeps it for ever.")
        .In(Unit::kSeconds)
        .Pending(kReplication),
    Integer("repl-timeout", "60", {1, kIntMax}, "When a silent link counts as broken.")
        .In(Unit::kSeconds)
        .Pending(kReplication),
    Integer("repl-ping-replica-period", "10", {1, kIntMax}, "How often a master pings replicas.")
        .Alias("repl-ping-slave-period")
        .In(Unit::kSeconds)
        .Pending(kReplication),
    Bool("repl-disable-tcp-nodelay", "no", "Sends to replicas in fewer, larger packets.")
        .Pending(kReplication),
    Bool("repl-diskless-sync", "yes", "Sends a full copy without a file in between.")
        .Pending(kReplication),
    Integer("repl-diskless-sync-delay", "5", {0, kIntMax},
            "How long a full copy waits for more replicas that want one.")
        .In(Unit::kSeconds)
        .Pending(kReplication),
    Integer("repl-diskless-sync-max-replicas", "0", {0, kIntMax},
            "Replicas that make a full copy start at once; 0 waits for the delay.")
        .Pending(kReplication),
    Enum("repl-diskless-load", "disabled", kDisklessLoad,
         "Whether a replica loads a full copy without a file in between.")
        .With(kDenyLoading)
        .Pending(kReplication),
    Enum("propagation-error-behavior", "ignore", kPropagationErrors,
         "What happens when a replica cannot run a write of its master.")
        .Pending(kReplication),
};

}  // namespace

std::span<const OptionRow> ReplicationRows() { return kRows; }

}  // namespace firn::server
