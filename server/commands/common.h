// What the command functions share: error texts, argument parsing that answers the client, look-ups
// with their counters and events, and the two shapes of asynchronous commands.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/command.h"

namespace firn::server {

inline constexpr std::string_view kSyntaxError = "ERR syntax error";
inline constexpr std::string_view kNotAnIntegerError =
    "ERR value is not an integer or out of range";
inline constexpr std::string_view kNotAFloatError = "ERR value is not a valid float";
inline constexpr std::string_view kWrongTypeError =
    "WRONGTYPE Operation against a key holding the wrong kind of value";
inline constexpr std::string_view kNoSuchKeyError = "ERR no such key";
inline constexpr std::string_view kSameObjectError =
    "ERR source and destination objects are the same";
inline constexpr std::string_view kDatabaseRangeError = "ERR DB index is out of range";
inline constexpr std::string_view kOutOfMemoryError =
    "OOM command not allowed when used memory > 'maxmemory'.";

bool EqualsIgnoreCase(std::string_view a, std::string_view b);
// Error texts show what clients sent as C strings.
std::string_view UpToNul(std::string_view text);

// --- arguments. Each answers the client with an error and returns false if the text doesn't fit.

bool ParseIntegerOr(CommandContext& context, std::string_view text, int64_t* value,
                    std::string_view error = kNotAnIntegerError);
struct IntegerRange {
  int64_t min;
  int64_t max;
};
// The error names the range if the text is an integer outside it, unless `error` is given.
bool ParseRangeOr(CommandContext& context, std::string_view text, IntegerRange range,
                  int64_t* value, std::string_view error = {});
bool ParseLongDoubleOr(CommandContext& context, std::string_view text, long double* value);
// The number of a database, within the configured ones. `error` is for what is no 32-bit integer.
bool ParseDatabaseOr(CommandContext& context, std::string_view text, uint32_t* number,
                     std::string_view error = {});
// Answers with the wrong number of arguments for this command.
void ArityError(CommandContext& context);
// "unknown subcommand or wrong number of arguments", as commands say that take their subcommands
// apart themselves.
void SubcommandError(CommandContext& context);
// The command's name as error texts have it: "config|get" for a subcommand.
std::string FullName(const CommandContext& context);

// The longest string: proto-max-bulk-len, but for one beyond all measure.
uint64_t MaxStringBytes(const CommandContext& context);
// The most that one unstreamable reply may take, so that no command outgrows maxmemory.
uint64_t MaxReplyBytes(const CommandContext& context);

// --- look-ups

// For commands that read: counts a hit or miss and sends the keymiss event.
Database::KeyInfo LookupForRead(CommandContext& context, const HashedKey& key);
// As LookupForRead, for commands that don't count as an access to the value.
Database::KeyInfo LookupUntouched(CommandContext& context, const HashedKey& key);
// For commands that write.
Database::KeyInfo LookupForWrite(CommandContext& context, const HashedKey& key);
// Answers WRONGTYPE and returns false unless the key is absent or a string.
bool CheckString(CommandContext& context, const Database::KeyInfo& info);

// Whether Redis would share the objects of small integers with the present maxmemory-policy.
bool SharesIntegers(const CommandContext& context);
// What the access clock of a key says; its meaning depends on maxmemory-policy.
bool LfuSelected(const CommandContext& context);
int64_t IdleSeconds(const CommandContext& context, uint32_t access);
int64_t AccessFrequency(const CommandContext& context, uint32_t access);

// Makes the key a string, in the compact form if the bytes are an integer in its shortest form.
void StoreString(Database& db, const HashedKey& key, std::string_view value,
                 Database::SetOptions options);

// The lines of a container's HELP. Lines are pairs: what to write, what it does.
struct HelpLine {
  std::string_view usage;
  std::string_view text;
};
void ReplyHelp(CommandContext& context, std::string_view container,
               std::span<const HelpLine> lines);

// --- asynchronous commands

// Whether the command is part of a transaction or a script, where nobody waits but for the disk.
bool RunsAtomically(const CommandContext& context);

// A command whose reply comes from a callback of the store, which may be called at once or later
// from the loop:
//
//   auto pending = PendingCommand::Begin(context);
//   context.store.CountKeys(db, [pending](uint64_t n) {
//     pending->Finish([n](CommandContext& c) { c.reply.Integer(n); }); });
//   pending->Return();
class PendingCommand {
 public:
  using Finisher = std::move_only_function<void(CommandContext&)>;

  static std::shared_ptr<PendingCommand> Begin(CommandContext& context);
  // Once. Dropped if the client is gone.
  void Finish(Finisher finisher);
  // The last thing that the command's function does with `pending`.
  void Return();
  // False when the client is gone: there is no point in going on.
  bool alive() const;

 private:
  explicit PendingCommand(CommandContext& context) : context_(&context) {}
  CommandContext* context_;  // null once the function has returned
  Finisher finisher_;
  SuspendedCommand suspended_;
};

// Runs `run` once all of `keys` are resident as wanted: for commands whose keys the key
// specification can't name (in another database, behind a keyword). The last thing that a command's
// function does; `run` may be called at once. `keys` point into the command's arguments.
void RunWithKeys(CommandContext& context, std::vector<KeyAccess> keys,
                 PendingCommand::Finisher run);

}  // namespace firn::server
