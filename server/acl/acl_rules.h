// The rules of ACL SETUSER, of `user` lines and of ACL files: "on", ">secret", "~cache:*",
// "+@read", "(%R~log:* +get)" ... (https://redis.io/docs/management/security/acl)
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "server/acl/acl_user.h"
#include "server/command.h"

namespace firn::server {

// Why a rule can't be applied.
enum class AclRuleError : uint8_t {
  kNone,
  kSyntax,
  kUnknownCommand,  // or category
  kKeysAreAll,      // a pattern behind ~*
  kChannelsAreAll,  // a pattern behind &*
  kNoSuchPassword,
  kBadHash,
  kFirstArgOfSubcommand,
};
// As error replies have it.
std::string_view AclRuleErrorText(AclRuleError error);

// Applies rules. `table` names the commands; new selectors may use all channels if the option
// acl-pubsub-default says so. Lives no longer than the table.
class AclRules {
 public:
  struct Defaults {
    bool all_channels = false;
  };
  AclRules(const CommandTable& table, Defaults defaults) : table_(table), defaults_(defaults) {}

  // As ACL SETUSER makes it out of nothing: off, without passwords and rights.
  AclUser NewUser(std::string_view name) const;
  // As every server begins: on, without a password, allowed everything.
  AclUser DefaultUser() const;
  // One rule. After a failure the user may be changed in part: apply to a copy.
  AclRuleError Apply(AclUser* user, std::string_view rule) const;
  // Several. The error is that of ACL SETUSER, without "ERR"; the user is then unchanged.
  Status ApplyAll(AclUser* user, std::span<const std::string> rules) const;

 private:
  AclSelector NewSelector() const;
  AclRuleError ApplyToSelector(AclSelector* selector, std::string_view rule) const;
  AclRuleError AllowCommand(AclSelector* selector, std::string_view name) const;
  AclRuleError DenyCommand(AclSelector* selector, std::string_view name) const;
  AclRuleError AllowFirstArgument(AclSelector* selector, std::string_view rule) const;
  AclRuleError SetCategory(AclSelector* selector, std::string_view rule) const;
  AclRuleError AddSelector(AclUser* user, std::string_view rule) const;
  void SetAll(AclSelector* selector, bool allow) const;
  void SetCommand(AclSelector* selector, const Command& command, bool allow) const;

  const CommandTable& table_;
  const Defaults defaults_;
};

// Joins the words of selectors that were cut at their spaces: "(+get", "~a)" becomes "(+get ~a)".
// kInvalid with the text of ACL SETUSER if a parenthesis isn't closed.
Result<std::vector<std::string>> MergeSelectorWords(std::span<const std::string> words);

// Users and patterns are written in lines of words without quotes.
bool HasSpaceOrNul(std::string_view text);

// --- the way back

// "+@all -flushall"
std::string DescribeCommands(const AclSelector& selector);
// "~a %R~b"
std::string DescribeKeys(const AclSelector& selector);
// "&a &b"
std::string DescribeChannels(const AclSelector& selector);
// All rules of the user, which applied to a new one make it again.
std::string DescribeUser(const AclUser& user);

// --- categories

struct AclCategoryName {
  std::string_view name;
  uint64_t category;
};
std::span<const AclCategoryName> AclCategoryNames();
// 0 if there is none of this name, whatever its case.
uint64_t AclCategoryByName(std::string_view name);

}  // namespace firn::server
