#include "server/options/options.h"

#include <unistd.h>

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/glob.h"
#include "server/options/config_syntax.h"
#include "server/options/memory_limit.h"
#include "server/options/option_codec.h"
#include "server/options/option_table.h"
#include "server/options/options_internal.h"

namespace firn::server {
namespace {

Status SetFailed(std::string_view name, const std::string& reason) {
  std::string message = "CONFIG SET failed (possibly related to argument '";
  message.append(name).append("')");
  return Status::Invalid(reason.empty() ? message : message + " - " + reason);
}

bool Allows(Permission permission, bool local_client) {
  return permission == Permission::kYes || (permission == Permission::kLocal && local_client);
}

}  // namespace

OptionsEnvironment OptionsEnvironment::Real() {
  return {.usable_memory_bytes = UsableMemoryBytes(), .standard_input = STDIN_FILENO};
}

Options::Options(OptionsEnvironment environment) : environment_(environment) {
  for (const OptionFamily& family : OptionFamilies()) {
    for (const OptionRow& row : family.rows) {
      const size_t index = entries_.size();
      OptionValue value = ParseOwnText(row, row.default_text);
      if (row.Has(kDirectory)) {
        // The current directory may be gone; then its name stays relative and fails when used.
        Result<std::string> directory = ResolveDirectory(value.text, "");
        value.text = directory ? *directory : value.text;
      }
      entries_.push_back({.row = &row, .value = value, .default_value = value});
      for (const std::string_view name : {row.name, row.alias}) {
        if (!name.empty()) {
          names_.push_back({.name = name, .entry = index});
          CHECK(name_index_.emplace(name, names_.size() - 1).second);
        }
      }
    }
  }
  for (Entry& entry : entries_) {
    Assign(entry, entry.value);
  }
  DeriveDefaults();
}

Options::~Options() = default;

const Options::Name* Options::Find(std::string_view name) const {
  const auto found = name_index_.find(LowerCase(name));
  return found == name_index_.end() ? nullptr : &names_[found->second];
}

Options::Entry& Options::EntryOf(std::string_view name) {
  const Name* found = Find(name);
  CHECK(found != nullptr);
  return entries_[found->entry];
}

void Options::Assign(Entry& entry, OptionValue value) {
  entry.value = std::move(value);
  if (entry.row->store != nullptr) {
    entry.row->store(entry.value, values_);
  }
}

Result<OptionValue> Options::Parse(const Entry& entry, std::span<const std::string> words) const {
  Result<OptionValue> value = ParseOption(*entry.row, words, entry.value);
  if (value && entry.row->Has(kDirectory)) {
    Result<std::string> directory = ResolveDirectory(value->text, entry.value.text);
    if (!directory) {
      return std::unexpected(directory.error());
    }
    value->text = *directory;
  }
  return value;
}

Status Options::CheckAvailable(const Entry& entry, const OptionValue& value) {
  const OptionRow& row = *entry.row;
  // No rules at all ask for nothing either.
  const bool is_empty = row.Has(kAccumulates) && value.words.empty();
  if (row.effect != Effect::kFuture || is_empty || value == ParseOwnText(row, row.default_text)) {
    return Status::Ok();
  }
  std::string message = "this needs ";
  message.append(row.feature)
      .append(", which this version of Firn does not have; only the default '")
      .append(row.default_text)
      .append("' is accepted");
  return Status::Invalid(std::move(message));
}

void Options::DeriveDefaults() {
  const auto derive = [&](std::string_view name, OptionValue default_value) {
    Entry& entry = EntryOf(name);
    entry.default_value = std::move(default_value);
    if (!entry.given) {
      Assign(entry, entry.default_value);
    }
  };
  OptionValue maxmemory;
  maxmemory.number = static_cast<int64_t>(environment_.usable_memory_bytes / 2);
  derive("maxmemory", std::move(maxmemory));
  const OptionRow& save = *EntryOf("save").row;
  derive("save", values_.appendonly ? OptionValue{} : ParseOwnText(save, save.default_text));
}

std::vector<Options::NamedValue> Options::Get(std::span<const std::string_view> patterns) const {
  std::vector<NamedValue> found;
  std::vector<bool> taken(names_.size());
  const auto take = [&](const Name& name, std::string_view shown_as) {
    const size_t index = static_cast<size_t>(&name - names_.data());
    if (!taken[index]) {
      taken[index] = true;
      const Entry& entry = entries_[name.entry];
      found.push_back(
          {.name = std::string(shown_as), .value = FormatOption(*entry.row, entry.value)});
    }
  };
  for (const std::string_view pattern : patterns) {
    if (!IsGlobPattern(pattern)) {
      // Redis answers with the name as it was asked for.
      if (const Name* name = Find(pattern)) {
        take(*name, pattern);
      }
      continue;
    }
    for (const Name& name : names_) {
      if (!entries_[name.entry].row->Has(kHidden) &&
          GlobMatch(pattern, name.name, GlobCase::kIgnoreAscii)) {
        take(name, name.name);
      }
    }
  }
  return found;
}

std::string Options::GetOne(std::string_view name) const {
  const Name* found = Find(name);
  CHECK(found != nullptr);
  return FormatOption(*entries_[found->entry].row, entries_[found->entry].value);
}

Status Options::CheckMaySet(const Assignment& assignment, const SetConditions& conditions,
                            const Name* name) const {
  if (name == nullptr) {
    std::string message = "Unknown option or number of arguments for CONFIG SET - '";
    return Status::Invalid(message.append(assignment.name).append("'"));
  }
  const OptionRow& row = *entries_[name->entry].row;
  if (row.Has(kImmutable)) {
    return SetFailed(assignment.name, "can't set immutable config");
  }
  if (row.Has(kProtectedOption) && !Allows(values_.enable_protected_configs, conditions.local_client)) {
    return SetFailed(assignment.name, "can't set protected config");
  }
  if (row.Has(kDenyLoading) && conditions.loading) {
    return {StatusCode::kBusy, "Redis is loading the dataset in memory"};
  }
  return Status::Ok();
}

Status Options::Set(std::span<const Assignment> assignments, SetConditions conditions) {
  std::vector<const Name*> names;
  for (const Assignment& assignment : assignments) {
    const Name* name = Find(assignment.name);
    FIRN_RETURN_IF_ERROR(CheckMaySet(assignment, conditions, name));
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      return SetFailed(assignment.name, "duplicate parameter");
    }
    names.push_back(name);
  }
  // An option may appear under its name and its alias, so values are set one after the other and
  // the oldest one of each entry is what a failure brings back.
  std::vector<size_t> touched;
  std::vector<OptionValue> old_values;
  for (size_t i = 0; i < names.size(); i++) {
    const size_t index = names[i]->entry;
    Entry& entry = entries_[index];
    const std::vector<std::string> words = entry.row->Has(kManyWords)
                                               ? SplitAtSpaces(assignments[i].value)
                                               : std::vector{std::string(assignments[i].value)};
    Result<OptionValue> value = Parse(entry, words);
    Status status = value ? CheckAvailable(entry, *value) : value.error();
    if (status.ok() && entry.row->Has(kStartOnly) && *value != entry.value) {
      status = Status::Invalid("it can't be changed while the server runs");
    }
    if (!status.ok()) {
      RollBack(touched, std::move(old_values));
      return SetFailed(names[i]->name, status.message());
    }
    touched.push_back(index);
    old_values.push_back(entry.value);
    Assign(entry, std::move(*value));
  }
  std::vector<size_t> changed;
  for (size_t i = 0; i < touched.size(); i++) {
    const bool is_new = std::find(changed.begin(), changed.end(), touched[i]) == changed.end();
    if (is_new && entries_[touched[i]].value != old_values[i]) {
      changed.push_back(touched[i]);
    }
  }
  if (Status status = ApplyOrRollBack(changed, touched, std::move(old_values), names);
      !status.ok()) {
    return status;
  }
  for (const size_t index : touched) {
    entries_[index].given = true;
  }
  DeriveDefaults();
  return Status::Ok();
}

Status Options::ApplyOrRollBack(const std::vector<size_t>& changed,
                                const std::vector<size_t>& touched,
                                std::vector<OptionValue> old_values,
                                const std::vector<const Name*>& names) {
  struct Run {
    const Registration* registration;
    size_t entry;  // whose change it runs for
  };
  std::vector<Run> runs;
  for (const size_t index : changed) {
    for (const Registration& registration : registrations_) {
      const std::vector<size_t>& entries = registration.entries;
      const bool concerned = std::find(entries.begin(), entries.end(), index) != entries.end();
      const bool known = std::any_of(runs.begin(), runs.end(), [&](const Run& run) {
        return run.registration == &registration;
      });
      if (concerned && !known) {
        runs.push_back({.registration = &registration, .entry = index});
      }
    }
  }
  for (size_t i = 0; i < runs.size(); i++) {
    const Status status = runs[i].registration->apply();
    if (status.ok()) {
      continue;
    }
    RollBack(touched, std::move(old_values));
    for (size_t j = 0; j <= i; j++) {
      // What could be applied before can be applied again; a failure leaves nothing else to do.
      static_cast<void>(runs[j].registration->apply());
    }
    const auto failed = std::find_if(
        names.begin(), names.end(), [&](const Name* name) { return name->entry == runs[i].entry; });
    CHECK(failed != names.end());
    return SetFailed((*failed)->name, status.message());
  }
  return Status::Ok();
}

void Options::RollBack(const std::vector<size_t>& entries, std::vector<OptionValue> old_values) {
  for (size_t i = entries.size(); i > 0; i--) {
    Assign(entries_[entries[i - 1]], std::move(old_values[i - 1]));
  }
}

void Options::OnChange(std::initializer_list<std::string_view> names, Applier apply) {
  Registration registration{.entries = {}, .apply = std::move(apply)};
  for (const std::string_view name : names) {
    const Name* found = Find(name);
    CHECK(found != nullptr);
    registration.entries.push_back(found->entry);
  }
  registrations_.push_back(std::move(registration));
}

void Options::SetInForce(std::string_view name, std::string_view value) {
  Entry& entry = EntryOf(name);
  Assign(entry, ParseOwnText(*entry.row, value));
}

bool Options::IsSensitive(std::string_view name) const {
  const Name* found = Find(name);
  return found != nullptr && entries_[found->entry].row->Has(kSensitive);
}

}  // namespace firn::server
