// Reading configuration at start.
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "server/acl/acl_rules.h"
#include "server/options/config_syntax.h"
#include "server/options/options.h"
#include "server/options/options_internal.h"
#include "server/options/version.h"

namespace firn::server {
namespace {

constexpr int kIncludeDepthMax = 16;

constexpr std::string_view kSpaces = " \t\r\n";

std::string_view Trim(std::string_view text) {
  const size_t start = text.find_first_not_of(kSpaces);
  if (start == std::string_view::npos) {
    return {};
  }
  return text.substr(start, text.find_last_not_of(kSpaces) - start + 1);
}

Status CannotOpen(const std::string& path, int error_number) {
  return Status::Invalid("Fatal error, can't open config file '" + path +
                         "': " + std::strerror(error_number));
}

Result<std::string> ReadFileText(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return std::unexpected(CannotOpen(path, errno));
  }
  Result<std::string> text = ReadAll(descriptor);
  close(descriptor);
  if (!text) {
    return std::unexpected(CannotOpen(path, text.error().error_number()));
  }
  return text;
}

// Options of earlier versions that Redis 7.2 takes and forgets.
bool IsForgotten(std::string_view name) {
  return name == "list-max-ziplist-entries" || name == "list-max-ziplist-value" ||
         name == "lua-replicate-commands";
}

// Directives that are no options, and need something that is not there.
Status CheckDirective(const std::vector<std::string>& words) {
  const std::string& name = words[0];
  const auto refuse = [&](const char* feature) {
    return Status::Invalid("'" + name + "' needs " + feature +
                           ", which this version of Firn does not have");
  };
  if (name == "loadmodule" && words.size() >= 2) {
    return refuse("modules");
  }
  if (std::ranges::find(name, '.') != name.end()) {
    return words.size() < 2 ? Status::Invalid("Module config specified without value")
                            : refuse("modules");
  }
  if (name == "sentinel" && words.size() > 1) {
    return Status::Invalid("sentinel directive while not in sentinel mode");
  }
  return Status::Invalid("Bad directive or wrong number of arguments");
}

// The lines that the arguments from `first` on stand for, as Redis puts them together: "--name"
// starts a line, all else is a quoted word of it. A word with dashes right behind a name is its
// value.
std::string LinesOfArguments(std::span<const std::string> arguments, size_t first,
                             bool* reads_standard_input) {
  std::string lines;
  bool name_has_value = true;
  for (size_t i = first; i < arguments.size(); i++) {
    const std::string& argument = arguments[i];
    const bool is_last = i + 1 == arguments.size();
    if (argument == "-" && (i == 0 || is_last)) {
      *reads_standard_input = true;
      continue;
    }
    if (!name_has_value || !argument.starts_with("--")) {
      lines += QuoteWord(argument) + " ";
      name_has_value = true;
      continue;
    }
    lines += (lines.empty() ? "" : "\n") + argument.substr(2) + " ";
    const auto words = SplitWords(argument);
    name_has_value = !words || words->size() != 1;  // "--port 6380" may be one argument
    const bool no_value_follows = is_last || arguments[i + 1].starts_with("--");
    if (!name_has_value && no_value_follows && EqualIgnoringCase(argument, "--save")) {
      lines += "\"\"";
      name_has_value = true;
    }
  }
  return lines;
}

}  // namespace

std::string PathFrom(const std::string& base, std::string_view path) {
  if (path.starts_with('/') || base.empty()) {
    return std::string(path);
  }
  return base + "/" + std::string(path);
}

Result<std::string> ResolveDirectory(std::string_view path, const std::string& base) {
  const std::string seen = PathFrom(base, path);
  char resolved[PATH_MAX];
  struct stat status;
  int error_number = 0;
  if (path.empty() || realpath(seen.c_str(), resolved) == nullptr || stat(resolved, &status) != 0) {
    error_number = path.empty() ? ENOENT : errno;
  } else if (!S_ISDIR(status.st_mode)) {
    error_number = ENOTDIR;
  } else if (access(resolved, X_OK) != 0) {
    error_number = errno;
  }
  if (error_number != 0) {
    return std::unexpected(Status::Invalid(std::strerror(error_number)));
  }
  return std::string(resolved);
}

Result<std::string> ReadAll(int descriptor) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = read(descriptor, buffer, sizeof(buffer));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      return std::unexpected(Status::FromErrno(errno, "read"));
    }
    if (count == 0) {
      return text;
    }
    text.append(buffer, static_cast<size_t>(count));
  }
}

// Reads sources into an Options, and knows where it is for the message of a failure.
class OptionsLoader {
 public:
  explicit OptionsLoader(Options& options) : options_(options) {}

  Status ReadFile(const std::string& path) {
    Result<std::string> text = ReadFileText(path);
    return text ? ReadText(*text, path) : text.error();
  }

  Status ReadStandardInput() {
    Result<std::string> text = ReadAll(options_.environment_.standard_input);
    return text ? ReadText(*text, "standard input") : CannotOpen("-", text.error().error_number());
  }

  Status ReadText(std::string_view text, const std::string& source) {
    int number = 0;
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      const Place place{.source = source,
                        .line_number = ++number,
                        .line = std::string(Trim(text.substr(0, end)))};
      text.remove_prefix(std::min(end + 1, text.size()));
      FIRN_RETURN_IF_ERROR(ReadLine(place));
    }
    return Status::Ok();
  }

  // What can be said only when everything is read.
  Status Finish() {
    options_.DeriveDefaults();
    for (const Pending& pending : pending_) {
      const Options::Entry& entry = options_.entries_[pending.entry];
      if (Status status = Options::CheckAvailable(entry, entry.value); !status.ok()) {
        return Fatal(status.message(), &pending.place);
      }
    }
    const OptionValues& values = options_.values_;
    if (!values.logfile.empty()) {
      const std::string path = PathFrom(values.dir, values.logfile);
      const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
      if (descriptor < 0) {
        return Fatal(std::string("Can't open the log file: ") + std::strerror(errno), nullptr);
      }
      close(descriptor);
    }
    return Status::Ok();
  }

 private:
  struct Place {
    std::string source;
    int line_number;
    std::string line;
  };
  // An option whose lines add up, to be checked when all are read.
  struct Pending {
    size_t entry;
    Place place;
  };

  static Status Fatal(const std::string& reason, const Place* place) {
    std::string message = "\n*** FATAL CONFIG FILE ERROR (Firn ";
    message.append(kFirnVersion).append(") ***\n");
    if (place != nullptr) {
      message += "Reading the configuration file, at line " + std::to_string(place->line_number) +
                 " (" + place->source + ")\n>>> '" + place->line + "'\n";
    }
    return Status::Invalid(message + reason);
  }

  Status ReadLine(const Place& place) {
    if (place.line.empty() || place.line[0] == '#') {
      return Status::Ok();
    }
    std::optional<std::vector<std::string>> words = SplitWords(place.line);
    if (!words) {
      return Fatal("Unbalanced quotes in configuration line", &place);
    }
    if (words->empty()) {
      return Status::Ok();
    }
    words->front() = LowerCase(words->front());
    const std::string& name = words->front();
    if (const Options::Name* option = options_.Find(name)) {
      Status status = SetOption(option->entry, std::span(*words).subspan(1), place);
      return status.ok() ? status : Fatal(status.message(), &place);
    }
    if (IsForgotten(name) && words->size() == 2) {
      return Status::Ok();
    }
    if (name == "include" && words->size() == 2) {
      return Include((*words)[1], place);
    }
    if (name == "user" && words->size() >= 2) {
      Status status = AddUser(std::span(*words).subspan(1));
      return status.ok() ? status : Fatal(status.message(), &place);
    }
    if (name == "rename-command" && words->size() == 3) {
      options_.renamed_commands_.push_back({.from = (*words)[1], .to = (*words)[2]});
      return Status::Ok();
    }
    if (name == "sentinel" && words->size() == 1) {
      return Fatal("Firn has no sentinel mode", &place);
    }
    return Fatal(CheckDirective(*words).message(), &place);
  }

  Status SetOption(size_t index, std::span<const std::string> words, const Place& place) {
    Options::Entry& entry = options_.entries_[index];
    std::optional<std::vector<std::string>> split;
    if (!entry.row->Has(kManyWords)) {
      if (words.size() != 1) {
        return Status::Invalid("wrong number of arguments");
      }
    } else if (words.size() == 1 && !words[0].empty()) {
      // One quoted word may hold all of them.
      split = SplitWords(words[0]);
      if (!split) {
        return Status::Invalid("Unbalanced quotes in configuration line");
      }
      words = *split;
    }
    Result<OptionValue> value = options_.Parse(entry, words);
    if (!value) {
      return value.error();
    }
    if (entry.row->Has(kAccumulates)) {
      if (entry.given && !value->words.empty()) {
        value->words.insert(value->words.begin(), entry.value.words.begin(),
                            entry.value.words.end());
      }
      pending_.push_back({.entry = index, .place = place});
    } else {
      FIRN_RETURN_IF_ERROR(Options::CheckAvailable(entry, *value));
    }
    entry.given = true;
    options_.Assign(entry, std::move(*value));
    return Status::Ok();
  }

  Status AddUser(std::span<const std::string> words) {
    for (const std::vector<std::string>& known : options_.users_) {
      if (std::string_view(known[0]) == std::string_view(words[0])) {
        return Status::Invalid(
            "Duplicate user found. A user can only be defined once in config files");
      }
    }
    Result<std::vector<std::string>> rules = MergeSelectorWords(words.subspan(1));
    if (!rules) {
      return rules.error();
    }
    rules->insert(rules->begin(), words[0]);
    options_.users_.push_back(std::move(*rules));
    return Status::Ok();
  }

  Status Include(const std::string& pattern, const Place& place) {
    if (depth_ >= kIncludeDepthMax) {
      return Fatal("include is nested too deeply", &place);
    }
    depth_++;
    const std::string path = PathFrom(options_.values_.dir, pattern);
    Status status;
    if (pattern.find_first_of("*?[") == std::string::npos) {
      status = ReadFile(path);
    } else {
      // Nothing that matches is fine: a conf.d directory may be empty.
      glob_t found = {};
      if (glob(path.c_str(), 0, nullptr, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc && status.ok(); i++) {
          status = ReadFile(found.gl_pathv[i]);
        }
      }
      globfree(&found);
    }
    depth_--;
    return status;
  }

  Options& options_;
  std::vector<Pending> pending_;
  int depth_ = 0;
};

Status Options::LoadFile(const std::string& path) {
  OptionsLoader loader(*this);
  if (path == "-") {
    FIRN_RETURN_IF_ERROR(loader.ReadStandardInput());
    return loader.Finish();
  }
  FIRN_RETURN_IF_ERROR(loader.ReadFile(path));
  char resolved[PATH_MAX];
  config_file_ = realpath(path.c_str(), resolved) != nullptr ? resolved : path;
  return loader.Finish();
}

Status Options::LoadArguments(std::span<const std::string> arguments) {
  OptionsLoader loader(*this);
  size_t first = 0;
  if (!arguments.empty() && !arguments[0].starts_with('-')) {
    const std::string& path = arguments[0];
    char resolved[PATH_MAX];
    config_file_ = realpath(path.c_str(), resolved) != nullptr ? resolved : path;
    FIRN_RETURN_IF_ERROR(loader.ReadFile(path));
    first = 1;
  }
  bool reads_standard_input = false;
  const std::string lines = LinesOfArguments(arguments, first, &reads_standard_input);
  if (reads_standard_input) {
    FIRN_RETURN_IF_ERROR(loader.ReadStandardInput());
  }
  FIRN_RETURN_IF_ERROR(loader.ReadText(lines, "command line"));
  return loader.Finish();
}

}  // namespace firn::server
