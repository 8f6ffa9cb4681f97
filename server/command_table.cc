// The table of all rows, the one function that finds keys, and the out-of-line parts of command.h.

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "server/client.h"
#include "server/command.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr size_t kMaxNameSize = 64;

// Lower case into `buffer`; empty if it is too long to be any command's name.
std::string_view LowerCase(std::string_view name, char* buffer) {
  if (name.size() > kMaxNameSize) return {};
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    buffer[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  return {buffer, name.size()};
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
  return true;
}

struct CommandTable::Impl {
  std::unordered_map<std::string_view, const Command*> by_name;
  std::unordered_map<const Command*, size_t> index;
  std::unordered_map<const Command*, std::string> full_names;
};

CommandTable::CommandTable() : impl_(std::make_shared<Impl>()) {
  for (auto rows :
       {StringCommands(), KeyCommands(), ConnectionCommands(), ServerCommands(), TierCommands()}) {
    for (const Command& command : rows) {
      impl_->by_name[command.name] = &command;
      all_.push_back(&command);
    }
  }
  for (const Command* command : all_) {
    impl_->index[command] = impl_->index.size();
    impl_->full_names[command] = std::string(command->name);
    for (const Command& sub : command->subcommands) {
      impl_->index[&sub] = impl_->index.size();
      impl_->full_names[&sub] = std::string(command->name) + "|" + std::string(sub.name);
    }
  }
}

const Command* CommandTable::Find(std::string_view name) const {
  char buffer[kMaxNameSize];
  auto it = impl_->by_name.find(LowerCase(name, buffer));
  return it == impl_->by_name.end() ? nullptr : it->second;
}

const Command* CommandTable::FindSub(const Command& container, std::string_view name) const {
  char buffer[kMaxNameSize];
  std::string_view lower = LowerCase(name, buffer);
  for (const Command& sub : container.subcommands) {
    if (sub.name == lower) return &sub;
  }
  return nullptr;
}

size_t CommandTable::IndexOf(const Command& command) const { return impl_->index.at(&command); }
size_t CommandTable::count() const { return impl_->index.size(); }
const std::string& CommandTable::FullName(const Command& command) const {
  return impl_->full_names.at(&command);
}

// --- CommandContext and SuspendedCommand

Database& CommandContext::db() const { return store.database(client.db()); }

SuspendedCommand CommandContext::Suspend() { return server.dispatcher().Suspend(this); }

void CommandContext::Modified(uint32_t, std::string_view) { ++server.stats().changes; }
void CommandContext::Modified(const HashedKey& key) { Modified(client.db(), key.bytes); }

// Nobody can subscribe before there is pub/sub: an event has no listener.
void CommandContext::Notify(char, std::string_view, std::string_view) {}

void SuspendedCommand::Resume(std::move_only_function<void(CommandContext&)> finish) const {
  server_->dispatcher().Resume({client_id_, serial_}, std::move(finish));
}

bool SuspendedCommand::alive() const {
  return server_ != nullptr && server_->dispatcher().IsAlive({client_id_, serial_});
}

}  // namespace firn::server
