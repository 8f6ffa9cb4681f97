#include "tiering/io/net_loop.h"

#include "engine/base/check.h"
#include "tiering/io/thread_loop.h"

namespace firn::io {

Result<std::unique_ptr<NetLoop>> CreateNetLoop(const NetLoopOptions& options, std::string* notice) {
  CHECK(options.workers >= 1);
  notice->clear();
  return CreateThreadLoop(options);
}

}  // namespace firn::io
