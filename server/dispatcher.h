// Dispatcher: what happens to one request: look up the row, check, plan, run, count. Executor
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/client.h"
#include "server/command.h"

namespace firn::server {

class Server;

struct CommandStatistics {
  uint64_t calls = 0;
  uint64_t nanos = 0;
  uint64_t rejected = 0;  // before they ran
  uint64_t failed = 0;    // with an error
};

class Dispatcher {
 public:
  explicit Dispatcher(Server* server);

  // One request in the order of the client's pipeline. Runs it, or puts it into the client's queue.
  void Handle(Client* client, std::span<const std::string_view> args);
  // The request was longer than one may be, and has been read past.
  void RefuseTooLarge(Client* client);
  // Runs the head of the client's queue as far as it is ready.
  void RunQueue(Client* client);
  bool IsReady(const Request& request) const;

  // For CommandContext and SuspendedCommand.
  SuspendedCommand Suspend(CommandContext* context);
  struct SuspendedId {
    uint64_t client;
    uint64_t serial;
  };
  void Resume(SuspendedId id, std::move_only_function<void(CommandContext&)> finish);
  bool IsAlive(SuspendedId id) const;

  const std::vector<CommandStatistics>& statistics() const { return statistics_; }
  void ResetStatistics();
  // For the crash report: what runs now.
  const Client* current_client() const { return current_client_; }
  std::span<const std::string_view> current_args() const { return current_args_; }
  // Called when a batch of requests begins, so that the first one isn't charged for the wait.
  void RestartClock();

 private:
  struct Work {
    std::span<const std::string_view> args;
    const Command* command;
    std::vector<KeyAccess>* keys;
    Ticket* ticket;
    Request* request;  // null: runs in place
  };
  enum class Progress : uint8_t { kDone, kWaiting, kSuspended };

  const Command* Find(Client* client, std::span<const std::string_view> args);
  // Answers with an error and returns false if the command may not run.
  bool Admit(Client* client, std::span<const std::string_view> args, const Command& command);
  bool CollectKeys(Client* client, const Work& work);
  Progress TryRun(Client* client, const Work& work);
  // kDone: refused, with an error; kWaiting: later; kSuspended: it may write.
  Progress CheckWrite(Client* client, const Work& work);
  Progress Run(Client* client, const Work& work);
  void Finish(Client* client, const Command& command, uint64_t errors_before);
  void Enqueue(Client* client, std::span<const std::string_view> args, const Command* command);
  void Reject(Client* client, const Command* command, std::string_view error);
  void ClearCurrent();
  uint64_t Lap();

  Server& server_;
  std::vector<KeyAccess> keys_;  // of requests that run in place
  std::vector<FoundKey> found_;
  std::vector<CommandStatistics> statistics_;
  std::vector<bool>
      in_place_;  // by index: never suspends, so its arguments may stay where they are
  const Client* current_client_ = nullptr;
  std::span<const std::string_view> current_args_;
  Request* current_request_ = nullptr;
  uint64_t lap_nanos_ = 0;
};

}  // namespace firn::server
