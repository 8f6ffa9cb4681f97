#include "server/crash_report.h"

#include <execinfo.h>
#include <fcntl.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

#include "engine/base/check.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr int kMaxFrames = 64;
constexpr size_t kShownArgumentBytes = 64;

// A signal handler has nothing else to hold on to.
std::atomic<Server*> reporting_server{nullptr};
std::atomic<bool> reporting{false};

// Writes with write(2) alone: after a crash the heap may be broken.
class ReportWriter {
 public:
  explicit ReportWriter(const std::string& path) {
    if (!path.empty()) {
      fd_ = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    }
    if (fd_ < 0) fd_ = STDOUT_FILENO;
  }
  int fd() const { return fd_; }
  void Text(const char* text) { Bytes(text, std::strlen(text)); }
  void Bytes(const char* bytes, size_t size) {
    ssize_t written = write(fd_, bytes, size);
    static_cast<void>(written);
  }
  template <typename... Args>
  void Line(const char* format, Args... args) {
    char line[512];
    int size = std::snprintf(line, sizeof line, format, args...);
    if (size > 0) Bytes(line, std::min<size_t>(static_cast<size_t>(size), sizeof line - 1));
    Text("\n");
  }

 private:
  int fd_ = -1;
};

void WriteRegisters(ReportWriter* out, void* context) {
#if defined(__x86_64__)
  const auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  static constexpr const char* kNames[] = {"R8",  "R9",  "R10", "R11", "R12", "R13",
                                           "R14", "R15", "RDI", "RSI", "RBP", "RBX",
                                           "RDX", "RAX", "RCX", "RSP", "RIP", "EFL"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    out->Line("%s:%016llx", kNames[i], static_cast<unsigned long long>(registers[i]));
  }
#else
  static_cast<void>(context);
  out->Text("Registers are not shown on this architecture\n");
#endif
}

void WriteCommand(ReportWriter* out, Server* server) {
  const Client* client = server->dispatcher().current_client();
  if (client == nullptr) {
    out->Text("No command was running\n");
    return;
  }
  out->Text("\n------ CURRENT CLIENT INFO ------\n");
  out->Line("id=%llu addr=%s", static_cast<unsigned long long>(client->id()),
            client->address().peer.c_str());
  int i = 0;
  for (std::string_view arg : server->dispatcher().current_args()) {
    std::string_view shown = arg.substr(0, kShownArgumentBytes);
    out->Line("argv[%d]: '%.*s'", i++, static_cast<int>(shown.size()), shown.data());
    if (i == 16) break;
  }
}

void Report(const char* what, void* context) {
  Server* server = reporting_server.load();
  if (server == nullptr || reporting.exchange(true)) return;
  ReportWriter out(server->logger().path());
  out.Line("\n=== FIRN BUG REPORT START: Cut & paste starting from here ===\n%s", what);
  out.Text("\n------ STACK TRACE ------\n");
  void* frames[kMaxFrames];
  backtrace_symbols_fd(frames, backtrace(frames, kMaxFrames), out.fd());
  if (context != nullptr) {
    out.Text("\n------ REGISTERS ------\n");
    WriteRegisters(&out, context);
  }
  WriteCommand(&out, server);
  out.Text("\n=== FIRN BUG REPORT END. ===\n");
}

void OnFatalSignal(int signal, siginfo_t* info, void* context) {
  char what[128];
  std::snprintf(what, sizeof what, "Firn crashed by signal: %d, si_code: %d, address: %p", signal,
                info->si_code, info->si_addr);
  Report(what, context);
  // The default action, so that the exit status and a core tell what happened.
  std::signal(signal, SIG_DFL);
  raise(signal);
}

void OnFailedCheck(const char* file, int line, const char* text) {
  char what[512];
  std::snprintf(what, sizeof what, "Check failed: %s:%d %s", file, line, text);
  Report(what, nullptr);
}

}  // namespace

void InstallCrashReport(Server* server) {
  reporting_server.store(server);
  // The first call of backtrace loads a library: not in a handler.
  void* frame[1];
  backtrace(frame, 1);
  SetCheckHook(OnFailedCheck);
  struct sigaction action = {};
  action.sa_sigaction = OnFatalSignal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) sigaction(signal, &action, nullptr);
}

}  // namespace firn::server
