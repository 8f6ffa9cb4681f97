// The table of all rows, the one function that finds keys, and the out-of-line parts of command.h.

#include <algorithm>
#include <charconv>
#include <cstring>
#include <deque>
#include <map>

#include "engine/base/check.h"
#include "server/client.h"
#include "server/command.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Upper and lower case letters differ in this bit; what else it makes equal, MatchesName tells
// apart.
constexpr uint64_t kCaseBits = 0x2020202020202020;

uint64_t LoadBytes(const char* from, size_t size) {
  uint64_t word = 0;
  std::memcpy(&word, from, size);
  return word | kCaseBits;
}

// Of the first and the last eight bytes, whatever their case. REQUIRES: not empty.
uint64_t HashName(std::string_view name) {
  uint64_t head, tail;
  if (name.size() >= 8) {
    head = LoadBytes(name.data(), 8);
    tail = LoadBytes(name.data() + name.size() - 8, 8);
  } else if (name.size() >= 4) {
    head = LoadBytes(name.data(), 4);
    tail = LoadBytes(name.data() + name.size() - 4, 4);
  } else {
    head = LoadBytes(name.data(), 1) ^ LoadBytes(name.data() + name.size() / 2, 1) << 8;
    tail = LoadBytes(name.data() + name.size() - 1, 1);
  }
  uint64_t mixed = (head ^ name.size()) * 0x9e3779b97f4a7c15 ^ tail * 0xc2b2ae3d27d4eb4f;
  return mixed ^ mixed >> 32;
}

// `lower` is in lower case.
bool MatchesName(std::string_view lower, std::string_view name) {
  if (lower.size() != name.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (c != lower[i]) return false;
  }
  return true;
}

std::string InLowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

// The position where a spec's keys begin; 0 if there are none.
size_t FindBegin(const KeySpec& spec, std::span<const std::string_view> args) {
  if (spec.begin == KeySpec::Begin::kIndex) {
    size_t at = static_cast<size_t>(spec.begin_index);
    return at < args.size() ? at : 0;
  }
  if (spec.begin != KeySpec::Begin::kKeyword) return 0;
  bool backward = spec.begin_index < 0;
  int64_t count = static_cast<int64_t>(args.size());
  int64_t from = backward ? count + spec.begin_index : spec.begin_index;
  for (int64_t i = from; i > 0 && i < count; i += backward ? -1 : 1) {
    std::string_view word = args[static_cast<size_t>(i)];
    bool equal = word.size() == spec.keyword.size() &&
                 std::equal(word.begin(), word.end(), spec.keyword.begin(), [](char a, char b) {
                   return std::tolower(static_cast<unsigned char>(a)) ==
                          std::tolower(static_cast<unsigned char>(b));
                 });
    if (equal) return i + 1 < count ? static_cast<size_t>(i) + 1 : 0;
  }
  return 0;
}

bool FindRange(const KeySpec& spec, std::span<const std::string_view> args, size_t begin,
               std::vector<FoundKey>* keys) {
  int64_t count = static_cast<int64_t>(args.size());
  int64_t last = static_cast<int64_t>(begin) + spec.last;
  if (spec.last < 0) {
    last = count + spec.last;
    if (spec.limit > 1) {
      int64_t rest = count - static_cast<int64_t>(begin);
      last = static_cast<int64_t>(begin) + rest / spec.limit + spec.last;
    }
  }
  if (last >= count) return false;
  for (int64_t i = static_cast<int64_t>(begin); i <= last; i += spec.step) {
    keys->push_back({static_cast<size_t>(i), &spec});
  }
  return true;
}

bool FindCounted(const KeySpec& spec, std::span<const std::string_view> args, size_t begin,
                 std::vector<FoundKey>* keys) {
  size_t count_at = begin + static_cast<size_t>(spec.keynum_index);
  if (count_at >= args.size()) return false;
  int64_t count = 0;
  std::string_view text = args[count_at];
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count < 0) return false;
  size_t first = begin + static_cast<size_t>(spec.first_key);
  uint64_t step = static_cast<uint64_t>(spec.step);
  if (static_cast<uint64_t>(count) > args.size()) return false;
  if (first + static_cast<uint64_t>(count) * step > args.size() + step - 1) return false;
  for (int64_t i = 0; i < count; ++i) {
    keys->push_back({first + static_cast<uint64_t>(i) * step, &spec});
  }
  return true;
}

}  // namespace

bool FindKeys(const Command& command, std::span<const std::string_view> args,
              std::vector<FoundKey>* keys) {
  for (const KeySpec& spec : command.key_specs) {
    size_t begin = FindBegin(spec, args);
    if (begin == 0) continue;
    bool found = true;
    if (spec.find == KeySpec::Find::kRange) found = FindRange(spec, args, begin, keys);
    if (spec.find == KeySpec::Find::kKeynum) found = FindCounted(spec, args, begin, keys);
    if (!found) {
      keys->clear();
      return false;
    }
  }
  if (command.more_keys != nullptr) command.more_keys(args, keys);
  return true;
}

// Open addressing over a table that is at most a quarter full: nearly every look-up meets its row
// first.
struct CommandTable::Impl {
  static constexpr size_t kBuckets = 2048;

  std::vector<Command> rows;
  std::deque<std::vector<Command>> subcommands;
  std::vector<std::string> full_names;  // by index
  const Command* buckets[kBuckets] = {};
  std::map<std::string, const Command*> renamed;  // by the new name, in lower case

  void Number(Command* command, std::string full_name) {
    command->index = static_cast<uint32_t>(full_names.size());
    full_names.push_back(std::move(full_name));
  }
  void Enter(const Command* command) {
    size_t at = HashName(command->name) % kBuckets;
    while (buckets[at] != nullptr) at = (at + 1) % kBuckets;
    buckets[at] = command;
  }
  // The others are entered anew: what lay behind it must still be found.
  void Remove(const Command* removed) {
    std::vector<const Command*> entered(std::begin(buckets), std::end(buckets));
    std::fill(std::begin(buckets), std::end(buckets), nullptr);
    for (const Command* command : entered) {
      if (command != nullptr && command != removed) Enter(command);
    }
  }
};

CommandTable::CommandTable() : impl_(std::make_shared<Impl>()) {
  for (auto rows :
       {GeoCommands(),        HyperLogLogCommands(), DumpCommands(),        BitmapCommands(),
        AclCommands(),        StringCommands(),      KeyCommands(),         ConnectionCommands(),
        ServerCommands(),     TierCommands(),        TransactionCommands(), ListCommands(),
        HashCommands(),       SetCommands(),         ScriptCommands(),      SortCommands(),
        StreamCommands(),     ZsetCommands(),        ZsetCombineCommands(), PubSubCommands(),
        ObservationCommands()}) {
    impl_->rows.insert(impl_->rows.end(), rows.begin(), rows.end());
  }
  CHECK(impl_->rows.size() <= Impl::kBuckets / 4);
  for (Command& command : impl_->rows) {
    const std::string name(command.name);
    impl_->Number(&command, name);
    if (!command.subcommands.empty()) {
      auto& subs =
          impl_->subcommands.emplace_back(command.subcommands.begin(), command.subcommands.end());
      for (Command& sub : subs) impl_->Number(&sub, name + "|" + std::string(sub.name));
      command.subcommands = subs;
    }
    impl_->Enter(&command);
    all_.push_back(&command);
  }
}

const Command* CommandTable::Find(std::string_view name) const {
  if (name.empty()) return nullptr;
  size_t at = HashName(name) % Impl::kBuckets;
  for (; impl_->buckets[at] != nullptr; at = (at + 1) % Impl::kBuckets) {
    if (MatchesName(impl_->buckets[at]->name, name)) return impl_->buckets[at];
  }
  if (impl_->renamed.empty()) return nullptr;
  const auto renamed = impl_->renamed.find(InLowerCase(name));
  return renamed == impl_->renamed.end() ? nullptr : renamed->second;
}

const Command* CommandTable::FindOriginal(std::string_view full_name) const {
  const size_t bar = full_name.find('|');
  const std::string_view name = full_name.substr(0, bar);
  const auto found = std::find_if(all_.begin(), all_.end(), [name](const Command* command) {
    return MatchesName(command->name, name);
  });
  if (found == all_.end()) return nullptr;
  if (bar == std::string_view::npos) return *found;
  return FindSub(**found, full_name.substr(bar + 1));
}

Status CommandTable::Rename(std::string_view command, std::string_view name) {
  const Command* found = Find(command);
  if (found == nullptr) return Status::Invalid("No such command in rename-command");
  if (!name.empty() && Find(name) != nullptr && Find(name) != found) {
    return Status::Invalid("Target command name already exists");
  }
  impl_->Remove(found);
  std::erase_if(impl_->renamed, [found](const auto& item) { return item.second == found; });
  if (MatchesName(found->name, name)) {
    impl_->Enter(found);
  } else if (!name.empty()) {
    impl_->renamed[InLowerCase(name)] = found;
  }
  return Status::Ok();
}

const Command* CommandTable::FindSub(const Command& container, std::string_view name) const {
  for (const Command& sub : container.subcommands) {
    if (MatchesName(sub.name, name)) return &sub;
  }
  return nullptr;
}

size_t CommandTable::count() const { return impl_->full_names.size(); }
const std::string& CommandTable::FullName(const Command& command) const {
  return impl_->full_names[command.index];
}

// --- CommandContext and SuspendedCommand

Database& CommandContext::db() const { return store.database(client.db()); }

SuspendedCommand CommandContext::Suspend() { return server.dispatcher().Suspend(this); }
bool CommandContext::LeavePlace() { return server.dispatcher().LeavePlace(); }

void CommandContext::Modified(uint32_t db, std::string_view key) {
  ++server.stats().changes;
  server.watches().Touch(db, key);
  server.held_keys().Touch(db, key);
  server.blocking().Signal(db, key);
  if (server.tracking().active()) server.tracking().Invalidate(key, &client);
}
void CommandContext::Modified(const HashedKey& key) { Modified(client.db(), key.bytes); }

void CommandContext::Notify(char event_class, std::string_view event, std::string_view key) {
  NotifyIn(client.db(), event_class, event, key);
}

void CommandContext::NotifyIn(uint32_t db, char event_class, std::string_view event,
                              std::string_view key) {
  if (server.options()->notify_keyspace_events == 0) return;
  server.events().Notify(db, KeyspaceEvents::ClassOf(event_class), event, key);
}

void SuspendedCommand::Resume(std::move_only_function<void(CommandContext&)> finish) const {
  server_->dispatcher().Resume({client_id_, serial_}, std::move(finish));
}

bool SuspendedCommand::alive() const {
  return server_ != nullptr && server_->dispatcher().IsAlive({client_id_, serial_});
}

}  // namespace firn::server
