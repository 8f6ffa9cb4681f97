// DUMP and RESTORE.
#include "server/commands/dump.h"

#include <limits>
#include <memory>
#include <optional>

#include "engine/keyspace/access_clock.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/rdb/rdb_rows.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/counted_tree.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/piecewise_reply.h"
#include "server/restored_value.h"
#include "server/server.h"
#include "server/value_limits.h"
#include "tiering/collection.h"

namespace firn::server {
namespace {

constexpr std::string_view kBusyKeyError = "BUSYKEY Target key name already exists.";
constexpr std::string_view kBadPayloadError = "ERR DUMP payload version or checksum are wrong";
constexpr std::string_view kBadFormatError = "ERR Bad data format";

// Collects the one value of a payload.
class PayloadBuilder final : public RdbBuilder {
 public:
  explicit PayloadBuilder(RestoredValue* value) : value_(*value) {}

  Status SelectDb(uint64_t) override { return Unexpected(); }
  Status Function(std::string_view) override { return Unexpected(); }
  Status BeginKey(const RdbKey& key) override {
    value_.Begin(key.type);
    return {};
  }
  Status String(std::string_view value) override { return Add({.name = value}); }
  Status ListElement(std::string_view element) override { return Add({.name = element}); }
  Status SetMember(std::string_view member) override { return Add({.name = member}); }
  Status ZsetMember(std::string_view member, double score) override {
    return Add({.name = member, .score = score});
  }
  Status HashField(std::string_view field, std::string_view value, int64_t expiry_ms) override {
    return Add({.name = field, .value = value, .expiry_ms = expiry_ms});
  }
  Status Stream(const StreamPiece& piece) override {
    value_.Add(piece);
    return {};
  }
  Status EndKey() override {
    return value_.IsDistinct() ? Status() : Status::Corruption("a member or field comes twice");
  }
  Status SkipEmptyKey() override { return Unexpected(); }

 private:
  static Status Unexpected() { return Status::Corruption("this is no single value"); }
  Status Add(const RestoredValue::Element& element) {
    value_.Add(element);
    return {};
  }
  RestoredValue& value_;
};

struct RestoreRequest {
  bool replace = false;
  bool absolute = false;
  std::optional<int64_t> idle_seconds;
  std::optional<int64_t> frequency;
  int64_t ttl = 0;
};

// The options, which follow the payload; the error if they don't fit.
bool ParseOptionsOr(CommandContext& context, RestoreRequest* request) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 4; i < args.size(); ++i) {
    const bool more = i + 1 < args.size();
    int64_t number;
    if (EqualsIgnoreCase(args[i], "replace")) {
      request->replace = true;
    } else if (EqualsIgnoreCase(args[i], "absttl")) {
      request->absolute = true;
    } else if (EqualsIgnoreCase(args[i], "idletime") && more && !request->frequency) {
      if (!ParseIntegerOr(context, args[++i], &number)) return false;
      if (number < 0) {
        context.reply.Error("ERR Invalid IDLETIME value, must be >= 0");
        return false;
      }
      request->idle_seconds = number;
    } else if (EqualsIgnoreCase(args[i], "freq") && more && !request->idle_seconds) {
      if (!ParseIntegerOr(context, args[++i], &number)) return false;
      if (number < 0 || number > kLfuMaxCounter) {
        context.reply.Error("ERR Invalid FREQ value, must be >= 0 and <= 255");
        return false;
      }
      request->frequency = number;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

bool ParseTtlOr(CommandContext& context, RestoreRequest* request) {
  if (!ParseIntegerOr(context, context.args[2], &request->ttl)) return false;
  if (request->ttl < 0) {
    context.reply.Error("ERR Invalid TTL value, must be >= 0");
    return false;
  }
  if (request->ttl != 0 && !request->absolute &&
      __builtin_add_overflow(request->ttl, context.now_ms(), &request->ttl)) {
    request->ttl = std::numeric_limits<int64_t>::max();
  }
  return true;
}

bool ParsePayloadOr(CommandContext& context, RestoredValue* value) {
  const std::optional<std::string_view> body =
      RdbReader::CheckPayload(context.args[3], {.checksum = !context.server.skips_checksums()});
  if (!body) {
    context.reply.Error(kBadPayloadError);
    return false;
  }
  RdbStringSource source(*body);
  PayloadBuilder builder(value);
  const Status status = RdbReader(&source, &builder).ReadValue();
  if (status.ok()) return true;
  context.server.Log(kLogWarning, "RESTORE: the integrity check failed: " + status.message());
  context.reply.Error(kBadFormatError);
  return false;
}

void ApplyAccess(CommandContext& context, const HashedKey& key, const RestoreRequest& request) {
  const std::optional<uint32_t> access = RestoredAccess(LfuSelected(context), request.frequency,
                                                        request.idle_seconds, context.now_ms());
  if (access) context.db().SetAccess(key, *access);
}

}  // namespace

Dumped DumpKey(CommandContext& context, const HashedKey& key, std::string* payload) {
  const Database::KeyInfo info = LookupForRead(context, key);
  if (!info.exists()) return Dumped::kAbsent;
  RdbStringSink sink;
  const bool compress = context.server.options()->rdb_compression;
  RdbWriter writer(&sink, {.compress = compress, .now_ms = context.now_ms()});
  if (info.type == ValueType::kString) {
    WholeString value;
    if (!value.Load(context.db(), key, info)) return Dumped::kMissing;
    writer.StringPayload(value.bytes());
    *payload = sink.Take();
    return Dumped::kYes;
  }
  Collection pages(context.db(), key, info.type, {.touch = false, .count_hit = false});
  // Of a sorted set, its member index is not needed.
  const bool all = info.type == ValueType::kStream ? CountedTree::WantValue(&pages)
                                                   : CountedTree(&pages).WantAll();
  if (!all) return Dumped::kMissing;
  switch (writer.CollectionPayload(info.type, &pages)) {
    case RdbWriter::Written::kYes:
      *payload = sink.Take();
      return Dumped::kYes;
    case RdbWriter::Written::kMissing:
      return Dumped::kMissing;
    case RdbWriter::Written::kEmpty:
      break;
  }
  return Dumped::kAbsent;
}

namespace {

// What a payload would be: its length and checksum.
class MeasuringSink final : public RdbSink {
 protected:
  Status Write(std::string_view) override { return {}; }
};

class ReplySink final : public RdbSink {
 public:
  // Where what follows goes.
  void set_reply(Reply* reply) { reply_ = reply; }

 protected:
  Status Write(std::string_view bytes) override {
    reply_->Raw(bytes);
    return {};
  }

 private:
  Reply* reply_ = nullptr;
};

// A large value is written twice, piece by piece: the length of a reply precedes it.
struct PiecewiseDump {
  explicit PiecewiseDump(const RdbRows::Options& options)
      : measured(&measuring_sink, options), given(&reply_sink, options) {}
  MeasuringSink measuring_sink;
  ReplySink reply_sink;
  RdbRows measured;
  RdbRows given;
};

bool DumpsInPieces(CommandContext& context) {
  const Database::KeyInfo info =
      context.db().Lookup(context.key(), {.touch = false, .count_hit = false});
  if (!info.exists() || info.type == ValueType::kString) return false;
  Collection pages(context.db(), context.key(), info.type, {.touch = false, .count_hit = false});
  return RdbRows::Fits(info.type, pages.Root()) &&
         RepliesInPieces(context, pages.Root(), CountedTree(&pages).count());
}

void DumpInPieces(CommandContext& context) {
  const ValueType type = LookupForRead(context, context.key()).type;
  uint64_t count = 0;
  {
    Collection pages(context.db(), context.key(), type, {.touch = false, .count_hit = false});
    count = CountedTree(&pages).count();
  }
  auto dump = std::make_shared<PiecewiseDump>(RdbRows::Options{
      .compress = context.server.options()->rdb_compression, .type = type, .count = count});
  ReplyInPieces(context,
                {.key = context.key(),
                 .count = count,
                 // As RDB files have them, so that they are loaded faster.
                 .backward = type == ValueType::kZset,
                 .header =
                     [dump](CommandContext& to) {
                       dump->measured.End();
                       to.reply.Raw("$" + std::to_string(dump->measuring_sink.bytes()) + "\r\n");
                       dump->reply_sink.set_reply(&to.reply);
                     },
                 .row = [dump](CommandContext&, const PackedRow& row) { dump->given.Add(row); },
                 .end =
                     [dump](CommandContext& to) {
                       dump->given.End();
                       to.reply.Raw("\r\n");
                     },
                 .measure = [dump](const PackedRow& row) { dump->measured.Add(row); }});
}

}  // namespace

void DumpCommand(CommandContext& context) {
  if (DumpsInPieces(context)) return DumpInPieces(context);
  std::string payload;
  switch (DumpKey(context, context.key(), &payload)) {
    case Dumped::kYes:
      return context.reply.Bulk(payload);
    case Dumped::kAbsent:
      return context.reply.Null();
    case Dumped::kMissing:
      return;
  }
}

void RestoreCommand(CommandContext& context) {
  RestoreRequest request;
  if (!ParseOptionsOr(context, &request)) return;
  const HashedKey& key = context.key();
  const bool exists = LookupForWrite(context, key).exists();
  if (exists && !request.replace) return context.reply.Error(kBusyKeyError);
  RestoredValue value;
  if (!ParseTtlOr(context, &request) || !ParsePayloadOr(context, &value)) return;
  value.DropExpired(context.store.expiry_clock_ms());
  const bool expired =
      (request.ttl != 0 && request.ttl <= context.store.expiry_clock_ms()) || value.count() == 0;
  context.store.BeginGroup();
  if (exists) context.db().Delete(key);
  if (!expired) {
    value.Create(context.db(), key, ValueLimitsOf(context.server.options().values()));
    if (request.ttl != 0) context.db().SetExpiry(key, request.ttl);
    ApplyAccess(context, key, request);
  }
  context.store.EndGroup();
  if (!expired) {
    context.Modified(key);
    context.Notify('g', "restore", key.bytes);
  } else if (exists) {
    context.Modified(key);
    context.Notify('g', "del", key.bytes);
  }
  context.reply.Ok();
}

}  // namespace firn::server
