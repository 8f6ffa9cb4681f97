#include "server/scripting/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "engine/base/check.h"

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace firn::server {
namespace {

// Mapped, but only the pages that are touched take memory. The interpreter bounds its recursion in
// C by 200 levels.
constexpr size_t kStackBytes = 4 << 20;
constexpr size_t kGuardBytes = 64 << 10;

// Whose body is entered for the first time: the new stack has no other way to learn it.
thread_local Fiber* g_entering = nullptr;

#if defined(__x86_64__)

// Saves what a callee must preserve and the stack pointer to *save, and continues at `load`.
extern "C" void firn_switch_stack(void** save, void* load);
asm(R"(
.text
.p2align 4
.globl firn_switch_stack
.hidden firn_switch_stack
.type firn_switch_stack, @function
firn_switch_stack:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  subq $8, %rsp
  stmxcsr (%rsp)
  fnstcw 4(%rsp)
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  ldmxcsr (%rsp)
  fldcw 4(%rsp)
  addq $8, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
  .cfi_endproc
.size firn_switch_stack, .-firn_switch_stack
)");

void* PrepareStack(char* bottom, size_t size, void (*entry)()) {
  auto* top = reinterpret_cast<uint64_t*>(bottom + size);
  // As after a call from nowhere: a return address of 0 ends the chain of frames, and the stack is
  // aligned as it is there.
  *--top = 0;
  *--top = reinterpret_cast<uint64_t>(entry);
  for (int i = 0; i < 6; ++i) *--top = 0;
  uint32_t control[2];
  asm volatile("stmxcsr %0" : "=m"(control[0]));
  uint16_t x87;
  asm volatile("fnstcw %0" : "=m"(x87));
  control[1] = x87;
  --top;
  std::memcpy(top, control, sizeof control);
  return top;
}

void Switch(void** save, void* load) { firn_switch_stack(save, load); }

#else

void* PrepareStack(char* bottom, size_t size, void (*entry)()) {
  auto* context = new ucontext_t;
  CHECK(getcontext(context) == 0);
  context->uc_stack.ss_sp = bottom;
  context->uc_stack.ss_size = size;
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

void Switch(void** save, void* load) {
  auto* mine = static_cast<ucontext_t*>(*save);
  if (mine == nullptr) *save = mine = new ucontext_t;
  swapcontext(mine, static_cast<ucontext_t*>(load));
}

#endif

}  // namespace

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)), size_(kStackBytes) {
  void* memory = mmap(nullptr, kGuardBytes + size_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  CHECK_MSG(memory != MAP_FAILED, "no memory for a stack");
  memory_ = static_cast<char*>(memory);
  CHECK(mprotect(memory_, kGuardBytes, PROT_NONE) == 0);
  inside_ = PrepareStack(memory_ + kGuardBytes, size_, &Fiber::Entry);
}

Fiber::~Fiber() {
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(inside_);
  delete static_cast<ucontext_t*>(outside_);
#endif
  munmap(memory_, kGuardBytes + size_);
}

void Fiber::Entry() { std::exchange(g_entering, nullptr)->Loop(); }

void Fiber::Loop() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &outside_bottom_, &outside_size_);
#endif
  while (true) {
    body_();
    active_ = false;
    SwitchOut();
  }
}

void Fiber::Resume() {
  active_ = true;
  SwitchIn();
}

void Fiber::Suspend() { SwitchOut(); }

void Fiber::SwitchIn() {
  g_entering = this;
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, memory_ + kGuardBytes, size_);
#endif
  Switch(&outside_, inside_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
}

void Fiber::SwitchOut() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, outside_bottom_, outside_size_);
#endif
  Switch(&inside_, outside_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, &outside_bottom_, &outside_size_);
#endif
}

}  // namespace firn::server
