// Acl: the server's users, and the one question whether a user may run a command.
//
//   if (client.restricted()) [[unlikely]] {
//     AclResult result = AclCheck(*client.user(), command, args);
//     if (!result.ok()) return reply.Error(server.acl().Deny(client, command, args, result, ...));
//   }
//
// A client that isn't restricted() may do everything: nothing else need be asked.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "server/acl/acl_log.h"
#include "server/acl/acl_rules.h"
#include "server/acl/acl_user.h"
#include "server/command.h"

namespace firn::server {

struct AclResult {
  AclDenial denial = AclDenial::kNone;
  size_t argument = 0;  // kKey, kChannel: the position of what is refused
  bool ok() const { return denial == AclDenial::kNone; }
};

// Whether the user may run `command` (the subcommand's row where there is one) with these arguments
// (args[0] is the command's name): the command, all its keys, all its channels.
AclResult AclCheck(const AclUser& user, const Command& command,
                   std::span<const std::string_view> args);
// The same, and moreover a selector that allows it must let the command read (or write) every key
// there is: for keys that the arguments don't name. `permissions`: of AclPermission.
bool AclCheckWithEveryKey(const AclUser& user, const Command& command,
                          std::span<const std::string_view> args, uint8_t permissions);
// As ACL DRYRUN words it, and, not `verbose`, as NOPERM errors do (without the code).
enum class AclDetail : uint8_t { kBrief, kVerbose };
std::string AclDenialText(const AclUser& user, const std::string& command_name,
                          std::span<const std::string_view> args, const AclResult& result,
                          AclDetail detail);

class Acl {
 public:
  explicit Acl(Server* server);

  // The users of the configuration, or of the ACL file. The error is what to print.
  Status LoadAtStart();

  const std::shared_ptr<AclUser>& default_user() const { return default_user_; }
  // The default user asks for no password, and is enabled: everybody may come in.
  bool is_open() const { return default_user_->no_password && default_user_->enabled; }
  // Null if there is none.
  std::shared_ptr<AclUser> Find(std::string_view name) const;
  // By name.
  const std::map<std::string, std::shared_ptr<AclUser>, std::less<>>& users() const {
    return users_;
  }

  // Makes the client this user if the password is right; else notes the failure in the log.
  struct Credentials {
    std::string_view user;
    std::string_view password;
  };
  bool Authenticate(Client* client, const Credentials& credentials);
  // A command that is refused: notes it in the log, and gives the error reply "NOPERM ...".
  std::string Deny(Client* client, const Command& command, std::span<const std::string_view> args,
                   const AclResult& result, AclContext context);

  // ACL SETUSER: changes the user, or makes it. All of the rules, or none with the error's text.
  Status SetUser(std::string_view name, std::span<const std::string> rules);
  // Closes its clients; `current` after its reply. False if there is no such user. REQUIRES: not
  // the default one.
  bool DeleteUser(std::string_view name, Client* current);
  // requirepass: the only password of the default user; empty means that it needs none.
  void SetDefaultPassword(const std::string& password);

  // The ACL file. Errors are the texts for the client.
  Status LoadFile(Client* current);
  Status SaveFile();
  // "user NAME RULES", by name: as ACL LIST and configuration files have them.
  std::vector<std::string> Lines() const;

  AclLog& log() { return log_; }
  // New users, and all as the table and the options are now.
  AclRules rules() const;

 private:
  Status LoadConfigured();
  Result<std::map<std::string, std::shared_ptr<AclUser>, std::less<>>> ParseFile(
      std::string_view text) const;
  std::string ParseFileLine(
      std::string_view line, const std::string& place,
      std::map<std::string, std::shared_ptr<AclUser>, std::less<>>* users) const;
  void Disconnect(const AclUser& user, Client* current);
  // Closes clients whose subscriptions the changed user isn't allowed any more.
  void KillUnlawfulSubscribers(const AclUser& before, const AclUser& after);
  // Its rights have changed: its clients' restricted() follows.
  void Refresh();

  Server& server_;
  std::map<std::string, std::shared_ptr<AclUser>, std::less<>> users_;
  std::shared_ptr<AclUser> default_user_;
  AclLog log_;
};

}  // namespace firn::server
