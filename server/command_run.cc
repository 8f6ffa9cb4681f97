#include "server/command_run.h"

#include <string>

#include "engine/base/check.h"

namespace firn::server {

void CommandRun::TakeBack(std::string_view command) {
  Store& store = server_.store();
  const uint64_t expired = store.MarkRun().expired - store_mark_.expired;
  const bool replied = reply_.position() != position_ || reply_.errors() != errors_;
  const bool changed = server_.stats().changes != changes_ + expired;
  if (replied || changed) {
    const std::string detail = std::string(command) + " is to run again, and has " +
                               (replied ? "replied" : "changed something");
    CHECK_MSG(false, detail.c_str());
  }
  store.TakeBack(store_mark_);
}

}  // namespace firn::server
