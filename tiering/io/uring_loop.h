// The loop on one io_uring: sockets, disk, timers and wake-ups are completions of one ring, and an
// iteration is one system call.
#pragma once

#include <memory>

#include "engine/base/status.h"
#include "tiering/io/net_loop.h"

namespace firn::io {

// `options.backend` is not looked at. Fails with kUnsupported where io_uring can't be used.
// REQUIRES: called by the thread that will run the loop.
Result<std::unique_ptr<NetLoop>> CreateUringLoop(const NetLoopOptions& options);

}  // namespace firn::io
