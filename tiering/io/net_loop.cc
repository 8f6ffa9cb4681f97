#include "tiering/io/net_loop.h"

#include <string>
#include <utility>

#include "engine/base/check.h"
#include "tiering/io/thread_loop.h"
#include "tiering/io/uring_loop.h"

namespace firn::io {

Result<std::unique_ptr<NetLoop>> CreateNetLoop(const NetLoopOptions& options, std::string* notice) {
  CHECK(options.workers >= 1);
  notice->clear();
  if (options.backend == Backend::kThreads) return CreateThreadLoop(options);
  Result<std::unique_ptr<NetLoop>> loop = CreateUringLoop(options);
  if (loop || options.backend == Backend::kUring) return loop;
  *notice = "io_uring is not available (" + loop.error().message() +
            "): using epoll and threads instead, cold reads will cost more";
  return CreateThreadLoop(options);
}

}  // namespace firn::io
