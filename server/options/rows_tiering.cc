// Firn's own options: what lies in RAM, what on disk, and in which form.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr EnumName kCompressions[] = {
    {"none", static_cast<int64_t>(TierCompression::kNone)},
    {"zstd", static_cast<int64_t>(TierCompression::kZstd)},
};
constexpr EnumName kIoBackends[] = {
    {"auto", static_cast<int64_t>(IoBackend::kAuto)},
    {"io_uring", static_cast<int64_t>(IoBackend::kIoUring)},
    {"threads", static_cast<int64_t>(IoBackend::kThreads)},
};

constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;

constexpr OptionRow kRows[] = {
    Bool("tiering", "yes",
         "Moves values that do not fit maxmemory to disk and back. With no, everything stays in "
         "RAM and maxmemory-policy decides what happens at maxmemory.")
        .With(kStartOnly)
        .Store<&V::tiering>(),
    Integer("maxdisk", "0", {0, kLongMax},
            "The most the log may take on disk. 0: it stops growing when less than 5 % or 1 GiB "
            "of the file system is free.")
        .In(Unit::kMemory)
        .Store<&V::maxdisk>(),
    Integer("log-segment-size", "64mb", {kMiB, kGiB},
            "The size of one file of the log, a power of two. A longer record gets a file of its "
            "own.")
        .In(Unit::kMemory)
        .With(kStartOnly)
        .Check(CheckSegmentSize)
        .Store<&V::log_segment_size>(),
    Integer("tier-warm-memory", "0", {0, kLongMax},
            "The part of maxmemory in which recently written or read log segments stay mapped, so "
            "that their values are read in place. 0: automatic.")
        .In(Unit::kMemory)
        .Store<&V::tier_warm_memory>(),
    Integer("tier-index-memory", "0", {0, kLongMax},
            "The part of maxmemory for the map of values on disk (8 to 10 bytes a key). Beyond "
            "it, the index on disk answers. 0: no limit of its own.")
        .In(Unit::kMemory)
        .Store<&V::tier_index_memory>(),
    Integer("tier-min-value", "0", {0, kLongMax},
            "Values shorter than this stay in RAM as long as others can leave it.")
        .In(Unit::kMemory)
        .Store<&V::tier_min_value>(),
    Bool("tier-restore-hot-set", "yes",
         "Remembers once a minute which values are in RAM, and brings them back in the background "
         "after a start, those used most first.")
        .With(kStartOnly)
        .Store<&V::tier_restore_hot_set>(),
    Enum("tier-compression", "none", kCompressions,
         "How records are compressed when they are written anew for the cold tier. Records that "
         "would not shrink stay as they are.")
        .Store<&V::tier_compression>(),
    Integer("tier-compression-level", "1", {1, 19}, "The level of zstd for tier-compression.")
        .Store<&V::tier_compression_level>(),
    Integer("log-compaction-target", "140", {110, 1000},
            "The size of the log, in percent of what is alive in it, beyond which garbage is "
            "collected.")
        .Store<&V::log_compaction_target>(),
    Integer("log-compaction-share", "50", {1, 100},
            "The share of the time, in percent, in which compaction may use the disk. It takes "
            "more as the log grows beyond its target.")
        .Store<&V::log_compaction_share>(),
    Enum("io-backend", "auto", kIoBackends,
         "How the server talks to the kernel. auto takes io_uring where it is allowed, and polling "
         "with worker threads elsewhere.")
        .With(kStartOnly)
        .Store<&V::io_backend>(),
};

}  // namespace

std::span<const OptionRow> TieringRows() { return kRows; }

}  // namespace firn::server
