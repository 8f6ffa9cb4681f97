// AclUser: who may run what. A user has passwords and selectors: each selector is a set of
// commands, of key patterns and of channel patterns, and a command may run if one selector allows
// all of it. Rules (acl_rules.h) build users; AclCheck (acl.h) asks them.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace firn::server {

// What a pattern allows with the keys that it matches, and what a command wants of a key.
enum AclPermission : uint8_t { kAclReadKeys = 1, kAclWriteKeys = 2, kAclAllOfKeys = 3 };

struct AclKeyPattern {
  std::string pattern;
  uint8_t permissions = kAclAllOfKeys;  // of AclPermission
  bool operator==(const AclKeyPattern&) const = default;
};

struct AclSelector {
  bool all_keys = false;
  bool all_channels = false;
  bool all_commands = false;
  // Began with +@all: what it doesn't exclude is allowed, also of later versions.
  bool future_commands = false;
  std::vector<bool> commands;  // by Command::index; allowed
  // Commands that are allowed with one of these first arguments only, by Command::index.
  std::map<uint32_t, std::vector<std::string>> first_arguments;
  std::vector<AclKeyPattern> keys;
  std::vector<std::string> channels;
  // The rules on commands behind the leading +@all or -@all, such as "+get", in order.
  std::vector<std::string> command_rules;

  bool allows_everything() const { return all_keys && all_channels && all_commands; }
  // `permissions`: of AclPermission, all of them needed by one pattern.
  bool AllowsKey(std::string_view key, uint8_t permissions) const;
  bool AllowsEveryKey(uint8_t permissions) const;
  // A pattern that is subscribed to must be among the patterns literally.
  enum class Channel : uint8_t { kLiteral, kPattern };
  bool AllowsChannel(std::string_view channel, Channel kind) const;
  bool operator==(const AclSelector&) const = default;
};

struct AclUser {
  std::string name;
  bool enabled = false;
  bool no_password = false;
  bool skip_sanitize = false;          // of payloads that it RESTOREs
  std::vector<std::string> passwords;  // SHA-256 in lower case hex
  std::vector<AclSelector> selectors;  // the first is the root: rules outside parentheses

  // May do whatever there is: nothing need be checked.
  bool allows_everything() const;
  bool AllowsChannel(std::string_view channel, AclSelector::Channel kind) const;
  // Whether one of the passwords is this one. Takes as long wherever a difference is.
  bool HasPassword(std::string_view password) const;
};

// Channels need no more than one selector that allows them: as a revocation asks.
std::vector<std::string> AllChannelPatterns(const AclUser& user);

// SHA-256, as 64 digits of lower case hex.
std::string HashPassword(std::string_view password);

}  // namespace firn::server
