// A command is one row of the command table plus one function. Arity errors, COMMAND and its
// subcommands, ACL categories, the plan of what to fetch, and the refusal of writes derive from the
// row.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "server/resp/reply.h"
#include "tiering/store.h"

namespace firn::server {

class Client;
class Server;
struct Command;

// As COMMAND INFO names them, in lower case.
enum CommandFlag : uint64_t {
  kWrite = 1ull << 0,
  kReadonly = 1ull << 1,
  kDenyOom = 1ull << 2,
  kAdmin = 1ull << 3,
  kPubsub = 1ull << 4,
  kNoscript = 1ull << 5,
  kBlocking = 1ull << 6,
  kLoading = 1ull << 7,
  kStale = 1ull << 8,
  kSkipMonitor = 1ull << 9,
  kSkipSlowlog = 1ull << 10,
  kAsking = 1ull << 11,
  kFast = 1ull << 12,
  kNoAuth = 1ull << 13,
  kMayReplicate = 1ull << 14,
  kNoMandatoryKeys = 1ull << 15,
  kProtected = 1ull << 16,
  kNoAsyncLoading = 1ull << 17,
  kNoMulti = 1ull << 18,
  kMovableKeys = 1ull << 19,
  kAllowBusy = 1ull << 20,
  // Ours, not shown:
  kFreesSpace = 1ull << 40,   // runs although memory or disk is full (DEL, EXPIRE, FLUSHALL)
  kRunsInPlace = 1ull << 41,  // never suspends, so its arguments may stay where they were received
  kHidesArguments = 1ull << 42,  // they hold secrets: logs get RedactedArguments
};

// ACL categories, as bits in the order of ACL CAT.
enum AclCategory : uint64_t {
  kAclKeyspace = 1 << 0,
  kAclRead = 1 << 1,
  kAclWrite = 1 << 2,
  kAclSet = 1 << 3,
  kAclSortedset = 1 << 4,
  kAclList = 1 << 5,
  kAclHash = 1 << 6,
  kAclString = 1 << 7,
  kAclBitmap = 1 << 8,
  kAclHyperloglog = 1 << 9,
  kAclGeo = 1 << 10,
  kAclStream = 1 << 11,
  kAclPubsub = 1 << 12,
  kAclAdmin = 1 << 13,
  kAclFast = 1 << 14,
  kAclSlow = 1 << 15,
  kAclBlocking = 1 << 16,
  kAclDangerous = 1 << 17,
  kAclConnection = 1 << 18,
  kAclTransaction = 1 << 19,
  kAclScripting = 1 << 20,
};

// How COMMAND describes keys (https://redis.io/docs/reference/key-specs), and what a plan wants of
// them.
enum KeyFlag : uint32_t {
  kKeyReadOnly = 1 << 0,
  kKeyReadWrite = 1 << 1,
  kKeyOverwriteOnly = 1 << 2,
  kKeyRemove = 1 << 3,
  kKeyAccess = 1 << 4,
  kKeyUpdate = 1 << 5,
  kKeyInsert = 1 << 6,
  kKeyDelete = 1 << 7,
  kKeyNotKey = 1 << 8,
  kKeyIncomplete = 1 << 9,
  kKeyVariableFlags = 1 << 10,
};
struct KeySpec {
  uint32_t flags = 0;
  Access access = Access::kRead;
  enum class Begin : uint8_t { kIndex, kKeyword, kUnknown } begin = Begin::kIndex;
  int begin_index =
      1;  // kIndex: position; kKeyword: where the search starts (negative: from the end)
  std::string_view keyword = {};
  enum class Find : uint8_t { kRange, kKeynum, kUnknown } find = Find::kRange;
  int last = 0;  // kRange: relative to the first; negative: from the end
  int step = 1;
  int limit = 0;         // kRange with last -1: 2 means half of the rest
  int keynum_index = 0;  // kKeynum: relative to begin
  int first_key = 1;     // kKeynum: relative to begin
  std::string_view notes = {};
};

// An argument for COMMAND DOCS.
struct CommandArgument {
  enum class Type : uint8_t {
    kString,
    kInteger,
    kDouble,
    kKey,
    kPattern,
    kUnixTime,
    kPureToken,
    kOneOf,
    kBlock
  };
  std::string_view name;
  Type type = Type::kString;
  std::string_view token = {};
  enum Flag : uint8_t { kNone = 0, kOptional = 1, kMultiple = 2, kMultipleToken = 4 };
  uint8_t flags = 0;
  int key_spec_index = -1;
  std::string_view since = {};
  std::string_view summary = {};
  std::span<const CommandArgument> arguments = {};  // of kOneOf and kBlock
};

// An asynchronous command's way back. Copyable. If the client is gone meanwhile, Resume does
// nothing.
class SuspendedCommand {
 public:
  // Runs `finish` with the command's context as part of the client's turn, then the client goes on
  // with its pipeline. Executor thread; once. Not from inside the command's function.
  void Resume(std::move_only_function<void(class CommandContext&)> finish) const;
  bool alive() const;

 private:
  friend class Dispatcher;
  Server* server_ = nullptr;
  uint64_t client_id_ = 0;
  uint64_t serial_ = 0;
};

// Everything a command's function gets.
class CommandContext {
 public:
  Server& server;
  Client& client;
  Store& store;
  const Command& command;                  // the subcommand's row where there is one
  std::span<const std::string_view> args;  // args[0] is the name as sent
  Reply& reply;
  // The keys in the order of the row's key specs, hashed; all are resident as planned.
  std::span<const KeyAccess> keys;

  Database& db() const;  // the client's selected database
  const HashedKey& key(size_t i = 0) const { return keys[i].key; }
  int64_t now_ms() const { return store.now_ms(); }

  // Marks the command as not finished when its function returns; it ends by Resume. The arguments
  // stay valid until then.
  SuspendedCommand Suspend();
  // For commands with kRunsInPlace that seldom Suspend: whether this one may, since its arguments
  // have been copied. If not, it must return at once, with nothing changed or replied, and is run
  // again with a copy.
  bool LeavePlace();
  // A key was changed: for WATCH, client-side caching, keyspace events and the counter of changes
  // since the last save.
  void Modified(uint32_t db, std::string_view key);
  void Modified(const HashedKey& key);  // in db()
  // A keyspace notification (notify-keyspace-events), such as ('$', "set", key).
  void Notify(char event_class, std::string_view event, std::string_view key);
  // The same for a key in a database that isn't the client's.
  void NotifyIn(uint32_t db, char event_class, std::string_view event, std::string_view key);
};

using CommandFunction = void (*)(CommandContext& context);
// Refines what a plan wants of the keys, given the arguments (SET with GET reads, without it
// overwrites).
using AccessFunction = Access (*)(std::span<const std::string_view> args, const KeySpec& spec);

struct CommandHistory {
  std::string_view version;
  std::string_view change;
};

struct Command {
  std::string_view name;               // lower case
  int arity;                           // negative: at least
  uint64_t flags;                      // of CommandFlag
  uint64_t acl_categories;             // of AclCategory, besides those that follow from flags
  CommandFunction function = nullptr;  // null for a container
  std::span<const KeySpec> key_specs = {};
  AccessFunction access = nullptr;
  // Finds keys that the specs can't describe but that the arguments name.
  void (*more_keys)(std::span<const std::string_view> args,
                    std::vector<struct FoundKey>* keys) = nullptr;
  std::span<const Command> subcommands = {};
  // For COMMAND DOCS:
  std::string_view group = {};
  std::string_view since = {};
  std::string_view complexity = {};
  std::string_view summary = {};
  std::string_view replaced_by = {};  // not empty: deprecated
  std::string_view deprecated_since = {};
  std::span<const CommandHistory> history = {};
  std::span<const std::string_view> tips = {};
  std::span<const CommandArgument> arguments = {};

  // A dense number, for statistics. Given by CommandTable.
  uint32_t index = 0;
};

// The rows of each family, defined beside their functions in server/commands/.
std::span<const Command> AclCommands();
std::span<const Command> StringCommands();
std::span<const Command> KeyCommands();
std::span<const Command> ConnectionCommands();
std::span<const Command> DumpCommands();
std::span<const Command> ServerCommands();
std::span<const Command> ListCommands();
std::span<const Command> HashCommands();
std::span<const Command> ObservationCommands();
std::span<const Command> PubSubCommands();
std::span<const Command> ScriptCommands();
std::span<const Command> SetCommands();
std::span<const Command> SortCommands();
std::span<const Command> StreamCommands();
std::span<const Command> TierCommands();
std::span<const Command> TransactionCommands();
std::span<const Command> ZsetCommands();
std::span<const Command> ZsetCombineCommands();
std::span<const Command> BitmapCommands();
std::span<const Command> HyperLogLogCommands();
std::span<const Command> GeoCommands();

// All rows by name, copied from those of the families. Built once a server; look-ups ignore case.
class CommandTable {
 public:
  CommandTable();
  const Command* Find(std::string_view name) const;
  // By its name in the rows, also of a subcommand ("config|get"), however it was renamed.
  const Command* FindOriginal(std::string_view full_name) const;
  // rename-command: the command is found under `name` alone, under none if that is empty. kInvalid
  // with the text to print if there is no such command, or the name is taken.
  Status Rename(std::string_view command, std::string_view name);
  // The row of a container's subcommand, null if unknown.
  const Command* FindSub(const Command& container, std::string_view name) const;
  std::span<const Command* const> all() const { return all_; }
  // A dense number for statistics, by command or subcommand.
  size_t IndexOf(const Command& command) const { return command.index; }
  size_t count() const;
  // "get", "config|get".
  const std::string& FullName(const Command& command) const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  std::vector<const Command*> all_;
};

// The positions of the keys among `args`, by the row's specs: the one function that plans, ACL and
// COMMAND GETKEYS share.
struct FoundKey {
  size_t argument;
  const KeySpec* spec;
};
// False if the arguments don't fit the specs (a bad numkeys).
bool FindKeys(const Command& command, std::span<const std::string_view> args,
              std::vector<FoundKey>* keys);

}  // namespace firn::server
