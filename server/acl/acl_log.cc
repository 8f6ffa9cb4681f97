#include "server/acl/acl_log.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace firn::server {
namespace {

constexpr int64_t kGroupMillis = 60'000;
// So many of the newest entries are looked at for the same event.
constexpr size_t kGroupSearch = 10;
// Keys and channels may be long; one entry need not hold them whole.
constexpr size_t kMaxObjectBytes = 4096;

}  // namespace

std::string_view AclDenialName(AclDenial denial) {
  switch (denial) {
    case AclDenial::kNone:
      break;
    case AclDenial::kCommand:
      return "command";
    case AclDenial::kKey:
      return "key";
    case AclDenial::kAuth:
      return "auth";
    case AclDenial::kChannel:
      return "channel";
  }
  return "unknown";
}

std::string_view AclContextName(AclContext context) {
  switch (context) {
    case AclContext::kTopLevel:
      return "toplevel";
    case AclContext::kMulti:
      return "multi";
    case AclContext::kLua:
      return "lua";
  }
  return "unknown";
}

void AclLog::Count(AclDenial reason) {
  counters_.auth += reason == AclDenial::kAuth;
  counters_.command += reason == AclDenial::kCommand;
  counters_.key += reason == AclDenial::kKey;
  counters_.channel += reason == AclDenial::kChannel;
}

void AclLog::Add(Entry entry, int64_t now_ms, uint64_t max_entries) {
  Count(entry.reason);
  if (entry.object.size() > kMaxObjectBytes) entry.object.resize(kMaxObjectBytes);
  if (entry.user.size() > kMaxObjectBytes) entry.user.resize(kMaxObjectBytes);
  const size_t searched = std::min(kGroupSearch, entries_.size());
  const auto end = entries_.begin() + static_cast<std::ptrdiff_t>(searched);
  const auto same = std::find_if(entries_.begin(), end, [&](const Entry& each) {
    return each.reason == entry.reason && each.context == entry.context &&
           std::abs(now_ms - each.updated_ms) <= kGroupMillis && each.object == entry.object &&
           each.user == entry.user;
  });
  if (same != end) {
    Entry again = std::move(*same);
    entries_.erase(same);
    again.client = std::move(entry.client);
    again.updated_ms = now_ms;
    ++again.count;
    entries_.push_front(std::move(again));
    return;
  }
  entry.id = next_id_++;
  entry.created_ms = entry.updated_ms = now_ms;
  entries_.push_front(std::move(entry));
  while (entries_.size() > max_entries) entries_.pop_back();
}

}  // namespace firn::server
