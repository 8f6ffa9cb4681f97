// All configuration: read at start from a file, standard input and the command line; shown and
// changed by CONFIG; written back by CONFIG REWRITE. Syntax, names, defaults, bounds and error
// texts are those of Redis 7.2; what is special to an option is its row (option_row.h).
//
//   Options options;
//   if (Status status = options.LoadArguments(arguments); !status.ok()) { print, exit }
//   ... options->maxmemory ...                       one load
//   options.OnChange({"port", "bind"}, [&] { return server.Listen(); });
//
// Executor thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "server/options/option_row.h"
#include "server/options/option_values.h"

namespace firn::server {

// What Options asks of the machine; tests replace it.
struct OptionsEnvironment {
  uint64_t usable_memory_bytes;  // half of it is the default of maxmemory; 0: no limit
  int standard_input;            // a file descriptor
  static OptionsEnvironment Real();
};

class Options {
 public:
  // Everything at its default. Reads /proc to learn the default of maxmemory, and the current
  // directory, from which a relative `dir` starts.
  explicit Options(OptionsEnvironment environment = OptionsEnvironment::Real());
  ~Options();
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  // The values in force. The pointer stays valid; the values change in LoadFile, LoadArguments, Set
  // and SetInForce only.
  const OptionValues* operator->() const { return &values_; }
  const OptionValues& values() const { return values_; }

  // ---- At start ----

  // Reads `[FILE] [-] [--option value ...] [-]` (without the program's name) with Redis' rules: a
  // first argument without dashes is a file; "-" in the first or last place reads standard input;
  // the rest are lines of configuration, read last. On failure the message is what to print before
  // leaving, several lines with source, line and reason; the values are then of no use.
  Status LoadArguments(std::span<const std::string> arguments);
  // Reads one file, or standard input if `path` is "-". Errors as above.
  Status LoadFile(const std::string& path);
  // The absolute path of the file that was read, empty if there was none.
  const std::string& config_file() const { return config_file_; }

  // `user NAME RULE...` of the configuration: each user's words, without the directive, in order;
  // selectors are one word each. None of them twice.
  const std::vector<std::vector<std::string>>& users() const { return users_; }
  // `rename-command FROM TO`, in order.
  struct CommandName {
    std::string from;
    std::string to;  // empty: disabled
  };
  const std::vector<CommandName>& renamed_commands() const { return renamed_commands_; }
  // What Rewrite puts in the place of all `user` lines; without it they stay.
  void OnRewriteUsers(std::function<std::vector<std::string>()> lines) {
    user_lines_ = std::move(lines);
  }

  // ---- CONFIG ----

  struct NamedValue {
    std::string name;
    std::string value;
  };
  // CONFIG GET: each name or glob pattern in turn, aliases included, nothing twice. Hidden options
  // only by their exact name; unknown names are left out.
  std::vector<NamedValue> Get(std::span<const std::string_view> patterns) const;
  // The value of one option as CONFIG GET answers it. REQUIRES: the name exists.
  std::string GetOne(std::string_view name) const;

  struct Assignment {
    std::string_view name;
    std::string_view value;
  };
  struct SetConditions {
    bool loading;       // data is being loaded
    bool local_client;  // the client is on this machine
  };
  // CONFIG SET: all or nothing. Values are validated, put in force, then the appliers of the
  // changed ones run; if one fails, the old values come back and the appliers that ran run again.
  // kInvalid with the text to send after "-ERR "; kBusy with that after "-LOADING " if an option
  // can't be set while data is loaded.
  Status Set(std::span<const Assignment> assignments, SetConditions conditions);

  // `apply` runs when Set has changed one of the options, once for all of them, and sees the new
  // values. Its failure's message becomes part of Set's. An option may have several appliers.
  // REQUIRES: the names exist.
  using Applier = std::function<Status()>;
  void OnChange(std::initializer_list<std::string_view> names, Applier apply);

  // Puts a value in force because of what the machine can do (fewer clients than asked for),
  // without appliers. REQUIRES: `value` is valid.
  void SetInForce(std::string_view name, std::string_view value);

  // CONFIG REWRITE: changes the lines of the options in the file to the values in force, appends
  // those that differ from their default, keeps everything else, and replaces the file in one step.
  // kInvalid with the text to send if there is no file. kAll writes a line for every option.
  enum class RewriteScope : uint8_t { kNeeded, kAll };
  Status Rewrite(RewriteScope scope = RewriteScope::kNeeded);

  // True if the option's value must not appear in logs, also for unknown letter case.
  bool IsSensitive(std::string_view name) const;

 private:
  friend class OptionsLoader;
  friend class OptionsRewriter;

  struct Entry {
    const OptionRow* row;
    OptionValue value;
    OptionValue default_value;
    bool given = false;  // in a file, an argument or by Set; not by default
  };
  struct Name {
    std::string_view name;
    size_t entry;
  };
  struct Registration {
    std::vector<size_t> entries;
    Applier apply;
  };

  const Name* Find(std::string_view name) const;
  Entry& EntryOf(std::string_view name);
  void Assign(Entry& entry, OptionValue value);
  // Reads the words of a value for `entry`, and checks that its feature is there.
  Result<OptionValue> Parse(const Entry& entry, std::span<const std::string> words) const;
  // Status of a value whose feature is missing.
  static Status CheckAvailable(const Entry& entry, const OptionValue& value);
  // Defaults that depend on the machine and on other options.
  void DeriveDefaults();

  // Whether `assignment` may be set at all; the error as for the client.
  Status CheckMaySet(const Assignment& assignment, const SetConditions& conditions,
                     const Name* name) const;
  // Runs the appliers of `changed`. After a failure, `touched` have their old values back, and the
  // appliers that ran have run again; the status is then the one for the client.
  Status ApplyOrRollBack(const std::vector<size_t>& changed, const std::vector<size_t>& touched,
                         std::vector<OptionValue> old_values,
                         const std::vector<const Name*>& names);
  void RollBack(const std::vector<size_t>& entries, std::vector<OptionValue> old_values);

  const OptionsEnvironment environment_;
  std::vector<Entry> entries_;  // in the order of the table
  std::vector<Name> names_;     // names and aliases, in the order of the table
  std::unordered_map<std::string, size_t> name_index_;
  std::vector<Registration> registrations_;
  std::string config_file_;
  std::vector<std::vector<std::string>> users_;
  std::vector<CommandName> renamed_commands_;
  std::function<std::vector<std::string>()> user_lines_;
  OptionValues values_;
};

// The text to print if the arguments ask for information only (--version, --help,
// --print-configuration-reference), else nothing.
std::optional<std::string> InformationFor(std::span<const std::string> arguments);
std::string VersionText();
std::string HelpText();
// The contents of docs/configuration.md.
std::string ReferenceMarkdown();

}  // namespace firn::server
