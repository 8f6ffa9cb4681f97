// The crash report: on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and a failed CHECK, stack,
// registers, client and last command go to the log before the process ends.
#pragma once

namespace firn::server {

class Server;

// `server` lives as long as the process serves. Once a process.
void InstallCrashReport(Server* server);

}  // namespace firn::server
