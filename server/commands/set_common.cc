#include "server/commands/set_common.h"

#include "server/client.h"
#include "server/server.h"

namespace firn::server {
namespace {

// What a member takes in a reply besides its bytes, at most.
constexpr uint64_t kMemberOverhead = 16;

}  // namespace

OpenSet::OpenSet(CommandContext& context, const HashedKey& key, Use use)
    : pages_(context.db(), key, ValueType::kSet,
             {.touch = !context.client.no_touch(), .count_hit = use == Use::kRead}),
      value_(&pages_, pages_.secret()) {
  if (use == Use::kRead && !exists() && !wrong_type()) context.Notify('m', "keymiss", key.bytes);
}

bool OpenSet::CheckType(CommandContext& context) const {
  if (!wrong_type()) return true;
  context.reply.Error(kWrongTypeError);
  return false;
}

SetLimits SetLimitsOf(const CommandContext& context) {
  const OptionValues& options = context.server.options().values();
  return {.max_intset_entries = static_cast<uint64_t>(options.set_max_intset_entries),
          .max_listpack_entries = static_cast<uint64_t>(options.set_max_listpack_entries),
          .max_listpack_value = static_cast<uint64_t>(options.set_max_listpack_value)};
}

bool CheckReplySize(CommandContext& context, const ReplySize& size) {
  if (size.bytes + size.members * kMemberOverhead <= MaxReplyBytes(context)) return true;
  context.reply.Error(kOutOfMemoryError);
  return false;
}

bool ReplyAllMembers(CommandContext& context, SetValue& value, bool* answered_all) {
  // First by the number alone, so that nothing is fetched that can't be answered.
  bool fits = CheckReplySize(context, {.members = value.count()});
  if (fits) {
    if (!value.WantAll()) return false;
    fits = CheckReplySize(context, {.members = value.count(), .bytes = value.TotalBytes()});
  }
  if (answered_all != nullptr) *answered_all = fits;
  if (!fits) return true;
  context.reply.SetHeader(static_cast<int64_t>(value.count()));
  value.ForEach([&](std::string_view member) { context.reply.Bulk(member); });
  return true;
}

void NoteSetChange(CommandContext& context, const HashedKey& key, std::string_view event,
                   bool gone) {
  context.Modified(key);
  context.Notify('s', event, key.bytes);
  if (gone) context.Notify('g', "del", key.bytes);
}

void StoreSet(CommandContext& context, const HashedKey& key, const SetResult& result,
              std::string_view event) {
  const bool existed = LookupForWrite(context, key).exists();
  if (result.members.empty()) {
    if (existed) {
      context.db().Delete(key);
      context.Modified(key);
      context.Notify('g', "del", key.bytes);
    }
    return context.reply.Integer(0);
  }
  context.store.BeginGroup();
  if (existed) context.db().Delete(key);
  {
    OpenSet set(context, key, OpenSet::Use::kWrite);
    set.value().Build(result.members, result.encoding);
  }
  context.store.EndGroup();
  NoteSetChange(context, key, event, false);
  context.reply.Integer(static_cast<int64_t>(result.members.size()));
}

}  // namespace firn::server
