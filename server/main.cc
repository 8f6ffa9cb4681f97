// firn-server: reads the configuration, starts the server, runs it.

#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "server/crash_report.h"
#include "server/logger.h"
#include "server/options/options.h"
#include "server/options/version.h"
#include "server/process_title.h"
#include "server/rdb_file.h"
#include "server/server.h"
#include "server/supervisor.h"

namespace firn::server {
namespace {

// A signal handler can reach nothing but what is global: the one server of this process.
std::atomic<Server*> running_server{nullptr};

void OnSignal(int signal) {
  static std::atomic<int> interrupts{0};
  // The second ctrl-c doesn't wait for anything.
  if (signal == SIGINT && interrupts.fetch_add(1) > 0) {
    RemoveOwnTemporaryDump();
    _exit(1);
  }
  if (Server* server = running_server.load()) server->OnSignal(signal);
}

void InstallSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
}

bool Daemonize() {
  pid_t pid = fork();
  if (pid < 0) return false;
  if (pid > 0) _exit(0);
  setsid();
  FILE* null = std::fopen("/dev/null", "r+");
  if (null == nullptr) return false;
  for (int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(fileno(null), fd);
  return true;
}

void WritePidFile(const std::string& path, Logger* logger) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) {
    logger->Write(kLogWarning, "Failed to write PID file: " + path);
    return;
  }
  std::fprintf(file, "%d\n", static_cast<int>(getpid()));
  std::fclose(file);
}

int Main(ProcessTitle* title, std::vector<std::string> arguments) {
  if (auto text = InformationFor(arguments)) {
    std::fputs(text->c_str(), stdout);
    return 0;
  }
  Options options;
  if (Status status = options.LoadArguments(arguments); !status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  if (chdir(options->dir.c_str()) != 0) {
    std::perror(("Can't chdir to '" + options->dir + "'").c_str());
    return 1;
  }
  if (access(options->dir.c_str(), R_OK | W_OK | X_OK) != 0) {
    std::perror(("The directory '" + options->dir + "' can't be written").c_str());
    return 1;
  }
  Logger logger;
  logger.Configure(options->logfile, static_cast<int>(options->loglevel));
  if (options->daemonize && !Daemonize()) {
    std::perror("Can't daemonize");
    return 1;
  }
  if (options->syslog_enabled) {
    logger.OpenSyslog(options->syslog_ident, options->syslog_facility);
  }
  logger.Write(kLogNotice, "oO0OoO0OoO0Oo Firn is starting oO0OoO0OoO0Oo");
  logger.Write(kLogNotice, "Firn version=" + std::string(kFirnVersion) +
                               ", Redis version=" + std::string(kRedisVersion) +
                               ", bits=64, pid=" + std::to_string(getpid()) + ", just started");
  logger.Write(kLogNotice, "PID: " + std::to_string(getpid()));
  InstallSignals();
  auto show_title = [&options, title] {
    if (options->set_proc_title) title->Set(FillProcessTitle(options, title->program()));
    return Status::Ok();
  };
  (void)show_title();
  options.OnChange({"proc-title-template", "port", "tls-port", "bind", "unixsocket"}, show_title);
  Server server(&options, &logger);
  if (options->crash_log_enabled) InstallCrashReport(&server);
  running_server.store(&server);
  if (Status status = server.Start(); !status.ok()) {
    running_server.store(nullptr);
    if (server.told_to_stop()) {
      logger.Write(kLogWarning, "Told to stop amid the start, exiting now.");
      return 0;
    }
    logger.Write(kLogWarning, status.message());
    if (!options->logfile.empty()) std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  bool writes_pid = options->daemonize || !options->pidfile.empty();
  std::string pidfile = options->pidfile.empty() ? "/var/run/firn.pid" : options->pidfile;
  if (writes_pid) WritePidFile(pidfile, &logger);
  if (Status status = TellSupervisor(options->supervised, SupervisedState::kReady); !status.ok()) {
    logger.Write(kLogWarning, status.message());
  }
  int code = server.Run();
  running_server.store(nullptr);
  if (writes_pid) unlink(pidfile.c_str());
  return code;
}

}  // namespace
}  // namespace firn::server

#ifdef FIRN_JEMALLOC
// Read by the allocator: freed pages go back to the kernel soon, by a thread of its own, so that
// the resident size follows `maxmemory`; few arenas, since one thread does nearly everything.
extern "C" {
const char* malloc_conf =
    "background_thread:true,dirty_decay_ms:300,muzzy_decay_ms:0,narenas:4,metadata_thp:disabled";
}
#endif

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  firn::server::ProcessTitle title({argv, static_cast<size_t>(argc)});
  return firn::server::Main(&title, std::move(arguments));
}
