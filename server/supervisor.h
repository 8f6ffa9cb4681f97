// What the process tells the supervisor that started it (the option `supervised`): that it is ready
// to serve, and that it is about to end. Executor thread.
#pragma once

#include "engine/base/status.h"
#include "server/options/option_values.h"

namespace firn::server {

enum class SupervisedState : uint8_t { kReady, kStopping };

// With systemd, a datagram to the socket named by NOTIFY_SOCKET (sd_notify(3)); with upstart, a
// SIGSTOP of the own process when it is ready; `auto` finds out by the environment. Does nothing,
// with kOk, if there is nobody to tell.
Status TellSupervisor(Supervision supervision, SupervisedState state);

}  // namespace firn::server
