// DUMP.
#include "server/commands/dump.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "engine/rdb/rdb_rows.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/counted_tree.h"
#include "engine/types/long_string.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/piecewise_reply.h"
#include "server/commands/sliced_command.h"
#include "server/server.h"
#include "tiering/collection.h"
#include "tiering/frozen_value.h"

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

bool DumpsInPieces(CommandContext& context, const Database::KeyInfo& info) {
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

void DumpAtOnce(CommandContext& context) {
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

// A long string: copied slice by slice as it was, packed by another thread, and given in pieces.
class StringDump final : public SlicedCommand {
 public:
  // REQUIRES: the key is planned.
  void Begin(CommandContext& context) {
    const Database::KeyInfo info = LookupForRead(context, context.key());
    if (!info.is_long) return DumpAtOnce(context);
    const Attempt attempt = BeginAttempt(context, AnyOf(context.keys));
    if (attempt == Attempt::kLater) return;
    if (attempt == Attempt::kNone) return DumpAtOnce(context);
    compress_ = context.server.options()->rdb_compression;
    frozen_ = std::make_unique<FrozenValue>(context.db(), context.key());
    string_ = std::make_unique<LongString>(frozen_.get());
    size_ = string_->size();
    if (size_ > MaxReplyBytes(context)) return context.reply.Error(kOutOfMemoryError);
    bytes_ = std::make_unique_for_overwrite<char[]>(size_);
    AwaitTurn(context);
  }

 protected:
  void Step(CommandContext& context) override {
    if (packed_) return ReplyPiece(context);
    if (frozen_->lost()) return Restart(context);
    const StringRange range = {copied_, std::min(copied_ + kBytesAtOnce, size_)};
    if (!string_->Want(range)) return;
    string_->ForEach(range, [this](std::string_view piece) {
      std::memcpy(bytes_.get() + copied_, piece.data(), piece.size());
      copied_ += piece.size();
      return true;
    });
    if (copied_ < size_) return AwaitTurn(context);
    string_.reset();
    frozen_.reset();
    EndAttempt();
    Compute(context, [this](const std::atomic<bool>*) { Pack(); });
  }

 private:
  static constexpr uint64_t kBytesAtOnce = 64 * LongString::kPageBytes;

  void Restart(CommandContext& context) override {
    string_.reset();
    frozen_.reset();
    copied_ = 0;
    RunWithKeys(context, {context.keys.begin(), context.keys.end()},
                [self = std::static_pointer_cast<StringDump>(shared_from_this())](
                    CommandContext& context) { self->Begin(context); });
  }

  // On another thread, which also frees what is large: that takes the kernel milliseconds.
  void Pack() {
    RdbStringSink sink;
    RdbWriter(&sink, {.compress = compress_}).StringPayload({bytes_.get(), size_});
    payload_ = sink.Take();
    bytes_.reset();
    packed_ = true;
  }

  void ReplyPiece(CommandContext& context) {
    if (given_ == 0) {
      context.reply.Raw("$" + std::to_string(payload_.size()) + "\r\n");
      context.client.set_reply_open(true);
    }
    const std::string_view piece = std::string_view(payload_).substr(given_, kBytesAtOnce);
    context.reply.Raw(piece);
    given_ += piece.size();
    if (given_ < payload_.size()) return AwaitSent(context);
    context.reply.Raw("\r\n");
    context.client.set_reply_open(false);
    context.server.FreeOnWorker(std::move(payload_));
  }

  bool compress_ = false;
  std::unique_ptr<FrozenValue> frozen_;
  std::unique_ptr<LongString> string_;
  uint64_t size_ = 0;
  std::unique_ptr<char[]> bytes_;
  uint64_t copied_ = 0;
  bool packed_ = false;
  std::string payload_;
  size_t given_ = 0;
};

}  // namespace

void DumpCommand(CommandContext& context) {
  const Database::KeyInfo info =
      context.db().Lookup(context.key(), {.touch = false, .count_hit = false});
  if (info.is_long && IsReadInPieces(context, {0, context.db().StringLength(context.key())})) {
    if (!context.LeavePlace()) return;
    return std::make_shared<StringDump>()->Begin(context);
  }
  DumpsInPieces(context, info) ? DumpInPieces(context) : DumpAtOnce(context);
}

}  // namespace firn::server
