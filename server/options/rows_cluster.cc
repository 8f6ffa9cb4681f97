// Cluster. The server stands alone so far.
#include "server/options/option_table.h"

namespace firn::server {
namespace {

constexpr EnumName kEndpointTypes[] = {{"ip", 0}, {"hostname", 1}, {"unknown-endpoint", 2}};
constexpr std::string_view kCluster = "the cluster";

constexpr OptionRow kRows[] = {
    Bool("cluster-enabled", "no", "Makes the server a node of a cluster.")
        .With(kImmutable)
        .Future(kCluster),
    String("cluster-config-file", "nodes.conf", "Where a node keeps the state of the cluster.")
        .With(kImmutable)
        .Future(kCluster),
    Integer("cluster-port", "0", {0, 65535}, "The port of the cluster bus; 0 is port + 10000.")
        .With(kImmutable)
        .Future(kCluster),
    Integer("cluster-node-timeout", "15000", {0, kLongMax},
            "How long a node may be unreachable before it counts as failed.")
        .In(Unit::kMilliseconds)
        .Future(kCluster),
    Integer("cluster-ping-interval", "0", {0, kLongMax}, "For tests of Redis.")
        .In(Unit::kMilliseconds)
        .With(kHidden)
        .Future(kCluster),
    Integer("cluster-replica-validity-factor", "10", {0, kIntMax},
            "How old a replica's data may be for a failover, in node timeouts; 0 allows any age.")
        .Alias("cluster-slave-validity-factor")
        .Future(kCluster),
    Bool("cluster-replica-no-failover", "no", "Keeps this replica from failing over by itself.")
        .Alias("cluster-slave-no-failover")
        .Future(kCluster),
    Integer("cluster-migration-barrier", "1", {0, kIntMax},
            "Replicas a master keeps when one moves to a master without any.")
        .Future(kCluster),
    Bool("cluster-allow-replica-migration", "yes", "Lets replicas move to masters without any.")
        .Future(kCluster),
    Bool("cluster-require-full-coverage", "yes", "Answers only while every slot has a master.")
        .Future(kCluster),
    Bool("cluster-allow-reads-when-down", "no", "Answers reads while the cluster is down.")
        .Future(kCluster),
    Bool("cluster-allow-pubsubshard-when-down", "yes",
         "Serves shard channels while the cluster is down.")
        .Future(kCluster),
    Integer("cluster-link-sendbuf-limit", "0", {0, kUnsignedMax},
            "Most bytes waiting for another node; 0 is no limit.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Future(kCluster),
    Enum("cluster-preferred-endpoint-type", "ip", kEndpointTypes,
         "How nodes are named in redirections.")
        .Future(kCluster),
    String("cluster-announce-ip", "", "The address other nodes are told.")
        .With(kEmptyIsUnset)
        .Future(kCluster),
    Integer("cluster-announce-port", "0", {0, 65535}, "The port other nodes are told.")
        .Future(kCluster),
    Integer("cluster-announce-tls-port", "0", {0, 65535}, "The TLS port other nodes are told.")
        .Future(kCluster),
    Integer("cluster-announce-bus-port", "0", {0, 65535}, "The bus port other nodes are told.")
        .Future(kCluster),
    String("cluster-announce-hostname", "", "The host name other nodes are told.")
        .With(kEmptyIsUnset)
        .Future(kCluster),
    String("cluster-announce-human-nodename", "", "A name for this node in log messages.")
        .With(kEmptyIsUnset)
        .Future(kCluster),
};

}  // namespace

std::span<const OptionRow> ClusterRows() { return kRows; }

}  // namespace firn::server
