// The HyperLogLog commands. The values are ordinary strings, as in Redis; single additions change
// their bytes in place.
#include "server/commands/hyperloglogs.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/types/hyperloglog.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/options/options.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kCorruptError = "INVALIDOBJ Corrupted HLL object detected";
// More elements are added to a copy, of which then what differs is written.
constexpr size_t kFewElements = 4;

uint64_t SparseMaxBytes(const CommandContext& context) {
  return static_cast<uint64_t>(context.server.options()->hll_sparse_max_bytes);
}

// The value of a key that holds a HyperLogLog; answers the client if it holds something else. False
// also if pages are missing. REQUIRES: the key exists.
bool GetHllOr(CommandContext& context, const HashedKey& key, const Database::KeyInfo& info,
              WholeString* value) {
  if (!CheckString(context, info) || !value->Load(context.db(), key, info)) return false;
  if (IsHyperLogLog(value->bytes())) return true;
  context.reply.Error("WRONGTYPE Key is not a valid HyperLogLog string value.");
  return false;
}

// Makes a value what it has become, writing what differs. REQUIRES: `now` is a HyperLogLog; all of
// the value is in RAM.
void WriteChanged(CommandContext& context, const HashedKey& key, std::string_view now) {
  Database& db = context.db();
  WholeString value;
  const Database::KeyInfo info = db.Lookup(key, {.touch = false, .count_hit = false});
  CHECK(value.Load(db, key, info));
  const std::string_view old = value.bytes();
  // Runs of equal bytes shorter than this are written again.
  constexpr size_t kGap = 8;
  if (old.size() != now.size()) {
    return db.SetString(key, now, {.expiry = Database::ExpiryChange::kKeep, .raw = true});
  }
  std::vector<Splice> splices;
  for (size_t at = 0; at < now.size();) {
    if (old[at] == now[at]) {
      ++at;
      continue;
    }
    size_t end = at + 1;
    for (size_t i = end; i < std::min(end + kGap, now.size()); ++i) {
      if (old[i] != now[i]) end = i + 1;
    }
    splices.push_back(
        {static_cast<uint32_t>(at), static_cast<uint32_t>(end - at), now.substr(at, end - at)});
    at = end;
  }
  if (splices.empty()) return;
  if (!info.is_long) return db.SpliceString(key, splices);
  // Garbage follows a value that is in pages: none that is sound is as long.
  for (const Splice& splice : splices) db.SetRange(key, splice.offset, splice.inserted);
}

// Adds elements to a copy of a value; nothing if it is corrupt.
std::optional<bool> AddToCopy(CommandContext& context, std::string* bytes,
                              std::span<const std::string_view> elements) {
  bool changed = false;
  for (std::string_view element : elements) {
    const HllResult result = RaiseHll(bytes, HashHllElement(element), SparseMaxBytes(context));
    if (result == HllResult::kCorrupt) return std::nullopt;
    changed |= result == HllResult::kChanged;
  }
  if (changed) MarkHllStale(bytes);
  return changed;
}

void Added(CommandContext& context, const HashedKey& key) {
  context.Modified(key);
  context.Notify('$', "pfadd", key.bytes);
}

// Adds a few elements where they are; nothing if the value is corrupt.
std::optional<bool> AddInPlace(CommandContext& context,
                               std::span<const std::string_view> elements) {
  Database& db = context.db();
  const HashedKey& key = context.key();
  bool changed = false;
  for (size_t i = 0; i < elements.size(); ++i) {
    const StringValue value = db.GetString(key);
    HllChange change;
    switch (change.Raise(value.bytes(), HashHllElement(elements[i]), SparseMaxBytes(context))) {
      case HllResult::kSame:
        break;
      case HllResult::kChanged:
        db.SpliceString(key, change.splices());
        changed = true;
        break;
      case HllResult::kCorrupt:
        return std::nullopt;
      case HllResult::kTooLong: {
        std::string copy(value.bytes());
        if (!AddToCopy(context, &copy, elements.subspan(i))) return std::nullopt;
        WriteChanged(context, key, copy);
        return true;
      }
    }
  }
  return changed;
}

}  // namespace

void PfAddCommand(CommandContext& context) {
  const HashedKey& key = context.key();
  std::span<const std::string_view> elements = context.args.subspan(2);
  const Database::KeyInfo info = LookupForWrite(context, key);
  if (!info.exists()) {
    std::string bytes = EmptyHll();
    AddToCopy(context, &bytes, elements);
    MarkHllStale(&bytes);
    context.db().SetString(key, bytes, {.raw = true});
    Added(context, key);
    return context.reply.Integer(1);
  }
  WholeString value;
  if (!GetHllOr(context, key, info, &value)) return;
  const std::string_view bytes = value.bytes();
  std::optional<bool> changed;
  if (elements.size() <= kFewElements && !info.is_long) {
    const bool group = elements.size() > 1;
    if (group) context.store.BeginGroup();
    changed = AddInPlace(context, elements);
    if (group) context.store.EndGroup();
  } else {
    std::string copy(bytes);
    changed = AddToCopy(context, &copy, elements);
    if (changed.value_or(false)) WriteChanged(context, key, copy);
  }
  if (!changed.has_value()) return context.reply.Error(kCorruptError);
  if (*changed) Added(context, key);
  context.reply.Integer(*changed ? 1 : 0);
}

namespace {

// Stores the count in the value, as Redis does even though PFCOUNT only reads; where nothing can be
// written, it is counted again the next time.
void CacheCount(CommandContext& context, const HashedKey& key, uint64_t count) {
  constexpr uint64_t kRecordBytes = 256;
  Ticket ticket;
  const Store::WriteGate gate = context.store.CheckWrite(kRecordBytes, true, &ticket);
  context.store.Release(&ticket);
  if (gate != Store::WriteGate::kOk) return;
  char bytes[8];
  StoreFixed(bytes, count);
  context.db().SetRange(key, kHllCountOffset, {bytes, sizeof bytes});
  context.Modified(key);
}

void CountUnion(CommandContext& context) {
  HllRegisters registers = {};
  for (const KeyAccess& access : context.keys) {
    const Database::KeyInfo info = LookupForRead(context, access.key);
    if (!info.exists()) continue;
    WholeString value;
    if (!GetHllOr(context, access.key, info, &value)) return;
    const std::string_view bytes = value.bytes();
    if (!MergeHll(bytes, &registers)) return context.reply.Error(kCorruptError);
  }
  context.reply.Integer(static_cast<int64_t>(CountHll(registers)));
}

}  // namespace

void PfCountCommand(CommandContext& context) {
  if (context.keys.size() > 1) return CountUnion(context);
  const HashedKey& key = context.key();
  const Database::KeyInfo info = LookupForRead(context, key);
  if (!info.exists()) return context.reply.Integer(0);
  WholeString value;
  if (!GetHllOr(context, key, info, &value)) return;
  const std::string_view bytes = value.bytes();
  uint64_t count;
  if (!CachedHllCount(bytes, &count)) {
    if (!CountHll(bytes, &count)) return context.reply.Error(kCorruptError);
    CacheCount(context, key, count);
  }
  context.reply.Integer(static_cast<int64_t>(count));
}

void PfMergeCommand(CommandContext& context) {
  const HashedKey& target = context.key();
  HllRegisters registers = {};
  bool dense = false;
  // The target is the first of the sources.
  for (const KeyAccess& access : context.keys) {
    const Database::KeyInfo info = LookupForRead(context, access.key);
    if (!info.exists()) continue;
    WholeString value;
    if (!GetHllOr(context, access.key, info, &value)) return;
    const std::string_view bytes = value.bytes();
    dense |= IsDenseHll(bytes);
    if (!MergeHll(bytes, &registers)) return context.reply.Error(kCorruptError);
  }
  const bool exists = LookupForWrite(context, target).exists();
  std::string merged = exists ? context.db().ReadString(target, {}) : EmptyHll();
  if (dense && !MakeHllDense(&merged)) return context.reply.Error(kCorruptError);
  // One by one, as Redis does: the runs of a sparse value depend on it.
  for (uint32_t i = 0; i < kHllRegisters; ++i) {
    if (registers[i] == 0) continue;
    RaiseHll(&merged, {.index = i, .value = registers[i]}, SparseMaxBytes(context));
  }
  MarkHllStale(&merged);
  if (exists) {
    WriteChanged(context, target, merged);
  } else {
    context.db().SetString(target, merged, {.raw = true});
  }
  Added(context, target);
  context.reply.Ok();
}

// --- for tests

namespace {

void ReplyRegisters(CommandContext& context, std::string_view bytes) {
  HllRegisters registers = {};
  MergeHll(bytes, &registers);
  context.reply.ArrayHeader(kHllRegisters);
  for (uint8_t value : registers) context.reply.Integer(value);
}

}  // namespace

void PfDebugCommand(CommandContext& context) {
  const std::string_view what = context.args[1];
  const HashedKey& key = context.key();
  const Database::KeyInfo info = LookupForWrite(context, key);
  if (!info.exists()) return context.reply.Error("ERR The specified key does not exist");
  WholeString value;
  if (!GetHllOr(context, key, info, &value)) return;
  const std::string_view bytes = value.bytes();
  const bool sparse = !IsDenseHll(bytes);
  const bool registers = EqualsIgnoreCase(what, "getreg");
  if (registers || EqualsIgnoreCase(what, "todense")) {
    std::string dense(bytes);
    if (!MakeHllDense(&dense)) return context.reply.Error(kCorruptError);
    if (sparse) WriteChanged(context, key, dense);
    if (!registers) return context.reply.Integer(sparse ? 1 : 0);
    ReplyRegisters(context, dense);
  } else if (EqualsIgnoreCase(what, "decode")) {
    if (!sparse) return context.reply.Error("ERR HLL encoding is not sparse");
    context.reply.Bulk(DescribeHll(bytes));
  } else if (EqualsIgnoreCase(what, "encoding")) {
    context.reply.SimpleString(sparse ? "sparse" : "dense");
  } else {
    context.reply.Error("ERR Unknown PFDEBUG subcommand '" + std::string(UpToNul(what)) + "'");
  }
}

void PfSelfTestCommand(CommandContext& context) {
  const auto seed = static_cast<uint64_t>(context.now_ms());
  const std::string error = SelfTestHll(seed, SparseMaxBytes(context));
  if (!error.empty()) return context.reply.Error("ERR " + error);
  context.reply.Ok();
}

}  // namespace firn::server
