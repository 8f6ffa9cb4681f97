// Commands on keys of any type: existence, deletion, renaming, copying, OBJECT.
#include <array>
#include <limits>
#include <memory>
#include <string>

#include "engine/keyspace/access_clock.h"
#include "server/commands/common.h"
#include "server/commands/keys.h"
#include "server/commands/object_encoding.h"
#include "tiering/value_copy.h"

namespace firn::server {
namespace {

void Delete(CommandContext& context) {
  int64_t deleted = 0;
  const bool several = context.keys.size() > 1;
  if (several) context.store.BeginGroup();
  for (const KeyAccess& access : context.keys) {
    // What expired but is still there counts as gone.
    if (!context.db().Lookup(access.key, {.touch = false, .count_hit = false}).exists()) continue;
    context.db().Delete(access.key);
    ++deleted;
    context.Modified(access.key);
    context.Notify('g', "del", access.key.bytes);
  }
  if (several) context.store.EndGroup();
  context.reply.Integer(deleted);
}

enum class IfTargetExists : uint8_t { kReplace, kRefuse };

void Rename(CommandContext& context, IfTargetExists policy) {
  const bool refuse = policy == IfTargetExists::kRefuse;
  const HashedKey& from = context.key(0);
  const HashedKey& to = context.key(1);
  if (!LookupForWrite(context, from).exists()) return context.reply.Error(kNoSuchKeyError);
  const bool same = from.bytes == to.bytes;
  if (same || (refuse && LookupForWrite(context, to).exists())) {
    return refuse ? context.reply.Integer(0) : context.reply.Ok();
  }
  context.store.BeginGroup();
  context.db().Rename(from, context.db(), to);
  context.store.EndGroup();
  context.Modified(from);
  context.Modified(to);
  context.Notify('g', "rename_from", from.bytes);
  context.Notify('g', "rename_to", to.bytes);
  refuse ? context.reply.Integer(1) : context.reply.Ok();
}

constexpr Database::LookupOptions kUnseen = {.touch = false, .count_hit = false};

// COPY, or MOVE. The keys are among the command's arguments.
struct CopyRequest {
  HashedKey from;
  HashedKey to;
  uint32_t target = 0;  // database
  bool replace = false;
  std::shared_ptr<ValueCopy> copy;  // of a big value, once it is under way
};
using CopyStep = void (*)(CommandContext& context, CopyRequest request);

// Whether the value can be copied now: it isn't big, or has been copied already. If not, the
// command has answered with an error, or ends here: it is run again when there is more, or by
// `step`.
bool HasCopyOr(CommandContext& context, CopyRequest* request, CopyStep step) {
  Database& target = context.store.database(request->target);
  if (RunsAtomically(context) || context.db().PrepareCopy(request->from, target, &request->copy)) {
    return request->copy != nullptr || context.db().WantAllPages(request->from);
  }
  if (const Status& status = request->copy->status(); !status.ok()) {
    context.reply.Error(status.code() == StatusCode::kNoMemory ? std::string(kOutOfMemoryError)
                                                               : "ERR " + status.message());
    return false;
  }
  SuspendedCommand suspended = context.Suspend();
  request->copy->Await([suspended, step, request = *request] {
    suspended.Resume([step, request](CommandContext& context) {
      // Meanwhile the keys may have gone to disk.
      RunWithKeys(context,
                  {{context.db().number(), request.from, Access::kUpdate},
                   {request.target, request.to, Access::kReplace}},
                  [step, request](CommandContext& context) { step(context, request); });
    });
  });
  return false;
}

bool ParseCopyOr(CommandContext& context, CopyRequest* request) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 3; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "replace")) {
      request->replace = true;
    } else if (EqualsIgnoreCase(args[i], "db") && i + 1 < args.size()) {
      if (!ParseDatabaseOr(context, args[++i], &request->target)) return false;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

void Copy(CommandContext& context, CopyRequest request) {
  Database& target = context.store.database(request.target);
  // It is looked up again once the copy is there, and counts once.
  const bool exists = request.copy == nullptr ? LookupForRead(context, request.from).exists()
                                              : context.db().Lookup(request.from, kUnseen).exists();
  if (!exists || (!request.replace && target.Lookup(request.to, {.count_hit = false}).exists())) {
    return context.reply.Integer(0);
  }
  if (!HasCopyOr(context, &request, Copy)) return;
  context.store.BeginGroup();
  context.db().Copy(request.from, target, request.to, request.copy.get());
  context.store.EndGroup();
  context.Modified(request.target, request.to.bytes);
  context.NotifyIn(request.target, 'g', "copy_to", request.to.bytes);
  context.reply.Integer(1);
}

void Move(CommandContext& context, CopyRequest request) {
  Database& target = context.store.database(request.target);
  if (!LookupForWrite(context, request.from).exists() ||
      target.Lookup(request.to, {.count_hit = false}).exists()) {
    return context.reply.Integer(0);
  }
  if (!HasCopyOr(context, &request, Move)) return;
  context.store.BeginGroup();
  context.db().Rename(request.from, target, request.to, request.copy.get());
  context.store.EndGroup();
  context.Modified(request.from);
  context.Modified(request.target, request.to.bytes);
  context.Notify('g', "move_from", request.from.bytes);
  context.NotifyIn(request.target, 'g', "move_to", request.to.bytes);
  context.reply.Integer(1);
}

std::string_view TypeName(ValueType type) {
  constexpr std::array<std::string_view, 7> kNames = {"none", "string", "list",  "set",
                                                      "zset", "hash",   "stream"};
  return kNames[static_cast<size_t>(type)];
}

// Answers null and returns false if the key is absent.
bool FindObjectOr(CommandContext& context) {
  if (context.db().Lookup(context.key(), {.touch = false}).exists()) return true;
  context.reply.Null();
  return false;
}

void ReplyEncoding(CommandContext& context) {
  if (!FindObjectOr(context)) return;
  context.reply.Bulk(EncodingName(context.db().Inspect(context.key())));
}

}  // namespace

void DelCommand(CommandContext& context) { Delete(context); }
void UnlinkCommand(CommandContext& context) { Delete(context); }

void ExistsCommand(CommandContext& context) {
  int64_t count = 0;
  for (const KeyAccess& access : context.keys) {
    if (LookupUntouched(context, access.key).exists()) ++count;
  }
  context.reply.Integer(count);
}

void TouchCommand(CommandContext& context) {
  int64_t count = 0;
  for (const KeyAccess& access : context.keys) {
    // Touches even for a client that asked not to.
    if (context.db().Lookup(access.key).exists()) ++count;
  }
  context.reply.Integer(count);
}

void TypeCommand(CommandContext& context) {
  context.reply.SimpleString(TypeName(LookupUntouched(context, context.key()).type));
}

void RenameCommand(CommandContext& context) { Rename(context, IfTargetExists::kReplace); }
void RenameNxCommand(CommandContext& context) { Rename(context, IfTargetExists::kRefuse); }

void CopyCommand(CommandContext& context) {
  CopyRequest request = {
      .from = context.key(0), .to = context.key(1), .target = context.db().number()};
  if (!ParseCopyOr(context, &request)) return;
  if (request.target == context.db().number()) {
    if (request.from.bytes == request.to.bytes) return context.reply.Error(kSameObjectError);
    return Copy(context, request);
  }
  RunWithKeys(context,
              {{context.db().number(), request.from, Access::kUpdate},
               {request.target, request.to, Access::kReplace}},
              [request](CommandContext& context) { Copy(context, request); });
}

void MoveCommand(CommandContext& context) {
  CopyRequest request = {.from = context.key(), .to = context.key()};
  if (!ParseDatabaseOr(context, context.args[2], &request.target)) return;
  if (request.target == context.db().number()) return context.reply.Error(kSameObjectError);
  RunWithKeys(context,
              {{context.db().number(), request.from, Access::kUpdate},
               {request.target, request.to, Access::kReplace}},
              [request](CommandContext& context) { Move(context, request); });
}

void ObjectEncodingCommand(CommandContext& context) {
  if (!FindObjectOr(context)) return;
  const Database::ObjectInfo info = context.db().Inspect(context.key());
  if (!IsCollection(info.type) || !info.root.empty()) return ReplyEncoding(context);
  // Only the root of a collection knows its encoding.
  RunWithKeys(context, {{context.db().number(), context.key(), Access::kRead}}, ReplyEncoding);
}

void ObjectRefCountCommand(CommandContext& context) {
  if (!FindObjectOr(context)) return;
  // Nothing is shared here. Where Redis shares small integers, its answer is expected.
  constexpr int64_t kShared = std::numeric_limits<int32_t>::max();
  constexpr int64_t kSharedIntegers = 10'000;
  const Database::KeyInfo key = context.db().Lookup(context.key(), kUnseen);
  if (key.type != ValueType::kString || key.is_long) return context.reply.Integer(1);
  StringValue value = context.db().GetString(context.key());
  const bool small =
      value.is_integer() && value.integer() >= 0 && value.integer() < kSharedIntegers;
  context.reply.Integer(small && SharesIntegers(context) ? kShared : 1);
}

void ObjectFreqCommand(CommandContext& context) {
  if (!FindObjectOr(context)) return;
  if (!LfuSelected(context)) {
    return context.reply.Error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
        "that when switching between policies at runtime LRU and LFU data will take some time to "
        "adjust.");
  }
  context.reply.Integer(AccessFrequency(context, context.db().Inspect(context.key()).access));
}

void ObjectIdleTimeCommand(CommandContext& context) {
  if (!FindObjectOr(context)) return;
  if (LfuSelected(context)) {
    return context.reply.Error(
        "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when "
        "switching between policies at runtime LRU and LFU data will take some time to adjust.");
  }
  context.reply.Integer(IdleSeconds(context, context.db().Inspect(context.key()).access));
}

void ObjectHelpCommand(CommandContext& context) {
  constexpr HelpLine kLines[] = {
      {"ENCODING <key>", "Gives how the value of <key> is represented."},
      {"FREQ <key>", "Gives the logarithmic counter of accesses to <key>."},
      {"IDLETIME <key>", "Gives the seconds since the last access to <key>."},
      {"REFCOUNT <key>", "Gives the number of references to the value of <key>."}};
  ReplyHelp(context, "OBJECT", kLines);
}

}  // namespace firn::server
