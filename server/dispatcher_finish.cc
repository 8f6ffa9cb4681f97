// The end of a command: statistics, and commands that are suspended before it.

#include <utility>

#include "engine/base/check.h"
#include "server/dispatcher.h"
#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {

void Dispatcher::Finish(Client* client, const Command& command, uint64_t errors_before) {
  CountRun(client, command, errors_before);
  client->AdvanceReplyMode();
  ClearCurrent();
  client->FlushPushes();
}

void Dispatcher::CountRun(Client* client, const Command& command, uint64_t errors_before,
                          uint64_t nanos) {
  CommandStatistics& statistics = statistics_[server_.commands().IndexOf(command)];
  ++statistics.calls;
  statistics.nanos += nanos;
  command_nanos_ += nanos;
  if (current_request_ != nullptr) {
    statistics.nanos +=
        static_cast<uint64_t>(std::exchange(current_request_->suspended_micros, 0)) * 1000;
  }
  ++server_.stats().commands_processed;
  if (Status status = server_.store().TakeRunError(); !status.ok()) [[unlikely]] {
    // The change was not made. Its reply may have been written already: the connection can't be
    // trusted to tell the truth any more.
    server_.Log(3, "A write failed: " + status.message());
    client->reply().Error("MISCONF Errors writing to the AOF file: " + status.message());
    client->CloseAfterReply();
  }
  if (client->reply().errors() != errors_before) {
    ++statistics.failed;
    if (!std::exchange(ignores_error_, false)) server_.NoteError(client->reply().last_error());
  }
  server_.NoteDuration(*client, command, nanos);
  server_.NoteRun(client, command, current_args_);
}

void Dispatcher::CountCallOf(const Command& command, const CallResult& result) {
  CommandStatistics& statistics = statistics_[server_.commands().IndexOf(command)];
  ++statistics.calls;
  statistics.nanos += result.nanos;
  statistics.failed += result.failed ? 1 : 0;
}

void Dispatcher::CountRejectionOf(const Command& command) {
  ++statistics_[server_.commands().IndexOf(command)].rejected;
}

void Dispatcher::ClearCurrent() {
  current_request_ = nullptr;
  current_client_ = nullptr;
  current_args_ = {};
}

// --- suspended commands

SuspendedCommand Dispatcher::Suspend(CommandContext* context) {
  CHECK_MSG(current_request_ != nullptr, "a command that runs in place can't be suspended");
  current_request_->state = Request::State::kSuspended;
  SuspendedCommand suspended;
  suspended.server_ = &server_;
  suspended.client_id_ = context->client.id();
  suspended.serial_ = current_request_->serial;
  return suspended;
}

bool Dispatcher::IsAlive(SuspendedId id) const {
  Client* client = server_.FindClient(id.client);
  return client != nullptr && !client->closing() && !client->queue_.empty() &&
         client->queue_.front()->serial == id.serial;
}

void Dispatcher::Resume(SuspendedId id, std::move_only_function<void(CommandContext&)> finish) {
  if (server_.loading()) {
    // Not posted, so that the loop needn't go round for it all the time.
    constexpr int64_t kRetryMicros = 1000;
    server_.loop().AddTimer(kRetryMicros, [this, id, finish = std::move(finish)]() mutable {
      Resume(id, std::move(finish));
    });
    return;
  }
  if (exclusive_client_ != 0 && exclusive_client_ != id.client) {
    deferred_resumes_.emplace_back(id, std::move(finish));
    return;
  }
  if (!IsAlive(id)) return;
  Client* client = server_.FindClient(id.client);
  Request& request = *client->queue_.front();
  if (request.state != Request::State::kSuspended) return;
  RestartClock();
  request.state = Request::State::kQueued;
  Transaction& transaction = client->transaction();
  Request& step = transaction.running ? *transaction.commands[transaction.next] : request;
  CommandContext context{server_,   *client,         server_.store(), *step.command,
                         step.args, client->reply(), step.keys};
  current_client_ = client;
  current_args_ = step.args;
  current_request_ = &request;
  uint64_t errors_before = client->reply().errors();
  if (ScriptRunner& script = server_.scripting().runner(); script.awaits_command()) {
    script.FinishCommand(context, std::move(finish));
  } else {
    finish(context);
  }
  if (request.state == Request::State::kSuspended) {  // again
    ClearCurrent();
    return;
  }
  if (transaction.running) {
    FinishStep(client, *step.command);
    server_.store().Release(&step.ticket);
    ++transaction.next;
    server_.NoteReady(id.client);
    return;
  }
  Finish(client, *request.command, errors_before);
  server_.store().Release(&request.ticket);
  server_.blocking().Forget(id.client);
  client->PopRequest();
  server_.NoteReady(id.client);
  server_.NoteActive(client);
  ServeBlocked();
}

}  // namespace firn::server
