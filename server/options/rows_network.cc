// Listening, connections, and what a client may use.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr OptionRow kNetworkRows[] = {
    Words("bind", "* -::*", ParseBind,
          "The addresses to listen on. One that starts with - may be missing on this machine; * is "
          "every IPv4 address, ::* every IPv6 address. An empty value listens on none.")
        .Store<&V::bind>(),
    Integer("port", "6379", {0, 65535}, "The TCP port to listen on; 0 listens on none.")
        .Store<&V::port>(),
    Integer("tcp-backlog", "511", {0, kIntMax},
            "Connections the kernel keeps waiting until they are accepted.")
        .With(kImmutable)
        .Store<&V::tcp_backlog>(),
    String("unixsocket", "", "The path of a unix socket to listen on; empty listens on none.")
        .With(kImmutable | kEmptyIsUnset)
        .Store<&V::unixsocket>(),
    Integer("unixsocketperm", "0", {0, 0777},
            "The permissions of the unix socket; 0 leaves them to the umask.")
        .In(Unit::kOctal)
        .With(kImmutable | kUnsigned)
        .Store<&V::unixsocketperm>(),
    Bool("protected-mode", "yes",
         "Refuses clients from other machines as long as the default user has no password.")
        .Store<&V::protected_mode>(),
    Integer("tcp-keepalive", "300", {0, kIntMax},
            "After how long without traffic the kernel probes whether a client is still there; 0 "
            "never does.")
        .In(Unit::kSeconds)
        .Store<&V::tcp_keepalive_seconds>(),
    Integer("socket-mark-id", "0", {0, UINT_MAX}, "A mark on the sockets for the packet filter.")
        .With(kImmutable | kUnsigned)
        .Future("marking sockets"),
    String("bind-source-addr", "", "The address from which a replica connects to its master.")
        .With(kEmptyIsUnset)
        .Pending("replication"),
    Integer("io-threads", "1", {1, 128},
            "Threads that serve clients, the one that runs commands included: with more than one, the "
            "others read, parse and write.")
        .With(kImmutable)
        .Store<&V::io_threads>(),
    Bool("io-threads-do-reads", "no", "Whether Redis' io-threads also read; Firn's always do.")
        .With(kImmutable)
        .Ignored(),
};

constexpr OptionRow kClientRows[] = {
    Integer("maxclients", "10000", {1, UINT_MAX}, "The most clients connected at a time.")
        .With(kUnsigned)
        .Store<&V::maxclients>(),
    Integer("timeout", "0", {0, kIntMax},
            "Closes a client that was idle for so long; 0 never does.")
        .In(Unit::kSeconds)
        .Store<&V::timeout_seconds>(),
    Integer("client-query-buffer-limit", "1gb", {1 << 20, kLongMax},
            "The most a client may send ahead of its commands being run.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Store<&V::client_query_buffer_limit>(),
    Integer("proto-max-bulk-len", "512mb", {1 << 20, kLongMax},
            "The longest single argument a client may send.")
        .In(Unit::kMemory)
        .Store<&V::proto_max_bulk_len>(),
    Words("client-output-buffer-limit",
          "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
          ParseOutputBufferLimits,
          "Closes a client of a class (normal, replica, pubsub) whose waiting replies exceed the "
          "first number of bytes at once, or the second for the third number of seconds. 0 is no "
          "limit.")
        .StoreBy(StoreOutputBufferLimits),
    Integer("tracking-table-max-keys", "1000000", {0, kLongMax},
            "Keys remembered on behalf of clients that cache them.")
        .With(kUnsigned)
        .Store<&V::tracking_table_max_keys>(),
};

}  // namespace

std::span<const OptionRow> NetworkRows() { return kNetworkRows; }
std::span<const OptionRow> ClientRows() { return kClientRows; }

}  // namespace firn::server
