// Blocking: clients that wait until a key has something for them: BLPOP, BZPOPMIN and their like.
//
// A blocking command is an ordinary function that tries, and says what it waits for if there was
// nothing. When a key that it waits for becomes ready, the same function runs again with the same
// arguments: its keys are planned as for any command, so it may meanwhile wait for the disk.
//
//   void BLPopCommand(CommandContext& context) {
//     int64_t timeout_ms;
//     if (!ParseBlockTimeout(context, context.args.back(), &timeout_ms)) return;
//     for (const KeyAccess& access : context.keys) {
//       ... wrong type: context.reply.Error(kWrongType), return;
//       ... has elements: pop one, reply, return;
//     }
//     BlockOnKeys(context, {.type = ValueType::kList, .timeout_ms = timeout_ms});
//   }
//
// The row must have kBlocking. If it has kRunsInPlace, too, whatever might block must LeavePlace
// first. Every change that a command reports by CommandContext::Modified makes its key ready;
// SignalReady does the same for what is no change.
//
// The clients of a key are served in the order in which they blocked, keys in the order in which
// they became ready; after the command, or the whole transaction, that made them ready, before any
// other client's command. A client is not run for a key of another type than it waits for: it
// stays blocked, as it does if others took everything; it keeps its place and its deadline.
// Inside MULTI nobody blocks: BlockOnKeys answers at once as a timeout does.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/command.h"

namespace firn::server {

struct BlockOptions {
  ValueType type = ValueType::kList;  // of the keys
  int64_t timeout_ms = 0;             // 0: for ever. From ParseBlockTimeout
  // Positions in context.keys of the keys waited for: [first_key, first_key + key_count), of those
  // that there are. BLMOVE waits for its source alone.
  size_t first_key = 0;
  size_t key_count = SIZE_MAX;
  // What a timeout answers: a null array, as BLPOP and BLMPOP, or a null, as BLMOVE.
  enum class OnTimeout : uint8_t { kNullArray, kNull } on_timeout = OnTimeout::kNullArray;
  // Whether the command also runs again when a key is gone or has become another type: XREADGROUP
  // then answers with an error.
  bool wake_whatever_type = false;
  // What the command wants to know when it runs again: see Blocking::StateOf.
  std::string state = {};
};

// Parses a timeout in seconds, which may have a fraction; 0 never ends. Answers with Redis' error
// and returns false if it is none.
bool ParseBlockTimeout(CommandContext& context, std::string_view text, int64_t* timeout_ms);

// The command found nothing to answer with, and has replied nothing: it waits. To be called last.
void BlockOnKeys(CommandContext& context, const BlockOptions& options);

// A key has got, or become, what clients may wait for. Cheap when nobody waits.
void SignalReady(CommandContext& context, uint32_t db, std::string_view key);
void SignalReady(CommandContext& context, const HashedKey& key);  // in db()

// The server's blocked clients.
class Blocking {
 public:
  explicit Blocking(Server* server) : server_(*server) {}

  void Block(CommandContext& context, const BlockOptions& options);
  void Signal(uint32_t db, std::string_view key);
  // After SWAPDB: clients of either database may find what they wait for.
  void SignalDatabase(uint32_t db);
  // Runs those whose keys have become ready, and those that they make ready.
  void ServeReady();
  bool has_ready() const { return !ready_.empty(); }

  bool IsBlocked(uint64_t client_id) const { return waiters_.contains(client_id); }
  // The state that the client's command gave when it blocked; null if it has not blocked yet.
  const std::string* StateOf(uint64_t client_id) const {
    auto it = waiters_.find(client_id);
    return it == waiters_.end() ? nullptr : &it->second.options.state;
  }
  uint64_t count() const { return waiters_.size(); }
  // What INFO tells of the waits. Looks at every blocked client.
  struct Counts {
    uint64_t keys = 0;                 // that some client waits for
    uint64_t keys_awake_on_nokey = 0;  // of those, with a client that wakes when the key goes
    uint64_t with_timeout = 0;         // clients
  };
  Counts CountWaits() const;
  // The client's command has ended, or the client is gone.
  void Forget(uint64_t client_id);
  // CLIENT UNBLOCK, and a timeout's end. False if the client is not blocked.
  enum class Reason : uint8_t { kTimeout, kError };
  bool Unblock(uint64_t client_id, Reason reason);

 private:
  using Key = std::pair<uint32_t, std::string>;
  struct Waiter {
    uint64_t order = 0;     // its place, kept while the command runs again
    uint64_t block_id = 0;  // tells its timer from one of an earlier command
    int64_t deadline_ms = 0;
    bool running = false;  // woken, and not done yet
    BlockOptions options;
    std::vector<Key> keys;
    SuspendedCommand suspended;
    std::vector<Key> serve_after;  // keys whose other clients wait for this one's turn to end
  };

  void ServeKey(const Key& key);
  // `unknown` if only the disk could tell.
  ValueType TypeOf(const Key& key, ValueType unknown);

  Server& server_;
  std::unordered_map<uint64_t, Waiter> waiters_;                // by client
  std::map<Key, std::map<uint64_t, uint64_t>> clients_of_key_;  // order -> client
  std::deque<Key> ready_;
  std::set<Key> is_ready_;
  uint64_t next_order_ = 1;
  uint64_t next_block_id_ = 1;
  bool serving_ = false;
};

}  // namespace firn::server
