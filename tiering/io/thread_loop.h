// The loop for where io_uring is refused: epoll for the sockets, threads for the disk.
#pragma once

#include <memory>

#include "engine/base/status.h"
#include "tiering/io/net_loop.h"

namespace firn::io {

// `options.backend` is not looked at. REQUIRES: called by the thread that will run the loop.
Result<std::unique_ptr<NetLoop>> CreateThreadLoop(const NetLoopOptions& options);

}  // namespace firn::io
