#include "server/acl/acl.h"

#include <algorithm>
#include <utility>

#include "server/client.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr std::string_view kDefaultName = "default";

bool MayKeepSubscriptions(const Subscriptions& subscriptions, const AclUser& user) {
  for (TopicKind kind : {TopicKind::kChannel, TopicKind::kPattern, TopicKind::kShardChannel}) {
    const auto as = kind == TopicKind::kPattern ? AclSelector::Channel::kPattern
                                                : AclSelector::Channel::kLiteral;
    for (const std::string& name : subscriptions.Names(kind)) {
      if (!user.AllowsChannel(name, as)) return false;
    }
  }
  return true;
}

}  // namespace

Acl::Acl(Server* server) : server_(*server) {
  default_user_ = std::make_shared<AclUser>(rules().DefaultUser());
  users_.emplace(kDefaultName, default_user_);
}

AclRules Acl::rules() const {
  return AclRules(server_.commands(), {.all_channels = server_.options()->acl_pubsub_all_channels});
}

std::shared_ptr<AclUser> Acl::Find(std::string_view name) const {
  auto found = users_.find(name);
  return found == users_.end() ? nullptr : found->second;
}

// --- questions

bool Acl::Authenticate(Client* client, const Credentials& credentials) {
  std::shared_ptr<AclUser> user = Find(credentials.user);
  if (user != nullptr && user->enabled &&
      (user->no_password || user->HasPassword(credentials.password))) {
    client->LogIn(std::move(user));
    return true;
  }
  const auto args = server_.dispatcher().current_args();
  log_.Add({.reason = AclDenial::kAuth,
            .context = client->transaction().open ? AclContext::kMulti : AclContext::kTopLevel,
            .object = args.empty() ? "" : std::string(args[0]),
            .user = std::string(credentials.user),
            .client = client->Describe()},
           server_.loop().WallMillis(), server_.options()->acllog_max_len);
  return false;
}

std::string Acl::Deny(Client* client, const Command& command,
                      std::span<const std::string_view> args, const AclResult& result,
                      AclContext context) {
  const std::string& name = server_.FullNameOf(command);
  const AclUser& user = *client->user();
  log_.Add(
      {.reason = result.denial,
       .context = context,
       .object = result.denial == AclDenial::kCommand ? name : std::string(args[result.argument]),
       .user = user.name,
       .client = client->Describe()},
      server_.loop().WallMillis(), server_.options()->acllog_max_len);
  return "NOPERM " + AclDenialText(user, name, args, result, AclDetail::kBrief);
}

// --- changes

Status Acl::SetUser(std::string_view name, std::span<const std::string> rules_of_user) {
  std::shared_ptr<AclUser> user = Find(name);
  AclUser changed = user == nullptr ? rules().NewUser(name) : *user;
  FIRN_RETURN_IF_ERROR(rules().ApplyAll(&changed, rules_of_user));
  if (user == nullptr) {
    users_.emplace(name, std::make_shared<AclUser>(std::move(changed)));
    return Status::Ok();
  }
  KillUnlawfulSubscribers(*user, changed);
  *user = std::move(changed);
  Refresh();
  return Status::Ok();
}

bool Acl::DeleteUser(std::string_view name, Client* current) {
  auto found = users_.find(name);
  if (found == users_.end()) return false;
  const std::shared_ptr<AclUser> user = found->second;
  users_.erase(found);
  Disconnect(*user, current);
  return true;
}

void Acl::Disconnect(const AclUser& user, Client* current) {
  for (const auto& [id, client] : server_.clients()) {
    if (client->user().get() != &user) continue;
    // It must not go on with its pipeline as a user that is no more.
    client->LogOut();
    if (client.get() == current) {
      client->CloseAfterReply();
    } else {
      client->CloseSoon();
    }
  }
}

void Acl::SetDefaultPassword(const std::string& password) {
  default_user_->passwords.clear();
  default_user_->no_password = password.empty();
  if (!password.empty()) default_user_->passwords.push_back(HashPassword(password));
  Refresh();
}

void Acl::Refresh() {
  for (const auto& [id, client] : server_.clients()) client->RefreshRights();
}

void Acl::KillUnlawfulSubscribers(const AclUser& before, const AclUser& after) {
  auto allows_all = [](const AclSelector& selector) { return selector.all_channels; };
  if (std::ranges::any_of(after.selectors, allows_all)) return;
  // Who only gets more channels keeps what he listens to.
  const std::vector<std::string> allowed = AllChannelPatterns(after);
  const bool none_lost =
      std::ranges::none_of(before.selectors, allows_all) &&
      std::ranges::all_of(AllChannelPatterns(before), [&](const std::string& pattern) {
        return std::ranges::find(allowed, pattern) != allowed.end();
      });
  if (none_lost) return;
  for (const auto& [id, client] : server_.clients()) {
    if (client->user()->name != before.name) continue;
    if (!MayKeepSubscriptions(client->subscriptions(), after)) client->CloseSoon();
  }
}

std::vector<std::string> Acl::Lines() const {
  std::vector<std::string> lines;
  for (const auto& [name, user] : users_)
    lines.push_back("user " + name + " " + DescribeUser(*user));
  return lines;
}

}  // namespace firn::server
