// ScriptRunner: runs one script or function at a time, on a fiber, with what redis.call needs.
//
// A script is atomic. Where one of its commands needs a value that isn't in RAM, or waits for
// anything else, the fiber is suspended, the client's command with it, and the dispatcher runs
// nothing that touches the keyspace for other clients until the script has ended. So it does, to
// let the loop go on, for a script that runs longer than busy-reply-threshold; only then others get
// the error BUSY and may kill it. What a script writes is one group of the log: whole or absent
// after a crash.
//
// Executor thread.
#pragma once

#include <sys/time.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/command.h"
#include "server/net/output_buffer.h"
#include "server/resp/reply.h"
#include "server/scripting/fiber.h"
#include "server/scripting/lua_vm.h"
#include "tiering/store.h"

namespace firn::server {

// What a script declares of itself, behind "#!lua flags=" or to redis.register_function.
enum ScriptFlag : uint32_t {
  kScriptNoWrites = 1 << 0,
  kScriptAllowOom = 1 << 1,
  kScriptAllowStale = 1 << 2,
  kScriptNoCluster = 1 << 3,
  kScriptAllowCrossSlotKeys = 1 << 4,
  kScriptUndeclared = 1 << 5,  // an EVAL script without "#!": as before flags were invented
};
struct ScriptFlagName {
  std::string_view name;
  uint32_t flag;
};
std::span<const ScriptFlagName> ScriptFlagNames();

class ScriptRunner {
 public:
  explicit ScriptRunner(Server* server);

  struct Script {
    LuaVm* vm = nullptr;
    int function = 0;       // LuaVm::Compile's reference
    std::string_view name;  // the digest, or the function's name
    uint32_t flags = 0;
    bool read_only = false;  // EVAL_RO and its like
    bool is_eval = false;
    size_t key_count = 0;  // of the command's arguments from the fourth on; the rest are arguments
  };
  // Runs it as the command's work, which may end later. Answers with an error if it may not run.
  void Run(CommandContext& context, const Script& script);

  bool running() const { return fiber_.active(); }
  // Runs longer than busy-reply-threshold: other clients get busy_error().
  bool busy() const { return busy_; }
  std::string_view busy_error() const;
  bool is_eval() const { return script_.is_eval; }
  const std::string& name() const { return name_; }
  std::span<const std::string_view> command_args() const { return command_args_; }
  int64_t running_ms() const;
  // When it began, since 1970: the time that TIME tells it throughout.
  timeval began_at() const { return began_at_; }
  // SCRIPT KILL, or FUNCTION KILL. Answers.
  enum class KillKind : uint8_t { kScript, kFunction };
  void Kill(Reply* reply, KillKind kind);

  // For the dispatcher: a command of the script has suspended itself; `finish` ends it.
  bool awaits_command() const { return running() && wait_ == Wait::kCommand; }
  void FinishCommand(CommandContext& context,
                     std::move_only_function<void(CommandContext&)> finish);

  // The store goes although a script has not ended.
  void Abandon();

  // How often a script had to wait for the disk, or for room to write.
  uint64_t suspensions() const { return suspensions_; }

  // --- for the functions that scripts call

  // redis.call and redis.pcall: the values on the stack are the arguments. Leaves one result;
  // raises it if it is an error and `raise`.
  int Call(lua_State* lua, bool raise);
  int CheckAcl(lua_State* lua);
  void Log(int level, std::string_view text);
  // DEBUG SET-DISABLE-DENY-SCRIPTS, for tests: whether scripts may call DEBUG and CLIENT LIST.
  void set_may_debug(bool may) { may_debug_ = may; }
  void set_protocol(int protocol) { capture_reply_.set_protocol(protocol); }
  // Of the machine that runs `lua`.
  static void Hook(lua_State* lua, lua_Debug*);
  // So many instructions are run between two looks at the clock.
  static constexpr int kHookInstructions = 100'000;
  // FUNCTION LOAD: the code that registers functions may run until then. 0: none is loaded.
  void set_load_deadline(int64_t steady_ms) { load_deadline_ms_ = steady_ms; }

 private:
  enum class Wait : uint8_t { kTicket, kSlice, kCommand };

  bool Admit(CommandContext& context, const Script& script);
  void Continue(CommandContext& context);
  void End(CommandContext& context);
  void Body();
  static int Main(lua_State* lua);
  void PushArguments(lua_State* lua);
  void ReplyToError(lua_State* lua);
  void Suspend(Wait wait);

  // Fills args_ from the stack. False with error_.
  bool CollectArguments(lua_State* lua);
  std::string_view FormatNumber(lua_State* lua, int index);
  const Command* FindCommand() const;
  // What scripts may call once set_may_debug allows it.
  bool IsForTests(const Command& command) const;
  // Whether the script may call it. False with error_.
  bool MayCall(const Command& command);
  bool CheckWrite(const Command& command);
  // Runs the command in args_, its reply goes to capture_. False with error_.
  bool Execute(const Command& command);
  void CountCall(const Command& command, uint64_t errors_before, uint64_t nanos);
  void TellMonitors(const Command& command, std::span<const std::string_view> args,
                    std::string_view source);
  void DropCapture();
  void Tick(lua_State* lua);
  CommandContext InnerContext(const Command& command);

  Server& server_;
  Fiber fiber_;
  Script script_;
  std::string name_;
  std::span<const std::string_view> command_args_;
  CommandContext* outer_ = nullptr;  // of the client's command, while the fiber runs
  uint64_t client_id_ = 0;
  uint32_t db_before_ = 0;
  int64_t started_ms_ = 0;
  timeval began_at_ = {};
  bool exclusive_ = false;  // others are shut out on the script's behalf
  bool in_group_ = false;
  bool wrote_ = false;
  bool busy_ = false;
  bool killed_ = false;
  bool error_counted_ = false;
  bool may_debug_ = false;
  Wait wait_ = Wait::kTicket;
  int64_t load_deadline_ms_ = 0;

  // The call under way.
  const Command* call_ = nullptr;
  OutputBuffer capture_;
  Reply capture_reply_{&capture_};
  std::vector<std::string_view> args_;
  std::vector<char> digits_;
  std::vector<KeyAccess> keys_;
  Ticket ticket_;
  std::string error_;
  std::string joined_;

  uint64_t suspensions_ = 0;
};

}  // namespace firn::server
