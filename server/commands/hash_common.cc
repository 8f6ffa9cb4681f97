#include "server/commands/hash_common.h"

#include "server/client.h"
#include "server/server.h"

namespace firn::server {

OpenHash::OpenHash(CommandContext& context, Use use)
    : context_(context),
      pages_(context.db(), context.key(), ValueType::kHash,
             {.touch = !context.client.no_touch(), .count_hit = use == Use::kRead}),
      value_(&pages_, pages_.secret(), context.store.expiry_clock_ms()) {
  if (!ok()) {
    context.reply.Error(kWrongTypeError);
    return;
  }
  if (exists()) NoteDropped(value_.DropExpiredIfSmall());
  if (use == Use::kRead && !exists()) context.Notify('m', "keymiss", context.key().bytes);
}

bool OpenHash::DropExpired() {
  uint64_t dropped = 0;
  if (!value_.DropExpired(&dropped)) return false;
  NoteDropped(dropped);
  return true;
}

void OpenHash::NoteDropped(uint64_t dropped) {
  if (dropped > 0) Removed("hexpired");
}

bool OpenHash::Want(std::span<const std::string_view> names, size_t step) {
  if (value_.small()) return true;
  bool all = true;
  for (size_t i = 0; i < names.size(); i += step) all &= value_.Want(names[i]);
  return all;
}

void OpenHash::Changed(std::string_view event) {
  context_.Modified(context_.key());
  context_.Notify('h', event, context_.key().bytes);
}

void OpenHash::Removed(std::string_view event) {
  Changed(event);
  if (!exists()) context_.Notify('g', "del", context_.key().bytes);
}

HashLimits HashLimitsOf(const CommandContext& context) {
  const OptionValues& options = context.server.options().values();
  return {.max_listpack_entries = static_cast<uint64_t>(options.hash_max_listpack_entries),
          .max_listpack_value = static_cast<uint64_t>(options.hash_max_listpack_value)};
}

}  // namespace firn::server
