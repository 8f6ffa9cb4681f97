// Fiber: a function on a stack of its own, which may stop anywhere within it and be continued
// later. Scripts run on one, so that a script whose key is on disk can wait in the middle of
// whatever the interpreter is doing: within a callback of table.sort, a hook, or a coroutine.
//
// One thread; not to be nested: Resume is called from outside, Suspend from inside.
#pragma once

#include <cstddef>
#include <functional>

namespace firn::server {

class Fiber {
 public:
  // `body` runs once for each Start. It must not let an exception escape.
  explicit Fiber(std::function<void()> body);
  // A fiber that is suspended is dropped: what its stack holds is not destroyed.
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Begins the body if it doesn't run, else continues it; returns when it suspends or has ended.
  void Resume();
  // From inside: returns when Resume is called again.
  void Suspend();
  // The body has begun and not ended.
  bool active() const { return active_; }

 private:
  [[noreturn]] static void Entry();
  [[noreturn]] void Loop();
  void SwitchIn();
  void SwitchOut();

  std::function<void()> body_;
  char* memory_ = nullptr;  // a guard page, then the stack
  size_t size_ = 0;
  void* inside_ = nullptr;  // the stack pointers of whichever does not run
  void* outside_ = nullptr;
  bool active_ = false;
  // For AddressSanitizer.
  void* fake_stack_ = nullptr;
  const void* outside_bottom_ = nullptr;
  size_t outside_size_ = 0;
};

}  // namespace firn::server
