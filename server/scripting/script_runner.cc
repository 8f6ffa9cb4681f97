#include "server/scripting/script_runner.h"

#include <sys/time.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <utility>

#include "engine/base/check.h"
#include "engine/types/string_ops.h"
#include "server/acl/acl.h"
#include "server/client.h"
#include "server/command_run.h"
#include "server/commands/common.h"
#include "server/dispatcher.h"
#include "server/scripting/lua_reply.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr ScriptFlagName kFlagNames[] = {{"no-writes", kScriptNoWrites},
                                         {"allow-oom", kScriptAllowOom},
                                         {"allow-stale", kScriptAllowStale},
                                         {"no-cluster", kScriptNoCluster},
                                         {"allow-cross-slot-keys", kScriptAllowCrossSlotKeys}};

// What a call is taken to add to the log, besides the bytes of its arguments.
constexpr uint64_t kCallBytes = 256;
constexpr size_t kNumberBytes = 40;
constexpr uint64_t kLeastScriptMemory = 8 << 20;

int64_t SteadyMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

std::span<const ScriptFlagName> ScriptFlagNames() { return kFlagNames; }

ScriptRunner::ScriptRunner(Server* server) : server_(*server), fiber_([this] { Body(); }) {}

int64_t ScriptRunner::running_ms() const { return SteadyMillis() - started_ms_; }

std::string_view ScriptRunner::busy_error() const {
  return script_.is_eval
             ? "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN "
               "NOSAVE."
             : "BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN "
               "NOSAVE.";
}

void ScriptRunner::Kill(Reply* reply, KillKind kind) {
  if (!running()) return reply->Error("NOTBUSY No scripts in execution right now.");
  if (wrote_) {
    return reply->Error(
        "UNKILLABLE Sorry the script already executed write commands against the dataset. You can "
        "either wait the script termination or kill the server in a hard way using the SHUTDOWN "
        "NOSAVE command.");
  }
  if ((kind == KillKind::kScript) != script_.is_eval) return reply->Error(busy_error());
  killed_ = true;
  reply->Ok();
}

// --- from the beginning to the end

bool ScriptRunner::Admit(CommandContext& context, const Script& script) {
  if ((script.flags & (kScriptUndeclared | kScriptNoWrites)) != 0) return true;
  Ticket ticket;
  const Store::WriteGate gate = server_.store().CheckWrite(kCallBytes, false, &ticket);
  server_.store().Release(&ticket);
  if (gate == Store::WriteGate::kDiskFull || gate == Store::WriteGate::kLogFailed) {
    context.reply.Error(
        "MISCONF Redis is configured to persist data to AOF, but it's currently unable to persist "
        "to disk. Writable scripts are blocked. Use 'no-writes' flag for read only scripts. AOF "
        "error: " +
        server_.LogFailureText());
    return false;
  }
  if (script.read_only) {
    context.reply.Error("ERR Can not execute a script with write flag using *_ro command.");
    return false;
  }
  if (gate != Store::WriteGate::kOk && gate != Store::WriteGate::kWait &&
      (script.flags & kScriptAllowOom) == 0) {
    context.reply.Error(
        "OOM allow-oom flag is not set on the script, can not run it when used memory > "
        "'maxmemory'");
    return false;
  }
  return true;
}

void ScriptRunner::Run(CommandContext& context, const Script& script) {
  CHECK_MSG(!running(), "a script within a script");
  if (!Admit(context, script)) return;
  script_ = script;
  if ((script.flags & kScriptUndeclared) == 0 && (script.flags & kScriptNoWrites) != 0) {
    script_.read_only = true;
  }
  name_.assign(script.name);
  command_args_ = context.args;
  client_id_ = context.client.id();
  db_before_ = context.client.db();
  started_ms_ = SteadyMillis();
  gettimeofday(&began_at_, nullptr);
  in_group_ = wrote_ = busy_ = killed_ = error_counted_ = false;
  capture_reply_.set_protocol(2);
  const uint64_t memory = server_.options()->maxmemory;
  script_.vm->set_memory_limit(memory == 0 ? 0 : std::max(memory / 4, kLeastScriptMemory));
  script_.vm->MakeRoom();
  if (server_.monitors().any()) [[unlikely]] {
    outer_ = &context;
    TellMonitors(context.command, context.args, context.client.address().peer);
  }
  Continue(context);
}

void ScriptRunner::Continue(CommandContext& context) {
  outer_ = &context;
  fiber_.Resume();
  outer_ = nullptr;
  if (!fiber_.active()) return End(context);
  Dispatcher& dispatcher = server_.dispatcher();
  if (!dispatcher.in_transaction()) {
    exclusive_ = true;
    dispatcher.ShutOthersOut(context.client);
  }
  SuspendedCommand suspended = context.Suspend();
  auto go_on = [this, suspended] {
    suspended.Resume([this](CommandContext& resumed) { Continue(resumed); });
  };
  switch (wait_) {
    case Wait::kTicket:
      ticket_.on_ready = go_on;
      break;
    case Wait::kSlice:
      server_.loop().Post(go_on);
      break;
    case Wait::kCommand:  // the command's own callback comes by FinishCommand
      break;
  }
}

void ScriptRunner::FinishCommand(CommandContext& context,
                                 std::move_only_function<void(CommandContext&)> finish) {
  CommandContext inner = InnerContext(*call_);
  CommandContext* const outer = std::exchange(outer_, &context);
  finish(inner);
  outer_ = outer;
  if (server_.dispatcher().current_is_suspended()) return;  // once more
  Continue(context);
}

void ScriptRunner::End(CommandContext& context) {
  if (in_group_) server_.store().EndGroup();
  context.client.set_db(db_before_);
  busy_ = false;
  command_args_ = {};
  if (error_counted_) server_.dispatcher().IgnoreError();
  if (std::exchange(exclusive_, false)) server_.dispatcher().LetOthersIn(&context.client);
}

void ScriptRunner::Suspend(Wait wait) {
  wait_ = wait;
  if (wait != Wait::kSlice) ++suspensions_;
  fiber_.Suspend();
}

// On the fiber.
void ScriptRunner::Body() {
  lua_State* lua = script_.vm->lua();
  const int top = lua_gettop(lua);
  lua_sethook(lua, &ScriptRunner::Hook, LUA_MASKCOUNT, kHookInstructions);
  if (lua_cpcall(lua, &ScriptRunner::Main, this) != 0) {
    const char* text = lua_tostring(lua, -1);
    outer_->reply.Error("ERR Error running script " + name_ + ", " +
                        (text == nullptr ? "execution failure" : text));
  }
  script_.vm->set_limited(true);
  lua_settop(lua, top);
}

int ScriptRunner::Main(lua_State* lua) {
  auto& self = *static_cast<ScriptRunner*>(lua_touserdata(lua, 1));
  LuaVm& vm = *self.script_.vm;
  lua_settop(lua, 0);
  vm.PushErrorHandler();
  vm.set_running(self.script_.function);
  lua_rawgeti(lua, LUA_REGISTRYINDEX, self.script_.function);
  self.PushArguments(lua);
  const int arguments = lua_gettop(lua) - 2;
  const int failed = lua_pcall(lua, arguments, 1, 1);
  // A reply that has begun must not fail, nor be interrupted.
  vm.set_limited(false);
  lua_sethook(lua, nullptr, 0, 0);
  if (failed != 0) {
    self.ReplyToError(lua);
  } else {
    self.error_counted_ =
        WriteReply(lua, {.protocol = self.capture_reply_.protocol()}, &self.outer_->reply);
  }
  return 0;
}

void ScriptRunner::PushArguments(lua_State* lua) {
  const auto given = outer_->args.subspan(3);
  auto push = [lua](std::span<const std::string_view> values) {
    lua_createtable(lua, static_cast<int>(values.size()), 0);
    int i = 0;
    for (std::string_view value : values) {
      lua_pushlstring(lua, value.data(), value.size());
      lua_rawseti(lua, -2, ++i);
    }
  };
  push(given.first(script_.key_count));
  if (script_.is_eval) script_.vm->SetGlobal("KEYS");
  push(given.subspan(script_.key_count));
  if (script_.is_eval) script_.vm->SetGlobal("ARGV");
}

// The error lies on the top: a table that LuaVm::ErrorHandler made, or what Lua says when it has no
// memory for that.
void ScriptRunner::ReplyToError(lua_State* lua) {
  if (!lua_istable(lua, -1)) {
    const char* text = lua_tostring(lua, -1);
    outer_->reply.Error("ERR Error running script " + name_ + ", " +
                        (text == nullptr ? "execution failure" : text));
    return;
  }
  auto field = [lua](const char* name) {
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    size_t size = 0;
    const char* bytes = lua_tolstring(lua, -1, &size);
    std::string text = bytes == nullptr ? std::string() : std::string(bytes, size);
    lua_pop(lua, 1);
    return text;
  };
  std::string text = field("err");
  const std::string source = field("source"), line = field("line");
  if (!source.empty() && !line.empty()) {
    text += " script: " + name_ + ", on " + source + ":" + line + ".";
  }
  lua_pushstring(lua, "ignore_error_stats_update");
  lua_rawget(lua, -2);
  error_counted_ = lua_toboolean(lua, -1) != 0;
  lua_pop(lua, 1);
  outer_->reply.Error(text);
}

// --- redis.call

CommandContext ScriptRunner::InnerContext(const Command& command) {
  Client* client = server_.FindClient(client_id_);
  CHECK(client != nullptr);
  return {server_, *client, server_.store(), command, args_, capture_reply_, keys_};
}

std::string_view ScriptRunner::FormatNumber(lua_State* lua, int index) {
  if (digits_.empty()) digits_.resize(kNumberBytes * static_cast<size_t>(lua_gettop(lua)));
  char* to = digits_.data() + kNumberBytes * static_cast<size_t>(index - 1);
  const double number = lua_tonumber(lua, index);
  // Whole numbers without an exponent, as far as a double tells them apart.
  if (std::fabs(number) < 0x1p62 && number == std::trunc(number)) {
    const char* end = std::to_chars(to, to + kNumberBytes, static_cast<int64_t>(number)).ptr;
    return {to, static_cast<size_t>(end - to)};
  }
  const std::string text = FormatDouble(number);
  CHECK(text.size() <= kNumberBytes);
  std::copy(text.begin(), text.end(), to);
  return {to, text.size()};
}

// The arguments stay on the stack, which keeps their bytes where they are.
bool ScriptRunner::CollectArguments(lua_State* lua) {
  const int count = lua_gettop(lua);
  if (count == 0) {
    error_ = "Please specify at least one argument for this redis lib call";
    return false;
  }
  args_.resize(static_cast<size_t>(count));
  digits_.clear();
  for (int i = 1; i <= count; ++i) {
    std::string_view& arg = args_[static_cast<size_t>(i - 1)];
    switch (lua_type(lua, i)) {
      case LUA_TSTRING: {
        size_t size;
        const char* bytes = lua_tolstring(lua, i, &size);
        arg = {bytes, size};
        break;
      }
      case LUA_TNUMBER:
        arg = FormatNumber(lua, i);
        break;
      default:
        error_ = "Lua redis lib command arguments must be strings or integers";
        return false;
    }
  }
  return true;
}

const Command* ScriptRunner::FindCommand() const {
  const Command* command = server_.commands().Find(args_[0]);
  if (command == nullptr || command->subcommands.empty() || args_.size() < 2) return command;
  const Command* sub = server_.commands().FindSub(*command, args_[1]);
  if (sub != nullptr) return sub;
  return command->function != nullptr ? command : nullptr;
}

bool ScriptRunner::IsForTests(const Command& command) const {
  return command.name == "debug" || server_.FullNameOf(command) == "client|list";
}

bool ScriptRunner::MayCall(const Command& command) {
  const int64_t count = static_cast<int64_t>(args_.size());
  const bool fits = command.arity >= 0 ? count == command.arity : count >= -command.arity;
  if (!fits || command.function == nullptr) {
    error_ = "Wrong number of args calling Redis command from script";
    return false;
  }
  // DEMOTE waits for the log to be synced, which can't be while a group is open.
  const bool denied = (command.flags & kNoscript) != 0 && !(may_debug_ && IsForTests(command));
  if (denied || command.name == "demote") {
    error_ = "This Redis command is not allowed from script";
    return false;
  }
  Client& client = outer_->client;
  if (client.restricted()) [[unlikely]] {
    const AclResult result = AclCheck(*client.user(), command, args_);
    if (!result.ok()) {
      server_.acl().Deny(&client, command, args_, result, AclContext::kLua);
      error_ =
          "ACL failure in script: " + AclDenialText(*client.user(), server_.FullNameOf(command),
                                                    args_, result, AclDetail::kBrief);
      return false;
    }
  }
  if (script_.read_only && (command.flags & (kWrite | kMayReplicate)) != 0) {
    error_ = "Write commands are not allowed from read-only scripts.";
    return false;
  }
  return (command.flags & kWrite) == 0 || CheckWrite(command);
}

// Room is asked for before the first write alone: a script that has written can't be stopped, nor
// wait for what can't come before its group is closed.
bool ScriptRunner::CheckWrite(const Command& command) {
  Store& store = server_.store();
  const bool denied_when_full =
      (command.flags & kDenyOom) != 0 && (command.flags & kFreesSpace) == 0;
  if (wrote_ || outer_->client.transaction().running) {
    const uint64_t limit = server_.options()->maxmemory;
    if (denied_when_full && limit != 0 && store.UsedMemory() > limit + limit / 2) {
      error_ = "-" + std::string(kOutOfMemoryError);
      return false;
    }
    if (wrote_) return true;
  }
  if (!outer_->client.transaction().running) {
    uint64_t bytes = kCallBytes;
    for (std::string_view arg : args_) bytes += arg.size();
    for (std::string_view arg : outer_->args) bytes += arg.size();
    const bool frees = !denied_when_full || (script_.flags & kScriptAllowOom) != 0;
    while (true) {
      const Store::WriteGate gate = store.CheckWrite(bytes, frees, &ticket_);
      if (gate == Store::WriteGate::kOk) break;
      if (gate == Store::WriteGate::kWait) {
        Suspend(Wait::kTicket);
        continue;
      }
      store.Release(&ticket_);
      const bool full =
          gate == Store::WriteGate::kOutOfMemory || gate == Store::WriteGate::kOutOfSpace;
      error_ = full ? "-" + std::string(kOutOfMemoryError)
                    : "-MISCONF Errors writing to the AOF file: " + server_.LogFailureText();
      return false;
    }
  }
  wrote_ = in_group_ = true;
  store.BeginGroup();
  return true;
}

bool ScriptRunner::Execute(const Command& command) {
  Store& store = server_.store();
  Dispatcher& dispatcher = server_.dispatcher();
  keys_.clear();
  dispatcher.FindKeysOf(&outer_->client, args_, command, &keys_);
  PlanResult planned = PlanResult::kReady;
  if (!keys_.empty()) planned = store.Plan(keys_, &ticket_);
  call_ = &command;
  while (true) {
    if (planned == PlanResult::kWaiting) {
      Suspend(Wait::kTicket);
      planned = store.Plan(keys_, &ticket_);
      continue;
    }
    if (planned == PlanResult::kReadError) {
      error_ = "-" + Dispatcher::ReadErrorText(ticket_.error());
      store.Release(&ticket_);
      return false;
    }
    const uint64_t errors_before = capture_reply_.errors();
    const uint64_t begin = dispatcher.Ticks();
    dispatcher.ChooseExpiry(command);
    if (server_.options()->notify_keyspace_events != 0) [[unlikely]] {
      server_.events().BeginCommand(command, keys_);
    }
    CommandContext context = InnerContext(command);
    CommandRun run(server_, capture_reply_);
    command.function(context);
    if (!run.MissedPages(command.name)) {
      if (dispatcher.current_is_suspended()) Suspend(Wait::kCommand);
      CountCall(command, errors_before, dispatcher.NanosSince(begin));
      break;
    }
    planned = store.PlanMissing(keys_, &ticket_);
  }
  store.Release(&ticket_);
  return true;
}

void ScriptRunner::CountCall(const Command& command, uint64_t errors_before, uint64_t nanos) {
  const bool failed = capture_reply_.errors() != errors_before;
  server_.dispatcher().CountCallOf(command, {.nanos = nanos, .failed = failed});
  if (failed) server_.NoteError(capture_reply_.last_error());
  server_.events().EndCommand();
  if (server_.monitors().any()) [[unlikely]]
    TellMonitors(command, args_, "lua");
  if (server_.tracking().active()) [[unlikely]] {
    if (outer_->client.tracking() != nullptr) {
      server_.tracking().RememberKeys(&outer_->client, command, args_);
    }
    server_.tracking().LimitKeys();
  }
}

void ScriptRunner::TellMonitors(const Command& command, std::span<const std::string_view> args,
                                std::string_view source) {
  // A script's own line comes before those of its commands: not from the dispatcher, which would
  // send it at the end.
  Command shown = command;
  shown.flags &= ~uint64_t{kSkipMonitor};
  timeval now = {};
  gettimeofday(&now, nullptr);
  server_.monitors().Feed(
      {.command = &shown,
       .args = args,
       .db = outer_->client.db(),
       .time_micros = static_cast<int64_t>(now.tv_sec) * 1'000'000 + now.tv_usec,
       .source = std::string(source)});
}

// What the last call answered, if Lua had no memory to take it.
void ScriptRunner::DropCapture() {
  if (!capture_.empty()) capture_.Clear();
}

int ScriptRunner::Call(lua_State* lua, bool raise) {
  if (!running()) return luaL_error(lua, "no script is running");
  DropCapture();
  bool refused = !CollectArguments(lua);
  if (refused) {
    PushError(lua, error_);
    return raise ? lua_error(lua) : 1;
  }
  const Command* command = FindCommand();
  if (command == nullptr) {
    error_ = "Unknown Redis command called from script";
    refused = true;
  } else if (!MayCall(*command)) {
    server_.dispatcher().CountRejectionOf(*command);
    refused = true;
  } else {
    refused = !Execute(*command);
  }
  if (refused) {
    PushError(lua, error_);
    lua_getfield(lua, -1, "err");
    error_.assign(lua_tostring(lua, -1));
    lua_pop(lua, 1);
    server_.NoteError(error_);
    lua_pushboolean(lua, 1);
    lua_setfield(lua, -2, "ignore_error_stats_update");
    return raise ? lua_error(lua) : 1;
  }
  lua_settop(lua, 0);
  const uint64_t size = capture_.pending_bytes();
  auto parts = capture_.Peek(2, size);
  bool is_error;
  if (parts.size() == 1) {
    is_error = PushReply(lua, {static_cast<const char*>(parts[0].iov_base), parts[0].iov_len});
    capture_.Consume(size);
  } else {
    joined_.clear();
    while (!capture_.empty()) {
      parts = capture_.Peek(64, size);
      uint64_t taken = 0;
      for (const iovec& part : parts) {
        joined_.append(static_cast<const char*>(part.iov_base), part.iov_len);
        taken += part.iov_len;
      }
      capture_.Consume(taken);
    }
    is_error = PushReply(lua, joined_);
    if (joined_.capacity() > kLeastScriptMemory) std::string().swap(joined_);
  }
  return is_error && raise ? lua_error(lua) : 1;
}

int ScriptRunner::CheckAcl(lua_State* lua) {
  if (!CollectArguments(lua)) {
    PushError(lua, error_);
    return lua_error(lua);
  }
  const Command* command = FindCommand();
  if (command == nullptr) {
    PushError(lua, "Invalid command passed to redis.acl_check_cmd()");
    return lua_error(lua);
  }
  lua_pushboolean(lua, AclCheck(*outer_->client.user(), *command, args_).ok());
  return 1;
}

void ScriptRunner::Log(int level, std::string_view text) { server_.Log(level, text); }

void ScriptRunner::Abandon() {
  ticket_.on_ready = nullptr;
  server_.store().Release(&ticket_);
}

// --- the clock

void ScriptRunner::Hook(lua_State* lua, lua_Debug*) {
  static_cast<ScriptRunner*>(LuaVm::Of(lua).context())->Tick(lua);
}

void ScriptRunner::Tick(lua_State* lua) {
  if (load_deadline_ms_ != 0) {
    if (SteadyMillis() <= load_deadline_ms_) return;
    lua_sethook(lua, &ScriptRunner::Hook, LUA_MASKLINE | LUA_MASKCOUNT, 1);
    PushError(lua, "FUNCTION LOAD timeout");
    lua_error(lua);
  }
  if (!running()) return;
  const int64_t threshold = server_.options()->busy_reply_threshold_ms;
  if (!killed_ && threshold > 0 && running_ms() >= threshold) {
    if (!std::exchange(busy_, true)) {
      server_.Log(kLogWarning, "Slow script detected: still in execution after " +
                                   std::to_string(running_ms()) +
                                   " milliseconds. You can try killing the script using the " +
                                   (script_.is_eval ? "SCRIPT KILL" : "FUNCTION KILL") +
                                   " command. Script name is: " + name_ + ".");
      server_.dispatcher().WakeOthers(client_id_);
    }
    Suspend(Wait::kSlice);
  }
  if (!killed_) return;
  server_.Log(kLogNotice, "Lua script killed by user with SCRIPT KILL.");
  // At every line from now on: the script can't catch the error and go on.
  lua_sethook(lua, &ScriptRunner::Hook, LUA_MASKLINE | LUA_MASKCOUNT, 1);
  PushError(lua, "Script killed by user with SCRIPT KILL...");
  lua_error(lua);
}

}  // namespace firn::server
