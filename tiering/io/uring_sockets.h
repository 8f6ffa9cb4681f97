// The sockets and listeners of an io_uring loop, and what they ask the ring for. Of the loop's
// thread only.
//
// What was asked for becomes entries of the ring in Flush, once an iteration. An entry's user_data
// is the address of the object that it belongs to, and in the low three bits what it is for. So an
// object must live until its last completion: a closed socket or listener is kept until then, and
// its descriptor too, so that no entry can hit a successor. From there it goes to the graveyard,
// which the next Flush empties: until then a list, or a caller further up the stack, may still
// refer to it.
//
// A receive is armed once and then yields completions until it is cancelled, fails, or finds no
// buffer (it is armed again then). Pausing cancels it at the end of the iteration; what comes in
// before the kernel has seen that is held back, and delivered first after the resumption.
//
// Armed receives take up to 32 buffers each, so that a few busy sockets may leave none. Who found
// none asks next time before all others, for one buffer: nobody is left out twice in a row. Who had
// sent little moves to small buffers, which the busy ones don't use.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/base/check.h"
#include "tiering/io/loop_base.h"
#include "tiering/io/net_loop.h"
#include "tiering/io/uring_ring.h"

namespace firn::io {

// What a completion is of: see the top of the file. kDisk and kWake are the loop's own.
enum class UringTag : uint64_t { kIgnored, kReceive, kSend, kAccept, kDisk, kWake };

inline uint64_t UserData(const void* object, UringTag tag) {
  constexpr uint64_t kTagMask = 7;
  const auto address = reinterpret_cast<uintptr_t>(object);
  CHECK((address & kTagMask) == 0);
  return address | static_cast<uint64_t>(tag);
}
inline UringTag TagOf(uint64_t user_data) { return static_cast<UringTag>(user_data & 7); }
template <typename T>
T* ObjectOf(uint64_t user_data) {
  return reinterpret_cast<T*>(user_data & ~uint64_t{7});
}

class UringSocket;
class UringListener;

class UringSockets {
 public:
  using Completion = UringRing::Completion;

  // Both must outlive it.
  UringSockets(UringRing* ring, LoopBase* loop) : ring_(ring), loop_(loop) {}
  // REQUIRES: no listener is left, and the kernel works on no entry any more.
  ~UringSockets();
  UringSockets(const UringSockets&) = delete;
  UringSockets& operator=(const UringSockets&) = delete;

  // As NetLoop.
  Result<std::unique_ptr<Listener>> Listen(const ListenOptions& options,
                                           NetLoop::AcceptCallback on_accept);
  Socket* Adopt(int fd, SocketAddress address);

  bool has_sends() const { return !sends_queued_.empty(); }
  bool has_deliveries() const { return !deliveries_.empty(); }
  // Makes entries of what was asked for.
  void Flush();
  // A completion whose tag is kReceive, kSend or kAccept.
  void Dispatch(const Completion& completion);
  // Whether it is a receive of little that may be dispatched before what is ahead of it: the first
  // of its socket that was asked about since StartLook.
  bool IsShortAndFirst(const Completion& completion);
  void StartLook() { ++look_; }
  // Hands out what was held back for sockets that go on.
  void DeliverKept();
  bool has_listeners() const { return !listeners_.empty(); }

 private:
  friend class UringSocket;
  friend class UringListener;
  // What may outlive its user.
  class Mortal {
   public:
    virtual ~Mortal() = default;
  };

  void AdoptAccepted(int fd, const ListenOptions& options, NetLoop::AcceptCallback& on_accept);
  void BurySocket(UringSocket* socket);
  void OnListenerClosed(UringListener* listener);
  void BuryListener(UringListener* listener);
  void Cancel(uint64_t user_data);

  UringRing* const ring_;
  LoopBase* const loop_;
  uint32_t look_ = 0;
  std::vector<UringSocket*> sockets_;             // until buried
  std::vector<UringListener*> listeners_;         // open
  std::vector<UringListener*> closed_listeners_;  // until buried

  std::vector<UringSocket*> sends_queued_;
  std::vector<UringSocket*> updates_queued_;
  std::vector<UringSocket*> deliveries_;
  std::vector<std::unique_ptr<Mortal>> graveyard_;
};

}  // namespace firn::io
