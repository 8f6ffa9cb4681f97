// Dispatcher: what happens to one request: look up the row, check, plan, run, count. Executor
// thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/client.h"
#include "server/command.h"
#include "server/cycle_clock.h"
#include "tiering/collection.h"

namespace firn::server {

class Server;

struct CommandStatistics {
  uint64_t calls = 0;
  uint64_t nanos = 0;
  uint64_t rejected = 0;  // before they ran
  uint64_t failed = 0;    // with an error
};

// A request as it lies in the received bytes.
struct ParsedRequest {
  std::vector<std::string_view> args;
  size_t end = 0;                    // where it ends in the bytes
  const Command* command = nullptr;  // null if there is none of this name
  bool has_hash = false;
  bool same_key = false;    // as the request before it
  bool runs_alone = false;  // merging it with others has been tried
  uint64_t first_key_hash = 0;
  ElementHint element;  // of the first key's value
};

// Runs requests that do the same to one key, and replies to each. False, with nothing changed or
// replied, if they are to run one by one.
using MergedFunction = bool (*)(CommandContext& context, std::span<const ParsedRequest> requests);

class Dispatcher {
 public:
  // So many requests of a pipeline are parsed before the first of them is run, so that what their
  // keys lead to is on its way from memory meanwhile.
  static constexpr size_t kBatch = 32;

  // Where a command names an element of its key's value, or a place in a string; or the key, if the
  // place is an end of its list.
  struct ElementPlace {
    // kRanked: an element whose rank is sought. kScored: its new score stands before it.
    enum class Unit : uint8_t { kElement, kRanked, kScored, kByte, kBit, kHead, kTail };
    uint8_t argument = 0;  // 0: it doesn't
    Unit unit = Unit::kElement;
  };

  explicit Dispatcher(Server* server);

  // One request in the order of the client's pipeline. Runs it, or puts it into the client's queue.
  void Handle(Client* client, const ParsedRequest& request);
  // The first of the requests that were prepared, together with those behind it that are merged
  // with it. How many.
  size_t HandleSome(Client* client, std::span<ParsedRequest> requests);
  // Before Handle: looks the row of the last one up and asks for what its first key leads to. Those
  // before it have been prepared.
  void Prepare(const Client& client, std::span<ParsedRequest> requests);
  void PrefetchEntries(const Client& client, std::span<ParsedRequest> requests);
  // Room for the client whose bytes are processed now.
  std::span<ParsedRequest, kBatch> batch() { return batch_; }
  // In place of a request that can't be run: it was longer than one may be, and has been read past;
  // or what was received is no request.
  void Refuse(Client* client, Request::Refusal refusal);
  // Runs the head of the client's queue as far as it is ready.
  void RunQueue(Client* client);
  bool IsReady(const Client& client, const Request& request) const;
  // Runs a blocked client's command again, and nothing behind it.
  void RunBlocked(uint64_t client_id);
  // EXEC, or a script that waits, is under way: other clients wait.
  bool in_transaction() const { return exclusive_client_ != 0; }
  bool IsExclusive(uint64_t client_id) const { return exclusive_client_ == client_id; }

  // --- for scripts, which run commands within a command

  // From now on no other client's command touches the keyspace, until LetOthersIn.
  void ShutOthersOut(const Client& client) { exclusive_client_ = client.id(); }
  void LetOthersIn(Client* client);
  // What waits in other clients' queues is looked at: it is now answered with an error.
  void WakeOthers(uint64_t client_id);
  // The command that runs now has called CommandContext::Suspend.
  bool current_is_suspended() const {
    return current_request_ != nullptr && current_request_->state == Request::State::kSuspended;
  }
  // Appends the keys of a command.
  void FindKeysOf(Client* client, std::span<const std::string_view> args, const Command& command,
                  std::vector<KeyAccess>* keys) {
    CollectKeys(client, {args, &command, keys, nullptr, nullptr, nullptr});
  }
  // Before each command: look-ups of a paused store delete what has expired for writes alone.
  void ChooseExpiry(const Command& command) const;
  struct CallResult {
    uint64_t nanos = 0;
    bool failed = false;
  };
  void CountCallOf(const Command& command, const CallResult& result);
  void CountRejectionOf(const Command& command);
  // The error that the command which runs now has answered was counted when it arose.
  void IgnoreError() { ignores_error_ = true; }
  uint64_t Ticks() const { return clock_.Now(); }
  uint64_t NanosSince(uint64_t ticks) const { return clock_.ToNanos(clock_.Now() - ticks); }
  static std::string ReadErrorText(const Status& error);

  // For CommandContext and SuspendedCommand.
  SuspendedCommand Suspend(CommandContext* context);
  bool LeavePlace() {
    leaves_place_ = current_request_ == nullptr;
    return !leaves_place_;
  }
  struct SuspendedId {
    uint64_t client;
    uint64_t serial;
  };
  void Resume(SuspendedId id, std::move_only_function<void(CommandContext&)> finish);
  bool IsAlive(SuspendedId id) const;
  // After a command, or a whole transaction: those who were blocked until now.
  void ServeBlocked();

  const std::vector<CommandStatistics>& statistics() const { return statistics_; }
  // That commands took, since the last ResetStatistics.
  uint64_t command_nanos() const { return command_nanos_; }
  void ResetStatistics();
  // For the crash report: what runs now.
  const Client* current_client() const { return current_client_; }
  std::span<const std::string_view> current_args() const { return current_args_; }
  // Monitors were told of it when it began.
  bool current_is_monitored() const {
    return current_request_ != nullptr && current_request_->monitored;
  }
  // Called when a batch of requests begins, so that the first one isn't charged for the wait.
  void RestartClock() { lap_ = clock_.Now(); }
  void CalibrateClock() { clock_.Calibrate(); }

 private:
  struct Work {
    std::span<const std::string_view> args;
    const Command* command;
    std::vector<KeyAccess>* keys;
    Ticket* ticket;
    Request* request;             // null: runs in place
    const ParsedRequest* parsed;  // null: comes from the queue
  };
  // kMissing: pages of a collection are not in RAM; nothing has been changed or replied.
  enum class Progress : uint8_t { kDone, kWaiting, kSuspended, kMissing };

  // The row of the command or subcommand; answers with an error and returns null if there is none.
  const Command* Resolve(Client* client, std::span<const std::string_view> args,
                         const Command* command);
  // Answers with an error and returns false if the command may not run.
  bool Admit(Client* client, std::span<const std::string_view> args, const Command& command);
  // For clients that are restricted(): logged in, and allowed to.
  bool AdmitRestricted(Client* client, std::span<const std::string_view> args,
                       const Command& command);
  void CollectKeys(Client* client, const Work& work);
  // What the command wants of a key.
  Access AccessOf(const Work& work, const KeySpec& spec) const;
  void FindKeyPlaces();
  // A command at the head of the queue, which is checked the first time.
  Progress RunQueued(Client* client, Request* request);
  // A script runs for too long: kSuspended if the command may run all the same.
  Progress CheckBusy(Client* client, const Command& command);
  Progress TryRun(Client* client, const Work& work);
  // kDone: refused, with an error; kWaiting: later; kSuspended: it may write.
  Progress CheckWrite(Client* client, const Work& work);
  Progress FetchMissing(Client* client, const Work& work);
  void RejectUnreadable(Client* client, const Work& work);
  Progress Run(Client* client, const Work& work);
  void Finish(Client* client, const Command& command, uint64_t errors_before);
  // Counts a run and reports what became of it.
  void CountRun(Client* client, const Command& command, uint64_t errors_before) {
    CountRun(client, command, errors_before, Lap());
  }
  void CountRun(Client* client, const Command& command, uint64_t errors_before, uint64_t nanos);
  // What a command that writes adds to the log, about.
  static uint64_t WriteBytes(std::span<const std::string_view> args, size_t keys);

  // --- merged requests
  void FindMerged();
  // How many requests, from the first on, may be merged; 0 if there is nothing to merge.
  size_t CountAlike(std::span<const ParsedRequest> requests) const;
  bool MayMerge(const Client& client) const;
  bool MayWriteMerged(const Command& command, Ticket* ticket,
                      std::span<const ParsedRequest> requests);
  bool RunMerged(Client* client, std::span<const ParsedRequest> requests);
  bool CallMerged(Client* client, const Work& work, std::span<const ParsedRequest> requests);

  static void CopyArguments(std::span<const std::string_view> args, Request* request);
  // CLIENT PAUSE holds the command back, or somebody who holds one of its keys.
  bool ChangesHeldKeys(const Client& client, const Command& command,
                       std::span<const std::string_view> args) const;
  bool IsPaused(const Client& client, const Command& command,
                std::span<const std::string_view> args) const;
  // Another client's EXEC or script is under way.
  bool IsShutOut(const Client& client) const {
    return exclusive_client_ != 0 && exclusive_client_ != client.id();
  }

  // Within MULTI: answers and returns true unless the command is to run at once.
  bool QueueInTransaction(Client* client, std::span<const std::string_view> args,
                          const Command& command);
  void CollectTransactionKeys(Client* client, Request* request);
  void AbortTransaction(Client* client, const Command& exec, std::string_view reason);
  // kSuspended: it may run.
  Progress BeginTransaction(Client* client, Request* request);
  Progress RunTransaction(Client* client, Request* request);
  Progress RunStep(Client* client, Request* exec, Request* step);
  bool AdmitStep(Client* client, const Request& step);
  void FinishStep(Client* client, const Command& command);
  void EndTransaction(Client* client, const Command& exec);

  void Enqueue(Client* client, std::span<const std::string_view> args, const Command* command);
  void Reject(Client* client, const Command* command, std::string_view error);
  void PrefetchElements(const Client& client, std::span<ParsedRequest> requests);
  void ClearCurrent();
  // Nanoseconds since the last one.
  uint64_t Lap();

  Server& server_;
  std::array<ParsedRequest, kBatch> batch_;
  // What follows from a row, by the number of the command.
  struct KeyPlaces {
    uint8_t first_key = 0;  // among the arguments; 0: there is none, or it has no fixed place
    bool only_key = false;  // there can be no other key
    ElementPlace element;
  };
  std::vector<KeyPlaces> places_;
  struct Merged {
    MergedFunction function = nullptr;
    size_t fewest_args = 0;
    size_t most_args = 0;
  };
  std::vector<Merged> merged_;   // by the number of the command
  std::vector<KeyAccess> keys_;  // of requests that run in place
  std::vector<FoundKey> found_;
  std::vector<CommandStatistics> statistics_;
  uint64_t command_nanos_ = 0;
  const Client* current_client_ = nullptr;
  std::span<const std::string_view> current_args_;
  Request* current_request_ = nullptr;
  uint64_t exclusive_client_ = 0;     // whose EXEC or script is under way
  mutable bool others_wait_ = false;  // for it
  uint64_t step_errors_before_ = 0;
  bool ignores_error_ = false;
  bool leaves_place_ = false;  // what runs in place is to run from the queue instead
  std::vector<std::pair<SuspendedId, std::move_only_function<void(CommandContext&)>>>
      deferred_resumes_;
  CycleClock clock_;
  uint64_t lap_ = 0;  // in the clock's ticks
};

}  // namespace firn::server
