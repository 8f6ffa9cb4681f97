// Users from the configuration and from the ACL file.

#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "server/acl/acl.h"
#include "server/options/config_syntax.h"
#include "server/options/options_internal.h"
#include "server/server.h"

namespace firn::server {
namespace {

// As long as users are read one by one, nobody needs a longer file.
constexpr size_t kMaxFileBytes = 64 << 20;

std::string_view TrimmedLine(std::string_view line) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const size_t start = line.find_first_not_of(kSpaces);
  if (start == std::string_view::npos) return {};
  return line.substr(start, line.find_last_not_of(kSpaces) - start + 1);
}

// Writes a file beside `path` and puts it in its place; a crash leaves the old one or the new one.
Status ReplaceFile(const std::string& path, std::string_view text) {
  const std::string fresh = path + ".tmp-" + std::to_string(getpid());
  // Hashes of passwords are in it.
  const int file = open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return Status::FromErrno(errno, "Opening temp ACL file for ACL SAVE");
  int error = 0;
  while (!text.empty() && error == 0) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno != EINTR) error = errno;
    text.remove_prefix(written > 0 ? static_cast<size_t>(written) : 0);
  }
  if (error == 0 && fsync(file) != 0) error = errno;
  close(file);
  if (error == 0 && rename(fresh.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    unlink(fresh.c_str());
    return Status::FromErrno(error, "Writing ACL file for ACL SAVE");
  }
  std::string copy = path;
  const int directory = open(dirname(copy.data()), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || fsync(directory) != 0) error = errno;
  if (directory >= 0) close(directory);
  return error == 0 ? Status::Ok() : Status::FromErrno(error, "Syncing ACL directory for ACL SAVE");
}

}  // namespace

// --- at the start

Status Acl::LoadAtStart() {
  const Options& options = server_.options();
  SetDefaultPassword(options->requirepass);
  if (!options->aclfile.empty() && !options.users().empty()) {
    return Status::Invalid(
        "Configuring Firn with users defined in the configuration and at the same setting an ACL "
        "file path is invalid. This setup is very likely to lead to configuration errors and "
        "security holes, please define either an ACL file or declare users directly in your "
        "configuration, but not both.");
  }
  FIRN_RETURN_IF_ERROR(LoadConfigured());
  if (options->aclfile.empty()) return Status::Ok();
  Status status = LoadFile(nullptr);
  if (status.ok()) return status;
  return Status::Invalid("Aborting Firn startup because of ACL errors: " + status.message());
}

Status Acl::LoadConfigured() {
  for (const std::vector<std::string>& words : server_.options().users()) {
    const std::string& name = words[0];
    if (HasSpaceOrNul(name)) return Status::Invalid("Spaces not allowed in ACL usernames");
    AclUser user = rules().NewUser(name);
    for (const std::string& rule : std::span(words).subspan(1)) {
      const AclRuleError error = rules().Apply(&user, rule);
      if (error == AclRuleError::kNone) continue;
      return Status::Invalid("Error loading ACL rule '" + rule + "' for the user named '" + name +
                             "': " + std::string(AclRuleErrorText(error)) +
                             "\nCritical error while loading ACLs. Exiting.");
    }
    if (!user.enabled) {
      server_.Log(kLogNotice, "The user '" + name +
                                  "' is disabled (there is no 'on' modifier in the user "
                                  "description). Make sure this is not a configuration error.");
    }
    if (name == default_user_->name) {
      *default_user_ = std::move(user);
    } else {
      users_.insert_or_assign(name, std::make_shared<AclUser>(std::move(user)));
    }
  }
  return Status::Ok();
}

// --- the ACL file

std::string Acl::ParseFileLine(
    std::string_view line, const std::string& place,
    std::map<std::string, std::shared_ptr<AclUser>, std::less<>>* users) const {
  const std::vector<std::string> words = SplitAtSpaces(line);
  if (words.size() < 2 || words[0] != "user") {
    return place + " should start with user keyword followed by the username. ";
  }
  const std::string& name = words[1];
  if (HasSpaceOrNul(name)) {
    return "'" + place + ": username '" + name + "' contains invalid characters. ";
  }
  auto [entry, is_new] = users->emplace(name, std::make_shared<AclUser>(rules().NewUser(name)));
  if (!is_new) {
    return "WARNING: Duplicate user '" + name + "' found on line " +
           place.substr(place.rfind(':') + 1) + ". ";
  }
  const auto merged = MergeSelectorWords(std::span(words).subspan(2));
  if (!merged) return place + ": Unmatched parenthesis in selector definition.";
  std::string errors;
  bool has_other_error = false;
  for (const std::string& rule : *merged) {
    const std::string_view trimmed = TrimmedLine(rule);
    const AclRuleError error = rules().Apply(entry->second.get(), trimmed);
    if (error == AclRuleError::kNone) continue;
    const std::string text(AclRuleErrorText(error));
    if (error == AclRuleError::kUnknownCommand) {
      errors +=
          place + ": Error in applying operation '" + std::string(trimmed) + "': " + text + ". ";
    } else if (!std::exchange(has_other_error, true)) {
      // Rules may hold secrets: only what is wrong is told, and of what may follow from it nothing.
      errors += place + ": " + text + ". ";
    }
  }
  return errors;
}

Result<std::map<std::string, std::shared_ptr<AclUser>, std::less<>>> Acl::ParseFile(
    std::string_view text) const {
  std::map<std::string, std::shared_ptr<AclUser>, std::less<>> users;
  std::string errors;
  int number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = TrimmedLine(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    ++number;
    if (line.empty()) continue;
    const std::string place = server_.options()->aclfile + ":" + std::to_string(number);
    errors += ParseFileLine(line, place, &users);
  }
  if (errors.empty()) return users;
  return std::unexpected(Status::Invalid(
      errors +
      "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"));
}

Status Acl::LoadFile(Client* current) {
  const std::string& path = server_.options()->aclfile;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  int error = errno;
  Result<std::string> text = std::unexpected(Status());
  if (file >= 0) {
    text = ReadAll(file);
    close(file);
    if (!text) error = text.error().error_number();
  }
  if (file < 0 || !text) {
    return Status::Invalid("Error loading ACLs, opening file '" + path +
                           "': " + std::strerror(error));
  }
  if (text->size() > kMaxFileBytes) {
    return Status::Invalid("Error loading ACLs, file '" + path + "' is too long");
  }
  auto loaded = ParseFile(*text);
  if (!loaded) return loaded.error();
  auto fresh_default = loaded->find(default_user_->name);
  // Clients keep the default user: it changes in place.
  AclUser changed =
      fresh_default == loaded->end() ? rules().DefaultUser() : std::move(*fresh_default->second);
  KillUnlawfulSubscribers(*default_user_, changed);
  *default_user_ = std::move(changed);
  loaded->insert_or_assign(default_user_->name, default_user_);
  auto old_users = std::exchange(users_, std::move(*loaded));
  for (const auto& [name, user] : old_users) {
    if (user != default_user_) Disconnect(*user, current);
  }
  Refresh();
  return Status::Ok();
}

Status Acl::SaveFile() {
  std::string text;
  for (const std::string& line : Lines()) text += line + "\n";
  Status status = ReplaceFile(server_.options()->aclfile, text);
  if (!status.ok()) {
    server_.Log(kLogWarning, status.message());
    return Status::Invalid(
        "There was an error trying to save the ACLs. Please check the server logs for more "
        "information");
  }
  return status;
}

}  // namespace firn::server
