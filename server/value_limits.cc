#include "server/value_limits.h"

#include <algorithm>

#include "engine/keyspace/access_clock.h"

namespace firn::server {

ValueLimits ValueLimitsOf(const OptionValues& options) {
  auto count = [](int64_t value) { return static_cast<uint64_t>(value); };
  return {
      .list = {.max_listpack_size = options.list_max_listpack_size},
      .hash = {.max_listpack_entries = count(options.hash_max_listpack_entries),
               .max_listpack_value = count(options.hash_max_listpack_value)},
      .set = {.max_intset_entries = count(options.set_max_intset_entries),
              .max_listpack_entries = count(options.set_max_listpack_entries),
              .max_listpack_value = count(options.set_max_listpack_value)},
      .zset = {.max_listpack_entries = count(options.zset_max_listpack_entries),
               .max_listpack_value = count(options.zset_max_listpack_value)},
  };
}

std::optional<uint32_t> RestoredAccess(bool lfu, std::optional<int64_t> frequency,
                                       std::optional<int64_t> idle_seconds, int64_t now_ms) {
  if (lfu && frequency) {
    return (LfuInit(now_ms) & ~kLfuMaxCounter) | static_cast<uint32_t>(*frequency);
  }
  if (lfu || !idle_seconds) return std::nullopt;
  // The clock's range, beyond which it would come round.
  const int64_t idle = std::min(*idle_seconds, kAccessClockMax);
  return LruNow(std::max<int64_t>(now_ms - idle * 1000, 0));
}

}  // namespace firn::server
