// CHECK: a broken invariant of the program itself. It is on in release builds, prints where and
// what, and ends the process through abort(), so that the crash report and a restart's recovery
// take over.
#pragma once

namespace firn {

// Prints "file:line: check failed: text" on standard error and aborts. `detail` may be null.
[[noreturn]] void CheckFailed(const char* file, int line, const char* text, const char* detail);

// A process may install a hook that runs before the abort, such as the server's crash report.
using CheckHook = void (*)(const char* file, int line, const char* text);
void SetCheckHook(CheckHook hook);

}  // namespace firn

#define CHECK(condition)              \
  (__builtin_expect(!!(condition), 1) \
       ? static_cast<void>(0)         \
       : ::firn::CheckFailed(__FILE__, __LINE__, #condition, nullptr))
#define CHECK_MSG(condition, detail)  \
  (__builtin_expect(!!(condition), 1) \
       ? static_cast<void>(0)         \
       : ::firn::CheckFailed(__FILE__, __LINE__, #condition, detail))
