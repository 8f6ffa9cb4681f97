// How much RAM is used, what leaves it, and how it is freed.
#include "server/options/option_table.h"
#include "server/options/special_options.h"

namespace firn::server {
namespace {

using V = OptionValues;
using P = MaxmemoryPolicy;

constexpr EnumName kPolicies[] = {
    {"volatile-lru", static_cast<int64_t>(P::kVolatileLru)},
    {"volatile-lfu", static_cast<int64_t>(P::kVolatileLfu)},
    {"volatile-random", static_cast<int64_t>(P::kVolatileRandom)},
    {"volatile-ttl", static_cast<int64_t>(P::kVolatileTtl)},
    {"allkeys-lru", static_cast<int64_t>(P::kAllkeysLru)},
    {"allkeys-lfu", static_cast<int64_t>(P::kAllkeysLfu)},
    {"allkeys-random", static_cast<int64_t>(P::kAllkeysRandom)},
    {"noeviction", static_cast<int64_t>(P::kNoEviction)},
};
constexpr EnumName kOomScores[] = {{"no", 0}, {"yes", 1}, {"relative", 1}, {"absolute", 2}};

constexpr OptionRow kRows[] = {
    Integer("maxmemory", "0", {0, kUnsignedMax},
            "The RAM the server may use; what does not fit lies on disk. 0 is no limit. If it is "
            "never given, it is half of what the machine or its cgroup has, and CONFIG GET shows "
            "that number.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .DefaultMeans("half of the memory")
        .Store<&V::maxmemory>(),
    Enum("maxmemory-policy", "noeviction", kPolicies,
         "What is deleted when no room can be made otherwise; noeviction refuses writes instead.")
        .Store<&V::maxmemory_policy>(),
    Integer("maxmemory-samples", "5", {1, kIntMax},
            "How many keys are compared to choose one to evict.")
        .Store<&V::maxmemory_samples>(),
    Integer("maxmemory-eviction-tenacity", "10", {0, 100},
            "How long one eviction may hold up clients in Redis; Firn evicts in small steps.")
        .Ignored(),
    Integer("maxmemory-clients", "0", {-100, kLongMax},
            "The RAM the buffers of all clients together may use, also as a percentage of "
            "maxmemory; the client that uses most is closed first. 0 is no limit.")
        .In(Unit::kMemoryOrPercent)
        .Store<&V::maxmemory_clients>(),
    Integer("lfu-log-factor", "10", {0, kIntMax},
            "How slowly the access counter of the LFU clock grows with hits.")
        .Store<&V::lfu_log_factor>(),
    Integer("lfu-decay-time", "1", {0, kIntMax},
            "After how long without a hit the access counter falls by one.")
        .In(Unit::kMinutes)
        .Store<&V::lfu_decay_time>(),
    Integer("active-expire-effort", "1", {1, 10},
            "How much work goes into finding expired keys before somebody asks for them.")
        .Store<&V::active_expire_effort>(),
    Bool("lazyfree-lazy-eviction", "no", "Firn frees large values in the background in any case.")
        .Ignored(),
    Bool("lazyfree-lazy-expire", "no", "Firn frees large values in the background in any case.")
        .Ignored(),
    Bool("lazyfree-lazy-server-del", "no", "Firn frees large values in the background in any case.")
        .Ignored(),
    Bool("lazyfree-lazy-user-del", "no", "Firn frees large values in the background in any case.")
        .Ignored(),
    Bool("lazyfree-lazy-user-flush", "no", "Firn frees large values in the background in any case.")
        .Ignored(),
    Bool("activerehashing", "yes", "Firn's key table grows and shrinks in small steps in any case.")
        .Ignored(),
    Bool("activedefrag", "no", "Firn does not defragment memory.").Ignored(),
    Integer("active-defrag-ignore-bytes", "100mb", {1, kLongMax},
            "Waste below which Redis does not defragment.")
        .In(Unit::kMemory)
        .With(kUnsigned)
        .Ignored(),
    Integer("active-defrag-threshold-lower", "10", {0, 1000},
            "Percentage of waste at which Redis starts to defragment.")
        .In(Unit::kPercent)
        .Ignored(),
    Integer("active-defrag-threshold-upper", "100", {0, 1000},
            "Percentage of waste at which Redis defragments with all its effort.")
        .In(Unit::kPercent)
        .Ignored(),
    Integer("active-defrag-cycle-min", "1", {1, 99}, "Least processor time Redis defragments with.")
        .In(Unit::kPercent)
        .Ignored(),
    Integer("active-defrag-cycle-max", "25", {1, 99}, "Most processor time Redis defragments with.")
        .In(Unit::kPercent)
        .Ignored(),
    Integer("active-defrag-max-scan-fields", "1000", {1, kLongMax},
            "Elements Redis defragments in one go.")
        .Ignored(),
    Bool("jemalloc-bg-thread", "yes", "Redis lets jemalloc purge memory on a thread of its own.")
        .Ignored(),
    Bool("disable-thp", "yes", "Redis turns transparent huge pages off for the sake of fork.")
        .With(kImmutable)
        .Ignored(),
    Enum("oom-score-adj", "no", kOomScores,
         "Tells the kernel how soon to kill the server when the machine runs out of memory.")
        .Store<&V::oom_score_adj>(),
    Words("oom-score-adj-values", "0 200 800", ParseOomScoreAdjustments,
          "The scores of oom-score-adj for a master, a replica and a background child.")
        .StoreBy(StoreOomScoreAdjustment),
};

}  // namespace

std::span<const OptionRow> MemoryRows() { return kRows; }

}  // namespace firn::server
