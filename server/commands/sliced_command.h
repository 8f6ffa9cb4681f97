// SlicedCommand: a command that works on so much that it does so in slices, one an iteration, and
// on a thread of its own where the work touches no store. It is given out as a shared_ptr, and
// lives as long as the command does.
//
//   class Big : public SlicedCommand {
//     void Step(CommandContext& context) override {
//       ... as much as takes a millisecond ...
//       if (more) return AwaitTurn(context);
//       Compute(context, [this](const std::atomic<bool>* stop) { ... });   // then Step again
//     }
//   };
//
// Executor thread, but for what Compute runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "server/command.h"
#include "server/held_keys.h"
#include "tiering/detached_value.h"

namespace firn::server {

// What must be the outcome of one moment is in vain once something that it is made of changes, and
// begins anew. The first attempts leave everybody alone; then those wait who would change it.
class SlicedCommand : public std::enable_shared_from_this<SlicedCommand> {
 public:
  virtual ~SlicedCommand() = default;

 protected:
  // A slice: the last thing that it does is to call one of the functions below, or to answer. A
  // page that is missing ends it as it ends a command's function, with nothing called or answered:
  // it is fetched, and the slice runs again from its beginning.
  virtual void Step(CommandContext& context) = 0;
  // Plans the keys again, and begins anew: for commands that make attempts.
  virtual void Restart(CommandContext& context);

  // Others have their turn; then the next slice.
  void AwaitTurn(CommandContext& context, int64_t delay_micros = 0);
  // As AwaitTurn, but once most of what has been replied is sent, for a command that replies in
  // pieces (Client::set_reply_open).
  void AwaitSent(CommandContext& context);
  // Runs `job` on another thread, then the next slice. The job has the object to itself, and what
  // is in RAM but in no store; it should end soon once `*stop` is true.
  using Job = std::move_only_function<void(const std::atomic<bool>* stop)>;
  void Compute(CommandContext& context, Job job);
  // Begins an attempt, and ends the one before: from now on what `covers` says of the keys of the
  // client's database must not change.
  enum class Attempt : uint8_t {
    kBegun,
    kLater,  // Restart is called when it may be tried
    kNone,   // it has been tried so often that the command is to run in one go
  };
  enum class Patience : uint8_t { kSomeAttempts, kNone };
  static KeyHold::Covers AnyOf(std::span<const KeyAccess> keys);
  Attempt BeginAttempt(CommandContext& context, KeyHold::Covers covers,
                       Patience patience = Patience::kSomeAttempts);
  // The keys may change again.
  void EndAttempt() { hold_.reset(); }
  // Somebody was made to wait, and yet a key has changed. (Without a hold it is up to the command
  // to see that.)
  bool hold_broken() const { return hold_ && hold_->broken(); }
  // Writes a part of a value that has been made. True: all of it is there. Else it has seen to it
  // that Step runs again, or answered with an error.
  bool WriteOr(CommandContext& context, DetachedValue* value);

 private:
  std::move_only_function<void()> NextSlice(CommandContext& context);

  bool waits_for_attempt_ = false;
  int attempts_ = 0;
  int held_attempts_ = 0;
  std::optional<KeyHold> hold_;
};

}  // namespace firn::server
