// The sizes up to which small values of the aggregate types are packed.
#include "server/options/option_table.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr OptionRow kRows[] = {
    Integer("hash-max-listpack-entries", "512", {0, kLongMax}, "Most fields of a packed hash.")
        .Alias("hash-max-ziplist-entries")
        .With(kUnsigned)
        .Store<&V::hash_max_listpack_entries>(),
    Integer("hash-max-listpack-value", "64", {0, kLongMax},
            "Longest field or value of a packed hash.")
        .Alias("hash-max-ziplist-value")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Store<&V::hash_max_listpack_value>(),
    Integer("list-max-listpack-size", "-2", {kIntMin, kIntMax},
            "Most elements of a packed node of a list; -1 to -5 stand for 4, 8, 16, 32, 64 kB.")
        .Alias("list-max-ziplist-size")
        .Store<&V::list_max_listpack_size>(),
    Integer("list-compress-depth", "0", {0, kIntMax},
            "Nodes at each end of a list that are not compressed; 0 compresses none.")
        .Pending("lists"),
    Integer("set-max-intset-entries", "512", {0, kLongMax},
            "Most members of a packed set of numbers.")
        .With(kUnsigned)
        .Store<&V::set_max_intset_entries>(),
    Integer("set-max-listpack-entries", "128", {0, kLongMax}, "Most members of a packed set.")
        .With(kUnsigned)
        .Store<&V::set_max_listpack_entries>(),
    Integer("set-max-listpack-value", "64", {0, kLongMax}, "Longest member of a packed set.")
        .With(kUnsigned)
        .Store<&V::set_max_listpack_value>(),
    Integer("zset-max-listpack-entries", "128", {0, kLongMax},
            "Most members of a packed sorted set.")
        .Alias("zset-max-ziplist-entries")
        .With(kUnsigned)
        .Store<&V::zset_max_listpack_entries>(),
    Integer("zset-max-listpack-value", "64", {0, kLongMax},
            "Longest member of a packed sorted set.")
        .Alias("zset-max-ziplist-value")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Store<&V::zset_max_listpack_value>(),
    Integer("hll-sparse-max-bytes", "3000", {0, kLongMax},
            "Size up to which a HyperLogLog keeps its sparse form.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Store<&V::hll_sparse_max_bytes>(),
    Integer("stream-node-max-bytes", "4096", {0, kLongMax},
            "Most bytes of a packed node of a stream; 0 is no limit.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Store<&V::stream_node_max_bytes>(),
    Integer("stream-node-max-entries", "100", {0, kLongMax},
            "Most entries of a packed node of a stream; 0 is no limit.")
        .Store<&V::stream_node_max_entries>(),
};

}  // namespace

std::span<const OptionRow> EncodingRows() { return kRows; }

}  // namespace firn::server
