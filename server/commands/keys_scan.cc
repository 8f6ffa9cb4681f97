// Commands that go over the whole keyspace: KEYS, SCAN, RANDOMKEY, DBSIZE.
#include <array>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/glob.h"
#include "server/commands/common.h"
#include "server/commands/keys.h"
#include "server/server.h"

namespace firn::server {
namespace {

// A reply holds the keys of one call: more than this is refused a single SCAN, which may answer
// with fewer than COUNT.
constexpr uint64_t kMaxScanCount = 200'000;
constexpr uint64_t kMaxCursor = (1ull << 52) - 1;
// What KEYS asks for at a time, and does before it lets others run.
constexpr uint64_t kKeysStep = 1024;

struct ScanRequest {
  uint64_t cursor = 0;
  uint64_t count = 10;
  std::optional<std::string> pattern;  // nothing: every key
  bool by_type = false;
  ValueType type = ValueType::kNone;  // kNone with by_type: an unknown type, which no key has

  bool Wants(const Store::ScanKey& key) const {
    if (by_type && key.type != type) return false;
    return !pattern || GlobMatch(*pattern, key.key);
  }
};

// Decimal digits as strtoul takes them: an optional plus sign, nothing is zero.
bool ParseCursor(std::string_view text, uint64_t* cursor) {
  if (text.starts_with('+')) text.remove_prefix(1);
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<uint64_t>(c - '0');
    if (value > kMaxCursor) return false;
  }
  *cursor = value;
  return true;
}

ValueType TypeNamed(std::string_view name) {
  constexpr std::array<std::string_view, 6> kNames = {"string", "list", "set",
                                                      "zset",   "hash", "stream"};
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (EqualsIgnoreCase(name, kNames[i])) return static_cast<ValueType>(i + 1);
  }
  return ValueType::kNone;
}

std::optional<std::string> PatternOf(std::string_view pattern) {
  if (pattern == "*") return std::nullopt;
  return std::string(pattern);
}

bool ParseScanOr(CommandContext& context, ScanRequest* request) {
  std::span<const std::string_view> args = context.args;
  if (!ParseCursor(args[1], &request->cursor)) {
    context.reply.Error("ERR invalid cursor");
    return false;
  }
  for (size_t i = 2; i < args.size(); i += 2) {
    const bool has_value = i + 1 < args.size();
    if (has_value && EqualsIgnoreCase(args[i], "count")) {
      int64_t count;
      if (!ParseIntegerOr(context, args[i + 1], &count)) return false;
      if (count < 1) {
        context.reply.Error(kSyntaxError);
        return false;
      }
      request->count = std::min(static_cast<uint64_t>(count), kMaxScanCount);
    } else if (has_value && EqualsIgnoreCase(args[i], "match")) {
      request->pattern = PatternOf(args[i + 1]);
    } else if (has_value && EqualsIgnoreCase(args[i], "type")) {
      request->by_type = true;
      request->type = TypeNamed(args[i + 1]);
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

// One KEYS on its way: collects encoded replies until the walk is at its end.
class KeysWalk : public std::enable_shared_from_this<KeysWalk> {
 public:
  KeysWalk(CommandContext& context, std::shared_ptr<PendingCommand> pending)
      : server_(context.server),
        database_(context.db().number()),
        pattern_(PatternOf(context.args[1])),
        limit_bytes_(MaxReplyBytes(context)),
        pending_(std::move(pending)) {}

  void Step(uint64_t cursor) {
    if (server_.loading()) return StepLater(cursor);
    server_.store().Scan(database_, cursor, kKeysStep,
                         [self = shared_from_this()](Store::ScanResult result) {
                           self->Collect(std::move(result));
                         });
  }

 private:
  void Collect(Store::ScanResult result) {
    if (!pending_->alive()) return;
    if (!result.status.ok()) return Fail("ERR " + result.status.message());
    for (const Store::ScanKey& key : result.keys) {
      if (pattern_ && !GlobMatch(*pattern_, key.key)) continue;
      bytes_ += key.key.size() + 16;
      keys_.push_back(key.key);
    }
    if (bytes_ > limit_bytes_) return Fail(kOutOfMemoryError);
    if (result.next != 0) return StepLater(result.next);
    pending_->Finish([keys = std::move(keys_)](CommandContext& context) {
      context.reply.ArrayHeader(static_cast<int64_t>(keys.size()));
      for (const std::string& key : keys) context.reply.Bulk(key);
    });
  }

  // Each step is an event of its own, so that a long walk holds up nobody.
  void StepLater(uint64_t cursor) {
    server_.loop().Post([self = shared_from_this(), cursor] { self->Step(cursor); });
  }

  void Fail(std::string_view error) {
    pending_->Finish(
        [text = std::string(error)](CommandContext& context) { context.reply.Error(text); });
  }

  Server& server_;
  const uint32_t database_;
  const std::optional<std::string> pattern_;
  const uint64_t limit_bytes_;
  const std::shared_ptr<PendingCommand> pending_;
  std::vector<std::string> keys_;
  uint64_t bytes_ = 0;
};

}  // namespace

void ScanCommand(CommandContext& context) {
  ScanRequest request;
  if (!ParseScanOr(context, &request)) return;
  auto pending = PendingCommand::Begin(context);
  auto answer = [pending, request](Store::ScanResult result) {
    pending->Finish([request, result = std::move(result)](CommandContext& context) {
      if (!result.status.ok()) return context.reply.Error("ERR " + result.status.message());
      int64_t wanted = 0;
      for (const Store::ScanKey& key : result.keys) wanted += request.Wants(key) ? 1 : 0;
      context.reply.ArrayHeader(2);
      context.reply.Bulk(std::to_string(result.next));
      context.reply.ArrayHeader(wanted);
      for (const Store::ScanKey& key : result.keys) {
        if (request.Wants(key)) context.reply.Bulk(key.key);
      }
    });
  };
  context.store.Scan(context.db().number(), request.cursor, request.count, std::move(answer));
  pending->Return();
}

void KeysCommand(CommandContext& context) {
  auto pending = PendingCommand::Begin(context);
  std::make_shared<KeysWalk>(context, pending)->Step(0);
  pending->Return();
}

void RandomKeyCommand(CommandContext& context) {
  auto pending = PendingCommand::Begin(context);
  context.store.RandomKey(context.db().number(), [pending](std::optional<std::string> key) {
    pending->Finish([key = std::move(key)](CommandContext& context) {
      key ? context.reply.Bulk(*key) : context.reply.Null();
    });
  });
  pending->Return();
}

void DbSizeCommand(CommandContext& context) {
  auto pending = PendingCommand::Begin(context);
  context.store.CountKeys(context.db().number(), [pending](uint64_t count) {
    pending->Finish(
        [count](CommandContext& context) { context.reply.Integer(static_cast<int64_t>(count)); });
  });
  pending->Return();
}

}  // namespace firn::server
