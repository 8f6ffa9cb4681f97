#include "server/commands/long_strings.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/types/long_string.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"
#include "tiering/frozen_value.h"

namespace firn::server {
namespace {

// What is not longer is read at once.
constexpr uint64_t kManyBytes = 160 * LongString::kPageBytes;
// A piece.
constexpr uint64_t kBytesAtOnce = 64 * LongString::kPageBytes;
// The next piece of a reply is fetched when no more than this waits to be sent.
constexpr uint64_t kUnsentBytes = 256 << 10;

class Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(CommandContext& context, StringWalk walk)
      : walk_(std::move(walk)),
        frozen_(context.db(), walk_.key),
        string_(&frozen_),
        at_(walk_.range.begin),
        end_(std::min(walk_.range.end, string_.size())) {}

  void AwaitTurn(CommandContext& context) {
    SuspendedCommand suspended = context.Suspend();
    auto resume = [self = shared_from_this(), suspended] {
      suspended.Resume([self](CommandContext& context) {
        // Each piece has a plan of its own, so that what it brought may go when the next comes.
        RunWithKeys(context, {}, [self](CommandContext& context) { self->ReadPiece(context); });
      });
    };
    if (!walk_.is_reply) return context.server.loop().Post(std::move(resume));
    context.server.NoteActive(&context.client);
    context.client.WhenSent(kUnsentBytes, std::move(resume));
  }

 private:
  void ReadPiece(CommandContext& context) {
    if (frozen_.lost()) return GiveUp(context);
    const uint64_t piece_end = std::min(end_, (at_ / kBytesAtOnce + 1) * kBytesAtOnce);
    if (!string_.Want({at_, piece_end})) return;
    const bool goes_on = string_.ForEach(
        {at_, piece_end}, [&](std::string_view piece) { return walk_.visit(context, piece); });
    at_ = piece_end;
    if (goes_on && at_ < end_) return AwaitTurn(context);
    walk_.done(context);
  }

  void GiveUp(CommandContext& context) {
    constexpr std::string_view kWhy =
        "what it reads has been flushed, or changed too much meanwhile";
    if (!walk_.is_reply) {
      return context.reply.Error("ERR the command can't be finished: " + std::string(kWhy));
    }
    // Half of a reply is no reply.
    context.server.Log(kLogWarning, "A long reply can't be finished: " + std::string(kWhy) +
                                        ": its client is disconnected.");
    context.client.set_reply_open(false);
    context.client.CloseSoon();
  }

  const StringWalk walk_;
  FrozenValue frozen_;
  LongString string_;
  uint64_t at_;
  const uint64_t end_;
};

std::string BulkHeader(uint64_t bytes) { return "$" + std::to_string(bytes) + "\r\n"; }

}  // namespace

bool WholeString::Load(Database& db, const HashedKey& key, const Database::KeyInfo& info) {
  is_long_ = info.is_long;
  if (!is_long_) {
    value_ = db.GetString(key);
    return true;
  }
  if (!db.WantString(key, {})) return false;
  copy_ = db.ReadString(key, {});
  return true;
}

bool ReplyWholeString(CommandContext& context, const HashedKey& key,
                      const Database::KeyInfo& info) {
  Database& db = context.db();
  if (!info.is_long) {
    context.reply.Bulk(db.GetString(key));
    return true;
  }
  if (!db.WantString(key, {})) return false;
  context.reply.Raw(BulkHeader(db.StringLength(key)));
  db.VisitString(key, {}, [&](std::string_view piece) {
    context.reply.Raw(piece);
    return true;
  });
  context.reply.Raw("\r\n");
  return true;
}

bool IsReadInPieces(const CommandContext& context, StringRange range) {
  return range.begin < range.end && range.end - range.begin > kManyBytes &&
         !RunsAtomically(context);
}

void WalkString(CommandContext& context, StringWalk walk) {
  std::make_shared<Walk>(context, std::move(walk))->AwaitTurn(context);
}

void ReplyLongString(CommandContext& context, const HashedKey& key, StringRange range) {
  Database& db = context.db();
  range.end = std::min(range.end, db.StringLength(key));
  const uint64_t size = range.begin < range.end ? range.end - range.begin : 0;
  if (size > 0) {
    if (const auto piece = db.ReadLong(key, range)) return context.reply.Bulk(*piece);
  }
  auto visit = [](CommandContext& context, std::string_view piece) {
    context.reply.Raw(piece);
    return true;
  };
  if (!IsReadInPieces(context, range)) {
    if (!db.WantString(key, range)) return;
    context.reply.Raw(BulkHeader(size));
    db.VisitString(key, range, [&](std::string_view piece) { return visit(context, piece); });
    return context.reply.Raw("\r\n");
  }
  if (!context.LeavePlace()) return;
  context.reply.Raw(BulkHeader(size));
  context.client.set_reply_open(true);
  WalkString(context, {.key = key,
                       .range = range,
                       .is_reply = true,
                       .visit = visit,
                       .done = [](CommandContext& context) {
                         context.reply.Raw("\r\n");
                         context.client.set_reply_open(false);
                       }});
}

}  // namespace firn::server
