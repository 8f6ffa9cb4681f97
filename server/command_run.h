// CommandRun: one run of a command's function. If it meets pages that are not in RAM the command
// runs again, from the start, once they are there; so it must have left no trace: what it had
// replied would be sent twice, and every later reply of the connection be taken for the one before.
// Not for steps of commands that take turns (commands/sliced_command.h), which go on where they
// met such a page. Executor thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/base/check.h"
#include "server/resp/reply.h"
#include "server/server.h"
#include "tiering/store.h"

namespace firn::server {

class CommandRun {
 public:
  // Just before it. Both must outlive it. REQUIRES: what an earlier run missed is planned.
  CommandRun(Server& server, const Reply& reply)
      : server_(server),
        reply_(reply),
        store_mark_(server.store().MarkRun()),
        changes_(server.stats().changes),
        position_(reply.position()),
        errors_(reply.errors()) {
    CHECK_MSG(!server.store().pages_missing(), "nobody has fetched the pages that a run missed");
  }

  // Just after it: whether it missed pages. Its look-ups are not counted then. Ends the process if
  // it has replied or changed something all the same; `command` is named.
  bool MissedPages(std::string_view command) {
    if (!server_.store().pages_missing()) [[likely]]
      return false;
    TakeBack(command);
    return true;
  }
  // The same for a run that is repeated for another reason.
  void TakeBack(std::string_view command);

 private:
  Server& server_;  // whose store a command may close and open again
  const Reply& reply_;
  const Store::RunMark store_mark_;
  const uint64_t changes_;
  const OutputBuffer::Position position_;
  const uint64_t errors_;
};

}  // namespace firn::server
