// Whether a user may run a command.

#include <algorithm>
#include <vector>

#include "server/acl/acl.h"
#include "server/commands/command_lookup.h"
#include "server/commands/common.h"

namespace firn::server {
namespace {

// Commands whose arguments name channels.
struct ChannelRow {
  std::string_view command;
  bool is_pattern = false;
  bool to_end = true;  // else the first argument alone
};
constexpr ChannelRow kChannelRows[] = {{.command = "publish", .to_end = false},
                                       {.command = "spublish", .to_end = false},
                                       {.command = "subscribe"},
                                       {.command = "ssubscribe"},
                                       {.command = "psubscribe", .is_pattern = true}};

const ChannelRow* FindChannelRow(const Command& command) {
  if ((command.flags & kPubsub) == 0) return nullptr;
  const auto* found = std::ranges::find(kChannelRows, command.name, &ChannelRow::command);
  return found == std::end(kChannelRows) ? nullptr : found;
}

uint8_t PermissionsFor(uint64_t key_flags) {
  uint8_t permissions = 0;
  if ((key_flags & kKeyAccess) != 0) permissions |= kAclReadKeys;
  if ((key_flags & (kKeyInsert | kKeyDelete | kKeyUpdate)) != 0) permissions |= kAclWriteKeys;
  return permissions;
}

// One command to check, with what several selectors ask of it found once.
class Question {
 public:
  Question(const Command& command, std::span<const std::string_view> args)
      : command_(command), args_(args) {}

  AclResult Ask(const AclSelector& selector) {
    if (!AllowsCommand(selector)) return {AclDenial::kCommand, 0};
    if (!selector.all_keys && HasKeys()) {
      for (const FoundKey& key : Keys()) {
        const uint64_t flags = KeyFlagsOfUse(command_, args_, *key.spec);
        if (!selector.AllowsKey(args_[key.argument], PermissionsFor(flags))) {
          return {AclDenial::kKey, key.argument};
        }
      }
    }
    return AskChannels(selector);
  }

 private:
  bool AllowsCommand(const AclSelector& selector) const {
    if (selector.all_commands || (command_.flags & kNoAuth) != 0) return true;
    if (command_.index < selector.commands.size() && selector.commands[command_.index]) return true;
    const auto allowed = selector.first_arguments.find(command_.index);
    if (allowed == selector.first_arguments.end() || args_.size() < 2) return false;
    return std::ranges::any_of(allowed->second, [this](const std::string& argument) {
      return EqualsIgnoreCase(args_[1], argument);
    });
  }

  bool HasKeys() const { return !command_.key_specs.empty() || command_.more_keys != nullptr; }

  const std::vector<FoundKey>& Keys() {
    if (!found_) {
      found_ = true;
      // Arguments that don't fit name no keys: the command will say what is wrong.
      if (!FindKeys(command_, args_, &keys_)) keys_.clear();
      std::erase_if(keys_, [](const FoundKey& key) { return (key.spec->flags & kKeyNotKey) != 0; });
    }
    return keys_;
  }

  AclResult AskChannels(const AclSelector& selector) const {
    if (selector.all_channels) return {};
    const ChannelRow* row = FindChannelRow(command_);
    if (row == nullptr) return {};
    const auto kind =
        row->is_pattern ? AclSelector::Channel::kPattern : AclSelector::Channel::kLiteral;
    const size_t end = row->to_end ? args_.size() : std::min<size_t>(2, args_.size());
    for (size_t i = 1; i < end; ++i) {
      if (!selector.AllowsChannel(args_[i], kind)) return {AclDenial::kChannel, i};
    }
    return {};
  }

  const Command& command_;
  const std::span<const std::string_view> args_;
  bool found_ = false;
  std::vector<FoundKey> keys_;
};

}  // namespace

AclResult AclCheck(const AclUser& user, const Command& command,
                   std::span<const std::string_view> args) {
  Question question(command, args);
  // Of several reasons the last key or channel is told, the command only if no selector allows it.
  AclResult worst{AclDenial::kCommand, 0};
  for (const AclSelector& selector : user.selectors) {
    const AclResult result = question.Ask(selector);
    if (result.ok()) return result;
    if (result.denial > worst.denial ||
        (result.denial == worst.denial && result.argument > worst.argument)) {
      worst = result;
    }
  }
  return worst;
}

bool AclCheckWithEveryKey(const AclUser& user, const Command& command,
                          std::span<const std::string_view> args, uint8_t permissions) {
  Question question(command, args);
  return std::ranges::any_of(user.selectors, [&](const AclSelector& selector) {
    return question.Ask(selector).ok() && selector.AllowsEveryKey(permissions);
  });
}

std::string AclDenialText(const AclUser& user, const std::string& command_name,
                          std::span<const std::string_view> args, const AclResult& result,
                          AclDetail detail) {
  if (result.denial == AclDenial::kCommand) {
    return "User " + user.name + " has no permissions to run the '" + command_name + "' command";
  }
  const std::string kind(AclDenialName(result.denial));
  if (detail == AclDetail::kBrief) return "No permissions to access a " + kind;
  return "User " + user.name + " has no permissions to access the '" +
         std::string(args[result.argument]) + "' " + kind;
}

}  // namespace firn::server
