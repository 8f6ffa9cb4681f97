// DUMP.
#include "server/commands/dump.h"

#include <memory>

#include "engine/rdb/rdb_rows.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/counted_tree.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/piecewise_reply.h"
#include "server/server.h"
#include "tiering/collection.h"

namespace firn::server {
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

}  // namespace firn::server
