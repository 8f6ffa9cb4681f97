#include "server/dispatcher.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/acl/acl.h"
#include "server/command_run.h"
#include "server/commands/common.h"
#include "server/rdb_save.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// What a record adds to the bytes of its key and value.
constexpr uint64_t kRecordOverhead = 128;

// Redis' words: clients know them.
constexpr std::string_view kLoadingError = "LOADING Redis is loading the dataset in memory";

std::string UnknownCommandText(std::span<const std::string_view> args) {
  constexpr size_t kShown = 128;
  std::string shown;
  for (size_t i = 1; i < args.size() && shown.size() < kShown; ++i) {
    shown += "'" + std::string(UpToNul(args[i].substr(0, kShown - shown.size()))) + "' ";
  }
  return "ERR unknown command '" + std::string(UpToNul(args[0].substr(0, kShown))) +
         "', with args beginning with: " + shown;
}

// A page in a browser can make it send HTTP requests to a server on its machine, with commands
// among their lines.
constexpr const char* kHttpWarning =
    "Possible SECURITY ATTACK detected. It looks like somebody is sending POST or Host: commands "
    "to "
    "Firn. This is likely due to an attacker attempting to use Cross Protocol Scripting to "
    "compromise your Firn instance. Connection aborted from ";

bool IsHttp(std::string_view name) {
  return EqualsIgnoreCase(name, "post") || EqualsIgnoreCase(name, "host:");
}

// What a subscriber under RESP2 may send: replies to anything else could be taken for messages.
bool MayListenerRun(const Command& command) {
  constexpr std::string_view kNames[] = {"ping",         "subscribe",   "psubscribe",
                                         "ssubscribe",   "unsubscribe", "punsubscribe",
                                         "sunsubscribe", "quit",        "reset"};
  return std::find(std::begin(kNames), std::end(kNames), command.name) != std::end(kNames);
}

}  // namespace

Dispatcher::Dispatcher(Server* server)
    : server_(*server),
      places_(server->commands().count()),
      statistics_(server->commands().count()) {
  FindKeyPlaces();
  FindMerged();
}

void Dispatcher::ResetStatistics() {
  std::fill(statistics_.begin(), statistics_.end(), CommandStatistics());
  command_nanos_ = 0;
}

uint64_t Dispatcher::Lap() {
  uint64_t now = clock_.Now();
  return clock_.ToNanos(now - std::exchange(lap_, now));
}

// --- from the stream

void Dispatcher::Handle(Client* client, const ParsedRequest& request) {
  const std::span<const std::string_view> args = request.args;
  if (!client->queue_.empty() || IsShutOut(*client)) {
    others_wait_ = true;
    Enqueue(client, args, nullptr);
    if (server_.scripting().runner().busy()) RunQueue(client);
    return;
  }
  const Command* command = Resolve(client, args, request.command);
  if (command == nullptr || !Admit(client, args, *command)) {
    client->AdvanceReplyMode();
    return;
  }
  if (server_.holds_back() && IsPaused(*client, *command, args)) [[unlikely]] {
    Enqueue(client, args, nullptr);
    client->queue_.back()->paused = true;
    return;
  }
  if (client->transaction().open && QueueInTransaction(client, args, *command)) {
    client->AdvanceReplyMode();
    return;
  }
  if ((command->flags & kRunsInPlace) == 0) {
    Enqueue(client, args, command);
    RunQueue(client);
    return;
  }
  keys_.clear();
  Work work{args, command, &keys_, &client->ticket_, nullptr, &request};
  CollectKeys(client, work);
  if (TryRun(client, work) == Progress::kWaiting) {
    server_.store().Release(&client->ticket_);
    Enqueue(client, args, command);
    RunQueue(client);
  }
  ServeBlocked();
}

void Dispatcher::ServeBlocked() {
  if (server_.blocking().has_ready() && exclusive_client_ == 0) server_.blocking().ServeReady();
}

void Dispatcher::Refuse(Client* client, Request::Refusal refusal) {
  if (refusal == Request::Refusal::kProtocolError) client->refuses_input_ = true;
  auto request = std::make_unique<Request>();
  request->serial = client->next_serial_++;
  request->refusal = refusal;
  client->queue_.push_back(std::move(request));
  RunQueue(client);
}

void Dispatcher::CopyArguments(std::span<const std::string_view> args, Request* request) {
  size_t size = 0;
  for (std::string_view arg : args) size += arg.size();
  request->bytes.reserve(size);
  request->args.reserve(args.size());
  for (std::string_view arg : args) {
    size_t begin = request->bytes.size();
    request->bytes.append(arg);
    request->args.push_back(std::string_view(request->bytes).substr(begin, arg.size()));
  }
}

void Dispatcher::Enqueue(Client* client, std::span<const std::string_view> args,
                         const Command* command) {
  auto request = std::make_unique<Request>();
  request->serial = client->next_serial_++;
  if (client->EndsInput(args)) {
    request->args.assign(args.begin(), args.end());
    request->bytes = client->TakeInput();
  } else {
    CopyArguments(args, request.get());
  }
  request->command = command;
  bool is_ahead = !client->queue_.empty();
  Request* raw = request.get();
  client->queue_.push_back(std::move(request));
  if (!is_ahead) return;
  // Look-ahead: what it will need from the disk is fetched while those before it wait. Commands
  // before it may change what it needs (SELECT, RESET); it is planned again when its turn comes.
  const Command* row = server_.commands().Find(raw->args[0]);
  if (row == nullptr || !row->subcommands.empty() || row->key_specs.empty()) return;
  if ((row->flags & kPubsub) != 0) return;
  if (!client->authenticated() || !server_.store().MayLookAhead()) return;
  found_.clear();
  if (!FindKeys(*row, raw->args, &found_)) return;
  for (const FoundKey& found : found_) {
    Access access = row->access ? row->access(raw->args, *found.spec) : found.spec->access;
    raw->keys.push_back({client->db(), server_.store().Key(raw->args[found.argument]), access});
  }
  raw->ticket.on_ready = [&server = server_, id = client->id()] { server.NoteReady(id); };
  if (server_.store().Plan(raw->keys, &raw->ticket) == PlanResult::kReady) {
    server_.store().Release(&raw->ticket);
  }
  raw->keys.clear();
}

bool Dispatcher::IsReady(const Client& client, const Request& request) const {
  if (IsShutOut(client)) {
    others_wait_ = true;
    // If it is shut out for long, it is told so.
    return request.command == nullptr && request.refusal == Request::Refusal::kNone &&
           server_.scripting().runner().busy();
  }
  if (request.state != Request::State::kQueued || request.ticket.waiting()) return false;
  const bool held_back = server_.pause() != PauseKind::kNone || server_.held_keys().awaited();
  if (request.paused && held_back) return false;
  const Transaction& transaction = client.transaction_;
  if (transaction.running && transaction.next < transaction.commands.size()) {
    return !transaction.commands[transaction.next]->ticket.waiting();
  }
  return true;
}

void Dispatcher::RunQueue(Client* client) {
  while (!client->queue_.empty() && !client->closing_ && !client->close_after_reply_) {
    Request& request = *client->queue_.front();
    if (!IsReady(*client, request)) return;
    Progress progress = Progress::kDone;
    switch (request.refusal) {
      case Request::Refusal::kNone:
        progress = RunQueued(client, &request);
        break;
      case Request::Refusal::kTooLarge:
        Reject(client, nullptr, "OOM command not allowed when used memory > 'maxmemory'.");
        client->AdvanceReplyMode();
        break;
      case Request::Refusal::kProtocolError:
        client->ProtocolError();
        break;
    }
    if (progress == Progress::kWaiting) {
      request.ticket.on_ready = [&server = server_, id = client->id()] { server.NoteReady(id); };
    }
    if (progress != Progress::kDone) return;
    server_.store().Release(&request.ticket);
    server_.blocking().Forget(client->id());
    client->PopRequest();
    ServeBlocked();
  }
}

void Dispatcher::RunBlocked(uint64_t client_id) {
  Client* client = server_.FindClient(client_id);
  if (client == nullptr || client->closing_ || client->queue_.empty()) return;
  Request& request = *client->queue_.front();
  if (request.state != Request::State::kSuspended) return;
  request.state = Request::State::kQueued;
  if (!IsReady(*client, request)) return;  // it has its turn later
  Progress progress = RunQueued(client, &request);
  if (progress == Progress::kWaiting) {
    request.ticket.on_ready = [&server = server_, client_id] { server.NoteReady(client_id); };
  }
  if (progress != Progress::kDone) return;
  server_.store().Release(&request.ticket);
  server_.blocking().Forget(client_id);
  client->PopRequest();
  server_.NoteReady(client_id);
  server_.NoteActive(client);
}

Dispatcher::Progress Dispatcher::RunQueued(Client* client, Request* request) {
  request->paused = false;
  if (request->command == nullptr) {
    const Command* named = server_.commands().Find(request->args[0]);
    const Command* command = Resolve(client, request->args, named);
    if (command == nullptr || !Admit(client, request->args, *command)) {
      client->AdvanceReplyMode();
      return Progress::kDone;
    }
    request->paused = IsPaused(*client, *command, request->args);
    if (request->paused) return Progress::kWaiting;
    if (IsShutOut(*client)) {
      const Progress busy = CheckBusy(client, *command);
      if (busy == Progress::kWaiting) request->command = command;
      if (busy != Progress::kSuspended) return busy;
    }
    if (client->transaction().open && QueueInTransaction(client, request->args, *command)) {
      client->AdvanceReplyMode();
      return Progress::kDone;
    }
    request->command = command;
  } else if (client->restricted() && !client->transaction().running) [[unlikely]] {
    // It has waited, and its rights may have changed meanwhile.
    if (!AdmitRestricted(client, request->args, *request->command)) {
      client->AdvanceReplyMode();
      return Progress::kDone;
    }
  }
  request->paused = IsPaused(*client, *request->command, request->args);
  if (request->paused) return Progress::kWaiting;
  if (request->command->name == "exec") return RunTransaction(client, request);
  Work work{request->args, request->command, &request->keys, &request->ticket, request, nullptr};
  request->keys.clear();
  CollectKeys(client, work);
  return TryRun(client, work);
}

Dispatcher::Progress Dispatcher::CheckBusy(Client* client, const Command& command) {
  const std::string_view error = server_.scripting().runner().busy_error();
  if (command.name == "exec" && client->transaction().open) {
    AbortTransaction(client, command, error);
    return Progress::kDone;
  }
  if ((command.flags & kAllowBusy) == 0) {
    Reject(client, &command, error);
    client->AdvanceReplyMode();
    return Progress::kDone;
  }
  // WATCH looks at keys.
  return command.key_specs.empty() ? Progress::kSuspended : Progress::kWaiting;
}

// --- checks

const Command* Dispatcher::Resolve(Client* client, std::span<const std::string_view> args,
                                   const Command* command) {
  if (command == nullptr) {
    if (IsHttp(args[0])) {
      server_.Log(kLogWarning, kHttpWarning + client->address().peer);
      client->CloseSoon();
      return nullptr;
    }
    Reject(client, nullptr, UnknownCommandText(args));
    return nullptr;
  }
  if (command->subcommands.empty() || args.size() < 2) return command;
  const Command* sub = server_.commands().FindSub(*command, args[1]);
  if (sub != nullptr) return sub;
  if (command->function != nullptr) return command;
  std::string upper(command->name);
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  Reject(client, command,
         "ERR unknown subcommand '" + std::string(UpToNul(args[1].substr(0, 128))) + "'. Try " +
             upper + " HELP.");
  return nullptr;
}

bool Dispatcher::Admit(Client* client, std::span<const std::string_view> args,
                       const Command& command) {
  int64_t count = static_cast<int64_t>(args.size());
  bool fits = command.arity >= 0 ? count == command.arity : count >= -command.arity;
  if (!fits || command.function == nullptr) {
    Reject(client, &command,
           "ERR wrong number of arguments for '" + server_.FullNameOf(command) + "' command");
    return false;
  }
  if (client->only_listens() && !MayListenerRun(command)) [[unlikely]] {
    Reject(client, &command,
           "ERR Can't execute '" + server_.FullNameOf(command) +
               "': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
               "this context");
    return false;
  }
  if ((command.flags & kProtected) && !server_.MayUseProtected(command, *client)) {
    Reject(client, &command, server_.ProtectedText(command));
    return false;
  }
  if (client->restricted() && !AdmitRestricted(client, args, command)) [[unlikely]]
    return false;
  const bool refused =
      server_.first_loading() && (command.flags & kLoading) == 0 && !server_.IsFeed(*client);
  if (refused) [[unlikely]]
    Reject(client, &command, kLoadingError);
  return !refused;
}

bool Dispatcher::AdmitRestricted(Client* client, std::span<const std::string_view> args,
                                 const Command& command) {
  if (!client->authenticated()) {
    if ((command.flags & kNoAuth) != 0) return true;
    Reject(client, &command, "NOAUTH Authentication required.");
    return false;
  }
  const AclResult result = AclCheck(*client->user(), command, args);
  if (result.ok()) return true;
  client->set_last_command(&command);
  const AclContext context =
      client->transaction().open ? AclContext::kMulti : AclContext::kTopLevel;
  Reject(client, &command, server_.acl().Deny(client, command, args, result, context));
  return false;
}

void Dispatcher::Reject(Client* client, const Command* command, std::string_view error) {
  if (client->transaction().open) client->transaction().failed = true;
  client->reply().Error(error);
  server_.NoteError(client->reply().last_error());
  if (command != nullptr) ++statistics_[server_.commands().IndexOf(*command)].rejected;
}

void Dispatcher::CollectKeys(Client* client, const Work& work) {
  const Command& command = *work.command;
  if (command.key_specs.empty()) return;
  Store& store = server_.store();
  const bool hashed = work.keys->empty() && work.parsed != nullptr && work.parsed->has_hash;
  const KeyPlaces& places = places_[server_.commands().IndexOf(command)];
  if (places.only_key) {
    if (places.first_key >= work.args.size()) return;
    const std::string_view key = work.args[places.first_key];
    const uint64_t hash = hashed ? work.parsed->first_key_hash : store.Hash(key);
    work.keys->push_back({client->db(), {key, hash}, AccessOf(work, command.key_specs[0])});
    return;
  }
  if ((command.flags & kPubsub) != 0) return;  // shard channels are found like keys
  found_.clear();
  if (!FindKeys(command, work.args, &found_)) return;  // the command says what is wrong
  for (const FoundKey& found : found_) {
    const std::string_view key = work.args[found.argument];
    const bool is_first = hashed && work.keys->empty();
    const uint64_t hash = is_first ? work.parsed->first_key_hash : store.Hash(key);
    work.keys->push_back({client->db(), {key, hash}, AccessOf(work, *found.spec)});
    store.Prefetch(client->db(), hash);
  }
  for (const KeyAccess& access : *work.keys) store.PrefetchEntry(access.db, access.key.hash);
}

Access Dispatcher::AccessOf(const Work& work, const KeySpec& spec) const {
  const Access access = work.command->access ? work.command->access(work.args, spec) : spec.access;
  const bool replaces = access == Access::kOverwrite && server_.events().wants_new();
  return replaces ? Access::kReplace : access;
}

uint64_t Dispatcher::WriteBytes(std::span<const std::string_view> args, size_t keys) {
  uint64_t bytes = kRecordOverhead * (1 + keys);
  for (std::string_view arg : args) bytes += arg.size();
  return bytes;
}

Dispatcher::Progress Dispatcher::CheckWrite(Client* client, const Work& work) {
  if (server_.saver().RefusesWrites()) [[unlikely]] {
    Reject(client, work.command, kSnapshotFailedError);
    return Progress::kDone;
  }
  const uint64_t bytes = WriteBytes(work.args, work.keys->size());
  bool frees = (work.command->flags & kDenyOom) == 0 || (work.command->flags & kFreesSpace) != 0;
  switch (server_.store().CheckWrite(bytes, frees, work.ticket)) {
    case Store::WriteGate::kOk:
      return Progress::kSuspended;
    case Store::WriteGate::kWait:
      return Progress::kWaiting;
    case Store::WriteGate::kOutOfMemory:
    case Store::WriteGate::kOutOfSpace:
      Reject(client, work.command, "OOM command not allowed when used memory > 'maxmemory'.");
      return Progress::kDone;
    case Store::WriteGate::kDiskFull:
    case Store::WriteGate::kLogFailed:
      Reject(client, work.command,
             "MISCONF Errors writing to the AOF file: " + server_.LogFailureText());
      return Progress::kDone;
  }
  return Progress::kDone;
}

// --- running

Dispatcher::Progress Dispatcher::TryRun(Client* client, const Work& work) {
  if (work.command->flags & kWrite) {
    Progress gate = CheckWrite(client, work);
    if (gate != Progress::kSuspended) {
      if (gate == Progress::kDone) client->AdvanceReplyMode();
      return gate;
    }
  }
  if (!work.keys->empty()) {
    switch (server_.store().Plan(*work.keys, work.ticket)) {
      case PlanResult::kReady:
        break;
      case PlanResult::kWaiting:
        return Progress::kWaiting;
      case PlanResult::kReadError:
        RejectUnreadable(client, work);
        return Progress::kDone;
    }
  }
  Progress progress = Run(client, work);
  while (progress == Progress::kMissing) {
    progress = FetchMissing(client, work);
    if (progress == Progress::kSuspended) progress = Run(client, work);
  }
  const bool blocked =
      progress == Progress::kSuspended && server_.blocking().IsBlocked(client->id());
  if (progress == Progress::kDone || blocked) server_.store().Release(work.ticket);
  return progress;
}

// kSuspended: what was missing is here, the command can run again.
Dispatcher::Progress Dispatcher::FetchMissing(Client* client, const Work& work) {
  switch (server_.store().PlanMissing(*work.keys, work.ticket)) {
    case PlanResult::kReady:
      return Progress::kSuspended;
    case PlanResult::kWaiting:
      return Progress::kWaiting;
    case PlanResult::kReadError:
      break;
  }
  RejectUnreadable(client, work);
  return Progress::kDone;
}

std::string Dispatcher::ReadErrorText(const Status& error) {
  if (error.code() == StatusCode::kNoMemory) return std::string(kOutOfMemoryError);
  return "ERR the value of a key could not be read: " + error.message();
}

void Dispatcher::RejectUnreadable(Client* client, const Work& work) {
  Reject(client, work.command, ReadErrorText(work.ticket->error()));
  server_.store().Release(work.ticket);
  client->AdvanceReplyMode();
}

Dispatcher::Progress Dispatcher::Run(Client* client, const Work& work) {
  CommandContext context{server_,   *client,         server_.store(), *work.command,
                         work.args, client->reply(), *work.keys};
  current_client_ = client;
  current_args_ = work.args;
  current_request_ = work.request;
  client->set_last_command(work.command);
  uint64_t errors_before = client->reply().errors();
  ChooseExpiry(*work.command);
  if (server_.options()->notify_keyspace_events != 0) [[unlikely]] {
    server_.events().BeginCommand(*work.command, *work.keys);
  }
  CommandRun run(server_, client->reply());
  if (work.parsed != nullptr && work.parsed->element.any()) {
    server_.store().UseHint(&work.parsed->element);
    work.command->function(context);
    server_.store().UseHint(nullptr);
  } else {
    work.command->function(context);
  }
  const bool leaves_place = std::exchange(leaves_place_, false);
  if (run.MissedPages(work.command->name)) [[unlikely]] {
    CHECK(!current_is_suspended());
    ClearCurrent();
    return Progress::kMissing;
  }
  if (leaves_place) [[unlikely]] {
    run.TakeBack(work.command->name);
    ClearCurrent();
    return Progress::kWaiting;
  }
  if (work.request != nullptr && work.request->state == Request::State::kSuspended) {
    // Counted with its call: it may never come to that.
    work.request->suspended_micros += static_cast<int64_t>(Lap() / 1000);
    ClearCurrent();
    client->FlushPushes();
    if (server_.monitors().any() && !std::exchange(work.request->monitored, true)) {
      server_.FeedMonitors(*client, *work.command, work.args);
    }
    return Progress::kSuspended;
  }
  Finish(client, *work.command, errors_before);
  return Progress::kDone;
}

}  // namespace firn::server
