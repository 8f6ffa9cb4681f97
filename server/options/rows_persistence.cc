// The log, which is Firn's append-only file, and snapshots.
#include "server/options/option_table.h"
#include "server/options/special_options.h"
#include "server/recovery_moment.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr EnumName kFsyncPolicies[] = {
    {"everysec", static_cast<int64_t>(AppendFsync::kEverySecond)},
    {"always", static_cast<int64_t>(AppendFsync::kAlways)},
    {"no", static_cast<int64_t>(AppendFsync::kNo)},
};
constexpr EnumName kSanitize[] = {{"no", 0}, {"yes", 1}, {"clients", 2}};
constexpr std::string_view kSnapshots = "RDB snapshots";

Status CheckRecoverUntil(OptionValue& value) {
  if (value.text.empty()) return {};
  auto moment = ParseMoment(value.text);
  return moment ? Status() : moment.error();
}

constexpr OptionRow kLogRows[] = {
    Bool("appendonly", "yes",
         "Makes every write durable in the log before it is acknowledged (no in Redis). With no, "
         "the log only holds what does not fit RAM, and a start finds the last snapshot. Switched "
         "off at run time, nobody waits for the log any more, which goes on until the next start.")
        .With(kDenyLoading)
        .Store<&V::appendonly>(),
    Enum("appendfsync", "everysec", kFsyncPolicies,
         "When the log is flushed to the device: once a second, before each reply, or when the "
         "kernel likes.")
        .Store<&V::appendfsync>(),
    String("appendfilename", "appendonly.aof",
           "The name of Redis' AOF files, which are loaded at the first start; Firn's log has its "
           "own names in DIR/log.")
        .With(kImmutable)
        .Check(CheckAppendFilename)
        .Store<&V::appendfilename>(),
    String(
        "appenddirname", "appendonlydir",
        "The directory of Redis' AOF files, which are loaded at the first start; Firn's log lies "
        "in DIR/log.")
        .With(kImmutable)
        .Check(CheckAppendDirname)
        .Store<&V::appenddirname>(),
    String(
        "log-archive-dir", "",
        "A directory in which the log's segments are kept once they are full, also when "
        "compaction has removed them; with a backup they bring back any later moment. A relative "
        "path begins in dir. Empty: they are not kept.")
        .With(kStartOnly)
        .Store<&V::log_archive_dir>(),
    String("recover-until", "",
           "For a start on a backup: brings it forward, with what log-archive-dir holds, to a "
           "moment: \"2026-11-21 10:15:00\" (local time), \"2026-11-21 10:15:00 +01:00\", UNIX "
           "time, or lsn:N.")
        .With(kStartOnly)
        .Check(CheckRecoverUntil)
        .Store<&V::recover_until>(),
    Bool("no-appendfsync-on-rewrite", "no", "Whether Redis stops flushing while a child rewrites.")
        .Ignored(),
    Integer("auto-aof-rewrite-percentage", "100", {0, kIntMax},
            "Growth of the log since the last rewrite at which all its garbage is collected, as "
            "BGREWRITEAOF does; 0 never. Most of it is collected all the time.")
        .In(Unit::kPercent)
        .Store<&V::auto_aof_rewrite_percentage>(),
    Integer("auto-aof-rewrite-min-size", "64mb", {0, kLongMax},
            "Size of the log below which growth begins no rewrite.")
        .In(Unit::kMemory)
        .Store<&V::auto_aof_rewrite_min_size>(),
    Bool("aof-rewrite-incremental-fsync", "yes", "How Redis flushes the AOF it rewrites.")
        .Ignored(),
    Bool("aof-load-truncated", "yes",
         "Whether an AOF file of Redis is loaded whose last command is incomplete. Firn's own log "
         "is "
         "always cut behind its last whole record.")
        .Store<&V::aof_load_truncated>(),
    Bool("aof-use-rdb-preamble", "yes", "Whether Redis' AOF starts with a snapshot.").Ignored(),
    Bool("aof-timestamp-enabled", "no", "Whether Redis' AOF holds timestamps.").Ignored(),
    Bool("aof-disable-auto-gc", "no", "For tests of Redis: keeps old AOF files.")
        .With(kHidden)
        .Ignored(),
    Integer("key-load-delay", "0", {kIntMin, kIntMax}, "For tests of Redis: slows loading down.")
        .In(Unit::kMicroseconds)
        .With(kHidden)
        .Store<&V::key_load_delay_us>(),
    Integer("loading-process-events-interval-bytes", "2097152", {1024, kIntMax},
            "For tests of Redis: how often clients are looked after while data is loaded.")
        .With(kHidden)
        .Ignored(),
};

constexpr OptionRow kSnapshotRows[] = {
    Words("save", "3600 1 300 100 60 10000", ParseSaveRules,
          "When a snapshot is written: after so many seconds if there were so many changes, for "
          "each pair. If it is never given, there are no rules while appendonly is on.")
        .With(kAccumulates)
        .DefaultMeans("none; without appendonly `3600 1 300 100 60 10000`")
        .StoreBy(StoreSaveRules),
    String("dbfilename", "dump.rdb", "The name of the snapshot in dir.")
        .With(kProtectedOption)
        .Check(CheckDbFilename)
        .Store<&V::dbfilename>(),
    Bool("rdbcompression", "yes",
         "Compresses strings in snapshots. Where 32 in a row got no shorter, one of 16 is tried.")
        .Store<&V::rdb_compression>(),
    Bool("rdbchecksum", "yes", "Writes and checks a checksum at the end of a snapshot.")
        .With(kImmutable)
        .Store<&V::rdb_checksum>(),
    Bool("rdb-save-incremental-fsync", "yes", "Flushes a snapshot while it is written.")
        .Store<&V::rdb_save_incremental_fsync>(),
    Bool("rdb-del-sync-files", "no", "Deletes snapshots that only served replication.")
        .Pending(kSnapshots),
    Integer("rdb-key-save-delay", "0", {kIntMin, kIntMax}, "For tests of Redis: slows saving down.")
        .In(Unit::kMicroseconds)
        .With(kHidden)
        .Store<&V::rdb_key_save_delay_us>(),
    Bool("stop-writes-on-bgsave-error", "yes", "Refuses writes after a snapshot has failed.")
        .Store<&V::stop_writes_on_bgsave_error>(),
    Enum("sanitize-dump-payload", "no", kSanitize,
         "How deeply Redis checks serialized values when they are restored. Firn takes them apart, "
         "so that all of each is checked, whatever this says.")
        .Ignored(),
};

}  // namespace

std::span<const OptionRow> LogRows() { return kLogRows; }
std::span<const OptionRow> SnapshotRows() { return kSnapshotRows; }

}  // namespace firn::server
