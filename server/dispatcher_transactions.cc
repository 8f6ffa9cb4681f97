// The dispatcher's part of transactions: queueing, and EXEC.

#include <algorithm>
#include <charconv>
#include <utility>

#include "engine/base/check.h"
#include "server/acl/acl.h"
#include "server/command_run.h"
#include "server/commands/common.h"
#include "server/dispatcher.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// What a command that is only queued is taken to write.
constexpr uint64_t kLeastWriteBytes = 128;

bool RunsAtOnce(const Command& command) {
  constexpr std::string_view kNames[] = {"exec", "discard", "multi", "watch", "quit", "reset"};
  return std::find(std::begin(kNames), std::end(kNames), command.name) != std::end(kNames);
}

// These wait for the log to be synced or closed, which can't be while a group of it is open.
bool NeedsClosedGroup(const Command& command, std::span<const std::string_view> args) {
  if (command.name == "debug" && args.size() > 1) {
    return EqualsIgnoreCase(args[1], "reload") || EqualsIgnoreCase(args[1], "loadaof");
  }
  return command.name == "demote" || command.name == "shutdown";
}

}  // namespace

bool Dispatcher::QueueInTransaction(Client* client, std::span<const std::string_view> args,
                                    const Command& command) {
  Transaction& transaction = client->transaction();
  if ((command.flags & kNoMulti) != 0 || NeedsClosedGroup(command, args)) {
    Reject(client, &command, "ERR Command not allowed inside a transaction");
    return true;
  }
  if (RunsAtOnce(command)) return false;
  if ((command.flags & kDenyOom) != 0 && (command.flags & kFreesSpace) == 0) {
    Ticket ticket;
    Store::WriteGate gate = server_.store().CheckWrite(kLeastWriteBytes, false, &ticket);
    server_.store().Release(&ticket);
    if (gate == Store::WriteGate::kOutOfMemory || gate == Store::WriteGate::kOutOfSpace) {
      Reject(client, &command, kOutOfMemoryError);
      return true;
    }
  }
  client->set_last_command(&command);
  if (!transaction.failed && !transaction.touched) {
    auto queued = std::make_unique<Request>();
    CopyArguments(args, queued.get());
    queued->command = &command;
    const uint64_t bytes = sizeof(Request) + queued->bytes.capacity() +
                           queued->args.capacity() * sizeof(std::string_view);
    if (bytes >
        server_.MaxRequestBytes() - std::min(transaction.bytes, server_.MaxRequestBytes())) {
      Reject(client, &command, kOutOfMemoryError);
      client->DropQueuedCommands();
      return true;
    }
    transaction.bytes += bytes;
    transaction.writes |= (command.flags & kWrite) != 0;
    transaction.commands.push_back(std::move(queued));
  }
  client->reply().SimpleString("QUEUED");
  return true;
}

void Dispatcher::CollectTransactionKeys(Client* client, Request* request) {
  const uint32_t db_before = client->db();
  request->keys.clear();
  for (const auto& command : client->transaction().commands) {
    if (command->command->name == "select" && command->args.size() == 2) {
      uint32_t db = 0;
      std::string_view text = command->args[1];
      auto parsed = std::from_chars(text.data(), text.data() + text.size(), db);
      if (parsed.ec == std::errc() && db < server_.store().databases()) client->set_db(db);
    }
    // Each list begins empty: a key's hash is only known for the first.
    std::vector<KeyAccess> keys;
    CollectKeys(client, {command->args, command->command, &keys, nullptr, nullptr, nullptr});
    request->keys.insert(request->keys.end(), keys.begin(), keys.end());
  }
  client->set_db(db_before);
}

bool Dispatcher::ChangesHeldKeys(const Client& client, const Command& command,
                                 std::span<const std::string_view> args) const {
  HeldKeys& held = server_.held_keys();
  std::vector<FoundKey> keys;
  if (!held.any() || !FindKeys(command, args, &keys)) return false;
  return std::ranges::any_of(keys, [&](const FoundKey& key) {
    return (key.spec->flags & kKeyReadOnly) == 0 && held.HoldsBack(client.db(), args[key.argument]);
  });
}

bool Dispatcher::IsPaused(const Client& client, const Command& command,
                          std::span<const std::string_view> args) const {
  if (!server_.holds_back() || client.transaction_.running) return false;
  if (server_.pause() == PauseKind::kAll) return true;
  if ((command.flags & (kWrite | kMayReplicate)) != 0) {
    if (server_.scripting().RunsReadOnly(command, args)) return false;
    return server_.pause() == PauseKind::kWrite || ChangesHeldKeys(client, command, args);
  }
  if (command.name != "exec") return false;
  const auto& commands = client.transaction_.commands;
  return std::any_of(commands.begin(), commands.end(), [&](const auto& step) {
    return IsPaused(client, *step->command, step->args);
  });
}

void Dispatcher::ChooseExpiry(const Command& command) const {
  if (server_.pause() == PauseKind::kNone) [[likely]]
    return;
  server_.store().KeepExpired((command.flags & kWrite) == 0);
}

void Dispatcher::AbortTransaction(Client* client, const Command& exec, std::string_view reason) {
  client->DiscardTransaction();
  Reject(client, &exec, "EXECABORT Transaction discarded because of: " + std::string(reason));
  client->AdvanceReplyMode();
}

Dispatcher::Progress Dispatcher::BeginTransaction(Client* client, Request* request) {
  Transaction& transaction = client->transaction();
  Store& store = server_.store();
  if (transaction.writes && server_.saver().RefusesWrites()) [[unlikely]] {
    AbortTransaction(client, *request->command, kSnapshotFailedError);
    return Progress::kDone;
  }
  if (transaction.writes) {
    bool frees = true;
    for (const auto& command : transaction.commands) {
      const uint64_t flags = command->command->flags;
      if ((flags & kDenyOom) != 0 && (flags & kFreesSpace) == 0) frees = false;
    }
    switch (store.CheckWrite(transaction.bytes, frees, &request->ticket)) {
      case Store::WriteGate::kOk:
        break;
      case Store::WriteGate::kWait:
        return Progress::kWaiting;
      case Store::WriteGate::kOutOfMemory:
      case Store::WriteGate::kOutOfSpace:
        AbortTransaction(client, *request->command, kOutOfMemoryError);
        return Progress::kDone;
      case Store::WriteGate::kDiskFull:
      case Store::WriteGate::kLogFailed:
        AbortTransaction(client, *request->command,
                         "MISCONF Errors writing to the AOF file: " + server_.LogFailureText());
        return Progress::kDone;
    }
  }
  CollectTransactionKeys(client, request);
  if (!request->keys.empty()) {
    PlanResult planned = store.Plan(request->keys, &request->ticket);
    if (planned == PlanResult::kWaiting) return Progress::kWaiting;
    if (planned == PlanResult::kReadError) {
      AbortTransaction(client, *request->command, ReadErrorText(request->ticket.error()));
      return Progress::kDone;
    }
  }
  server_.watches().Unwatch(client);
  transaction.running = true;
  exclusive_client_ = client->id();
  client->reply().ArrayHeader(static_cast<int64_t>(transaction.commands.size()));
  if (transaction.writes) {
    store.BeginGroup();
    transaction.in_group = true;
  }
  return Progress::kSuspended;
}

Dispatcher::Progress Dispatcher::RunTransaction(Client* client, Request* request) {
  Transaction& transaction = client->transaction();
  if (!transaction.running) {
    const int64_t now_ms = server_.store().expiry_clock_ms();
    for (const WatchedKey& key : transaction.watched) {
      if (key.expiry_ms >= 0 && key.expiry_ms <= now_ms) transaction.touched = true;
    }
    if (!transaction.open || transaction.failed || transaction.touched) {
      request->keys.clear();
      return Run(client, {request->args, request->command, &request->keys, &request->ticket,
                          request, nullptr});
    }
    Progress begun = BeginTransaction(client, request);
    if (begun != Progress::kSuspended) return begun;
  }
  while (transaction.next < transaction.commands.size()) {
    Request& step = *transaction.commands[transaction.next];
    if (step.ticket.waiting()) return Progress::kWaiting;
    Progress progress = RunStep(client, request, &step);
    if (progress != Progress::kDone) return progress;
    server_.store().Release(&step.ticket);
    ++transaction.next;
  }
  EndTransaction(client, *request->command);
  return Progress::kDone;
}

// One of the queued commands, as far as it goes.
Dispatcher::Progress Dispatcher::RunStep(Client* client, Request* exec, Request* step) {
  Store& store = server_.store();
  if (client->restricted() && !AdmitStep(client, *step)) [[unlikely]]
    return Progress::kDone;
  step->keys.clear();
  CollectKeys(client, {step->args, step->command, &step->keys, &step->ticket, nullptr, nullptr});
  PlanResult planned = PlanResult::kReady;
  if (!step->keys.empty()) planned = store.Plan(step->keys, &step->ticket);
  while (planned == PlanResult::kReady) {
    CommandContext context{server_,    *client,         store,     *step->command,
                           step->args, client->reply(), step->keys};
    current_client_ = client;
    current_args_ = step->args;
    current_request_ = exec;
    step_errors_before_ = client->reply().errors();
    ChooseExpiry(*step->command);
    if (server_.options()->notify_keyspace_events != 0) [[unlikely]] {
      server_.events().BeginCommand(*step->command, step->keys);
    }
    CommandRun run(server_, client->reply());
    step->command->function(context);
    if (!run.MissedPages(step->command->name)) {
      if (exec->state == Request::State::kSuspended) {
        ClearCurrent();
        return Progress::kSuspended;
      }
      FinishStep(client, *step->command);
      return Progress::kDone;
    }
    CHECK(!current_is_suspended());
    ClearCurrent();
    planned = store.PlanMissing(step->keys, &step->ticket);
  }
  if (planned == PlanResult::kWaiting) {
    step->ticket.on_ready = [&server = server_, id = client->id()] { server.NoteReady(id); };
    return Progress::kWaiting;
  }
  client->reply().Error(ReadErrorText(step->ticket.error()));
  server_.NoteError(client->reply().last_error());
  return Progress::kDone;
}

// Rights may have changed since it was queued.
bool Dispatcher::AdmitStep(Client* client, const Request& step) {
  const AclResult result = AclCheck(*client->user(), *step.command, step.args);
  if (result.ok()) return true;
  client->set_last_command(server_.commands().FindOriginal("exec"));
  server_.acl().Deny(client, *step.command, step.args, result, AclContext::kMulti);
  std::string_view reason = "no permission to execute the command or subcommand";
  if (result.denial == AclDenial::kKey) reason = "no permission to touch the specified keys";
  if (result.denial == AclDenial::kChannel) {
    reason = "no permission to access one of the channels used as arguments to the command";
  }
  client->reply().Error(
      "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC "
      "call. This command is no longer allowed for the following reason: " +
      std::string(reason));
  server_.NoteError(client->reply().last_error());
  return false;
}

void Dispatcher::FinishStep(Client* client, const Command& command) {
  client->set_last_command(&command);
  CountRun(client, command, step_errors_before_);
  ClearCurrent();
}

void Dispatcher::EndTransaction(Client* client, const Command& exec) {
  if (std::exchange(client->transaction().in_group, false)) server_.store().EndGroup();
  client->DiscardTransaction();
  client->set_last_command(&exec);
  current_client_ = client;
  current_args_ = client->queue_.front()->args;
  Finish(client, exec, client->reply().errors());
  LetOthersIn(client);
}

void Dispatcher::LetOthersIn(Client* client) {
  exclusive_client_ = 0;
  for (auto& resume : std::exchange(deferred_resumes_, {})) {
    server_.loop().Post([this, resume = std::move(resume)]() mutable {
      Resume(resume.first, std::move(resume.second));
    });
  }
  if (std::exchange(others_wait_, false)) WakeOthers(client->id());
  client->EndTransactionHold();
}

void Dispatcher::WakeOthers(uint64_t client_id) {
  for (const auto& [id, other] : server_.clients()) {
    if (id != client_id) server_.NoteReady(id);
  }
}

}  // namespace firn::server
