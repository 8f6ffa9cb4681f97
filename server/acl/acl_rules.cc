#include "server/acl/acl_rules.h"

#include <algorithm>
#include <cctype>

#include "server/commands/command_lookup.h"
#include "server/options/config_syntax.h"

namespace firn::server {
namespace {

constexpr size_t kHashDigits = 64;

constexpr AclCategoryName kCategories[] = {{"keyspace", kAclKeyspace},
                                           {"read", kAclRead},
                                           {"write", kAclWrite},
                                           {"set", kAclSet},
                                           {"sortedset", kAclSortedset},
                                           {"list", kAclList},
                                           {"hash", kAclHash},
                                           {"string", kAclString},
                                           {"bitmap", kAclBitmap},
                                           {"hyperloglog", kAclHyperloglog},
                                           {"geo", kAclGeo},
                                           {"stream", kAclStream},
                                           {"pubsub", kAclPubsub},
                                           {"admin", kAclAdmin},
                                           {"fast", kAclFast},
                                           {"slow", kAclSlow},
                                           {"blocking", kAclBlocking},
                                           {"dangerous", kAclDangerous},
                                           {"connection", kAclConnection},
                                           {"transaction", kAclTransaction},
                                           {"scripting", kAclScripting}};

bool IsHash(std::string_view text) {
  return text.size() == kHashDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// Rules on the same command, or on its subcommands, that the new one makes void.
void RemoveRulesOf(AclSelector* selector, std::string_view name) {
  std::erase_if(selector->command_rules, [name](std::string_view rule) {
    rule.remove_prefix(1);
    return rule == name ||
           (rule.size() > name.size() && rule.starts_with(name) && rule[name.size()] == '|');
  });
}

void NoteCommandRule(AclSelector* selector, char sign, std::string_view name) {
  const std::string lower = LowerCase(name);
  RemoveRulesOf(selector, lower);
  selector->command_rules.push_back(sign + lower);
}

AclRuleError AddKeyPattern(AclSelector* selector, std::string_view rule) {
  if (selector->all_keys) return AclRuleError::kKeysAreAll;
  const size_t tilde = rule.find('~');
  if (tilde == std::string_view::npos) return AclRuleError::kSyntax;
  uint8_t permissions = rule[0] == '~' ? kAclAllOfKeys : 0;
  for (char c : rule.substr(1, tilde == 0 ? 0 : tilde - 1)) {
    const int upper = std::toupper(static_cast<unsigned char>(c));
    const uint8_t one = upper == 'R' ? kAclReadKeys : upper == 'W' ? kAclWriteKeys : 0;
    if (one == 0 || (permissions & one) != 0) return AclRuleError::kSyntax;
    permissions |= one;
  }
  const std::string_view pattern = rule.substr(tilde + 1);
  if (permissions == 0 || HasSpaceOrNul(pattern)) return AclRuleError::kSyntax;
  auto same = std::ranges::find(selector->keys, pattern, &AclKeyPattern::pattern);
  if (same == selector->keys.end()) {
    selector->keys.push_back({std::string(pattern), permissions});
  } else {
    same->permissions |= permissions;
  }
  return AclRuleError::kNone;
}

AclRuleError AddChannelPattern(AclSelector* selector, std::string_view pattern) {
  if (selector->all_channels) return AclRuleError::kChannelsAreAll;
  if (HasSpaceOrNul(pattern)) return AclRuleError::kSyntax;
  if (std::ranges::find(selector->channels, pattern) == selector->channels.end()) {
    selector->channels.emplace_back(pattern);
  }
  return AclRuleError::kNone;
}

// ">secret", "#hash" add a password; "<secret", "!hash" take it away.
AclRuleError ChangePassword(AclUser* user, std::string_view rule) {
  const bool is_hash = rule[0] == '#' || rule[0] == '!';
  const bool adds = rule[0] == '>' || rule[0] == '#';
  const std::string_view text = rule.substr(1);
  if (is_hash && !IsHash(text)) return AclRuleError::kBadHash;
  const std::string hash = is_hash ? std::string(text) : HashPassword(text);
  const auto found = std::ranges::find(user->passwords, hash);
  if (!adds) {
    if (found == user->passwords.end()) return AclRuleError::kNoSuchPassword;
    user->passwords.erase(found);
    return AclRuleError::kNone;
  }
  if (found == user->passwords.end()) user->passwords.push_back(hash);
  user->no_password = false;
  return AclRuleError::kNone;
}

// Rules that are one word. False if it is none.
bool ApplyFlag(AclUser* user, std::string_view rule) {
  auto is = [rule](std::string_view word) { return EqualIgnoringCase(rule, word); };
  if (is("on") || is("off")) {
    user->enabled = is("on");
  } else if (is("skip-sanitize-payload") || is("sanitize-payload")) {
    user->skip_sanitize = is("skip-sanitize-payload");
  } else if (is("nopass") || is("resetpass")) {
    user->no_password = is("nopass");
    user->passwords.clear();
  } else if (is("clearselectors")) {
    user->selectors.resize(1);
  } else {
    return false;
  }
  return true;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string DescribeSelector(const AclSelector& selector) {
  std::string text = DescribeKeys(selector);
  if (!text.empty()) text += ' ';
  if (!selector.all_channels) text += "resetchannels ";
  const std::string channels = DescribeChannels(selector);
  text += channels.empty() ? "" : channels + " ";
  return text + DescribeCommands(selector);
}

}  // namespace

std::string_view AclRuleErrorText(AclRuleError error) {
  switch (error) {
    case AclRuleError::kNone:
      return "";
    case AclRuleError::kSyntax:
      return "Syntax error";
    case AclRuleError::kUnknownCommand:
      return "Unknown command or category name in ACL";
    case AclRuleError::kKeysAreAll:
      return "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does "
             "not have any effect. Try 'resetkeys' to start with an empty list of patterns";
    case AclRuleError::kChannelsAreAll:
      return "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and "
             "does not have any effect. Try 'resetchannels' to start with an empty list of "
             "channels";
    case AclRuleError::kNoSuchPassword:
      return "The password you are trying to remove from the user does not exist";
    case AclRuleError::kBadHash:
      return "The password hash must be exactly 64 characters and contain only lowercase "
             "hexadecimal characters";
    case AclRuleError::kFirstArgOfSubcommand:
      return "Allowing first-arg of a subcommand is not supported";
  }
  return "";
}

// --- users

AclSelector AclRules::NewSelector() const {
  AclSelector selector;
  selector.all_channels = defaults_.all_channels;
  selector.commands.resize(table_.count());
  return selector;
}

AclUser AclRules::NewUser(std::string_view name) const {
  AclUser user;
  user.name = name;
  user.selectors.push_back(NewSelector());
  return user;
}

AclUser AclRules::DefaultUser() const {
  AclUser user = NewUser("default");
  user.enabled = user.no_password = true;
  AclSelector& root = user.selectors[0];
  root.all_keys = root.all_channels = true;
  SetAll(&root, true);
  return user;
}

AclRuleError AclRules::Apply(AclUser* user, std::string_view rule) const {
  if (rule.empty() || ApplyFlag(user, rule)) return AclRuleError::kNone;
  if (rule[0] == '>' || rule[0] == '#' || rule[0] == '<' || rule[0] == '!') {
    return ChangePassword(user, rule);
  }
  if (rule[0] == '(' && rule.back() == ')') return AddSelector(user, rule);
  if (EqualIgnoringCase(rule, "reset")) {
    *user = NewUser(user->name);
    return AclRuleError::kNone;
  }
  return ApplyToSelector(&user->selectors[0], rule);
}

Status AclRules::ApplyAll(AclUser* user, std::span<const std::string> rules) const {
  auto merged = MergeSelectorWords(rules);
  if (!merged) return merged.error();
  AclUser changed = *user;
  for (const std::string& rule : *merged) {
    const AclRuleError error = Apply(&changed, rule);
    if (error == AclRuleError::kNone) continue;
    return Status::Invalid("Error in ACL SETUSER modifier '" + std::string(rule.c_str()) +
                           "': " + std::string(AclRuleErrorText(error)));
  }
  *user = std::move(changed);
  return Status::Ok();
}

AclRuleError AclRules::AddSelector(AclUser* user, std::string_view rule) const {
  const auto words = SplitWords(rule.substr(1, rule.size() - 2));
  if (!words) return AclRuleError::kSyntax;
  AclSelector selector = NewSelector();
  for (const std::string& word : *words) {
    const AclRuleError error = ApplyToSelector(&selector, word);
    if (error != AclRuleError::kNone) return error;
  }
  user->selectors.push_back(std::move(selector));
  return AclRuleError::kNone;
}

// --- selectors

AclRuleError AclRules::ApplyToSelector(AclSelector* selector, std::string_view rule) const {
  auto is = [rule](std::string_view word) { return EqualIgnoringCase(rule, word); };
  if (rule.empty()) return AclRuleError::kSyntax;
  if (is("allkeys") || is("~*") || is("resetkeys")) {
    selector->all_keys = !is("resetkeys");
    selector->keys.clear();
  } else if (is("allchannels") || is("&*") || is("resetchannels")) {
    selector->all_channels = !is("resetchannels");
    selector->channels.clear();
  } else if (is("allcommands") || is("+@all")) {
    SetAll(selector, true);
  } else if (is("nocommands") || is("-@all")) {
    SetAll(selector, false);
  } else if (rule[0] == '~' || rule[0] == '%') {
    return AddKeyPattern(selector, rule);
  } else if (rule[0] == '&') {
    return AddChannelPattern(selector, rule.substr(1));
  } else if (rule[0] != '+' && rule[0] != '-') {
    return AclRuleError::kSyntax;
  } else if (rule.size() > 1 && rule[1] == '@') {
    return SetCategory(selector, rule);
  } else {
    return rule[0] == '+' ? AllowCommand(selector, rule.substr(1))
                          : DenyCommand(selector, rule.substr(1));
  }
  return AclRuleError::kNone;
}

void AclRules::SetAll(AclSelector* selector, bool allow) const {
  selector->commands.assign(table_.count(), allow);
  selector->all_commands = selector->future_commands = allow;
  selector->command_rules.clear();
  selector->first_arguments.clear();
}

void AclRules::SetCommand(AclSelector* selector, const Command& command, bool allow) const {
  auto set = [&](const Command& each) {
    selector->commands[each.index] = allow;
    if (!allow) selector->all_commands = false;
  };
  set(command);
  selector->first_arguments.erase(command.index);
  for (const Command& sub : command.subcommands) set(sub);
}

AclRuleError AclRules::AllowCommand(AclSelector* selector, std::string_view name) const {
  if (name.find('|') != std::string_view::npos) return AllowFirstArgument(selector, name);
  const Command* command = table_.FindOriginal(name);
  if (command == nullptr) return AclRuleError::kUnknownCommand;
  SetCommand(selector, *command, true);
  NoteCommandRule(selector, '+', command->name);
  return AclRuleError::kNone;
}

AclRuleError AclRules::DenyCommand(AclSelector* selector, std::string_view name) const {
  const Command* command = table_.FindOriginal(name);
  if (command == nullptr) return AclRuleError::kUnknownCommand;
  SetCommand(selector, *command, false);
  NoteCommandRule(selector, '-', table_.FullName(*command));
  return AclRuleError::kNone;
}

// A subcommand, or the first argument of a command that has no subcommands.
AclRuleError AclRules::AllowFirstArgument(AclSelector* selector, std::string_view rule) const {
  const size_t bar = rule.rfind('|');
  const std::string_view name = rule.substr(0, bar);
  const std::string_view argument = rule.substr(bar + 1);
  const Command* command = table_.FindOriginal(name);
  if (command == nullptr) return AclRuleError::kUnknownCommand;
  if (name.find('|') != std::string_view::npos) return AclRuleError::kFirstArgOfSubcommand;
  if (argument.empty()) return AclRuleError::kSyntax;
  if (!command->subcommands.empty()) {
    const Command* sub = table_.FindSub(*command, argument);
    if (sub == nullptr) return AclRuleError::kUnknownCommand;
    SetCommand(selector, *sub, true);
  } else {
    auto& allowed = selector->first_arguments[command->index];
    const bool known = std::ranges::any_of(
        allowed, [&](const std::string& each) { return EqualIgnoringCase(each, argument); });
    if (!known) allowed.emplace_back(argument);
  }
  NoteCommandRule(selector, '+', rule);
  return AclRuleError::kNone;
}

AclRuleError AclRules::SetCategory(AclSelector* selector, std::string_view rule) const {
  const uint64_t category = AclCategoryByName(rule.substr(2));
  if (category == 0) return AclRuleError::kUnknownCommand;
  const bool allow = rule[0] == '+';
  NoteCommandRule(selector, rule[0], rule.substr(1));
  for (const Command* command : table_.all()) {
    if ((AclCategoriesOf(*command) & category) != 0) SetCommand(selector, *command, allow);
    for (const Command& sub : command->subcommands) {
      if ((AclCategoriesOf(sub) & category) != 0) SetCommand(selector, sub, allow);
    }
  }
  return AclRuleError::kNone;
}

// --- words

bool HasSpaceOrNul(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return c == '\0' || std::isspace(static_cast<unsigned char>(c)) != 0; });
}

Result<std::vector<std::string>> MergeSelectorWords(std::span<const std::string> words) {
  std::vector<std::string> merged;
  const std::string* opened = nullptr;
  for (const std::string& word : words) {
    const bool closes = word.ends_with(')');
    if (opened != nullptr) {
      merged.back() += " " + word;
      if (closes) opened = nullptr;
      continue;
    }
    merged.push_back(word);
    if (word.starts_with('(') && !closes) opened = &word;
  }
  if (opened == nullptr) return merged;
  return std::unexpected(Status::Invalid("Unmatched parenthesis in acl selector starting at '" +
                                         std::string(opened->c_str()) + "'."));
}

// --- descriptions

std::string DescribeCommands(const AclSelector& selector) {
  std::string text = selector.future_commands ? "+@all" : "-@all";
  if (!selector.command_rules.empty()) text += " " + Joined(selector.command_rules);
  return text;
}

std::string DescribeKeys(const AclSelector& selector) {
  if (selector.all_keys) return "~*";
  std::vector<std::string> patterns;
  for (const AclKeyPattern& each : selector.keys) {
    const char* prefix = each.permissions == kAclReadKeys    ? "%R~"
                         : each.permissions == kAclWriteKeys ? "%W~"
                                                             : "~";
    patterns.push_back(prefix + each.pattern);
  }
  return Joined(patterns);
}

std::string DescribeChannels(const AclSelector& selector) {
  if (selector.all_channels) return "&*";
  std::vector<std::string> patterns;
  for (const std::string& each : selector.channels) patterns.push_back("&" + each);
  return Joined(patterns);
}

std::string DescribeUser(const AclUser& user) {
  std::string text = user.enabled ? "on " : "off ";
  if (user.no_password) text += "nopass ";
  text += user.skip_sanitize ? "skip-sanitize-payload " : "sanitize-payload ";
  for (const std::string& hash : user.passwords) text += "#" + hash + " ";
  text += DescribeSelector(user.selectors[0]);
  for (size_t i = 1; i < user.selectors.size(); ++i) {
    text += " (" + DescribeSelector(user.selectors[i]) + ")";
  }
  return text;
}

// --- categories

std::span<const AclCategoryName> AclCategoryNames() { return kCategories; }

uint64_t AclCategoryByName(std::string_view name) {
  for (const AclCategoryName& each : kCategories) {
    if (EqualIgnoringCase(each.name, name)) return each.category;
  }
  return 0;
}

}  // namespace firn::server
