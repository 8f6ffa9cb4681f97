#include "engine/base/check.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

namespace firn {
namespace {
// The one process-wide variable of the engine: an abort ends the process, not one engine of it.
std::atomic<CheckHook> check_hook{nullptr};
}  // namespace

void SetCheckHook(CheckHook hook) { check_hook.store(hook); }

void CheckFailed(const char* file, int line, const char* text, const char* detail) {
  std::fprintf(stderr, "%s:%d: check failed: %s%s%s\n", file, line, text, detail ? ": " : "",
               detail ? detail : "");
  if (CheckHook hook = check_hook.exchange(nullptr)) hook(file, line, text);
  std::abort();
}

}  // namespace firn
