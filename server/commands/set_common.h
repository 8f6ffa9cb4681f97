// What the set commands share.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/types/set_value.h"
#include "server/commands/common.h"
#include "tiering/collection.h"

namespace firn::server {

// The set under a key, or none, for the command that runs.
class OpenSet {
 public:
  enum class Use : uint8_t { kRead, kWrite };
  // A read counts a hit or miss and sends the keymiss event.
  OpenSet(CommandContext& context, const HashedKey& key, Use use);

  bool exists() const { return pages_.exists(); }
  bool wrong_type() const { return pages_.wrong_type(); }
  // Answers WRONGTYPE and returns false if the key holds something else.
  bool CheckType(CommandContext& context) const;
  SetValue& value() { return value_; }
  // REQUIRES: exists().
  std::string_view root() { return pages_.Root(); }
  const HashSecret& secret() const { return pages_.secret(); }
  // REQUIRES: exists().
  void Delete() { pages_.DeleteValue(); }

 private:
  Collection pages_;
  SetValue value_;
};

SetLimits SetLimitsOf(const CommandContext& context);

// Whether a reply with members of this many bytes in all stays within MaxReplyBytes; if not,
// answers with an error.
struct ReplySize {
  uint64_t members = 0;
  uint64_t bytes = 0;
};
bool CheckReplySize(CommandContext& context, const ReplySize& size);

// Answers with all members, as a set. False: pages are missing, nothing was answered. True as well
// if an error was answered; `answered_all` then says so.
bool ReplyAllMembers(CommandContext& context, SetValue& value, bool* answered_all = nullptr);

// Tells that a set was changed, and that it is gone if it is.
void NoteSetChange(CommandContext& context, const HashedKey& key, std::string_view event,
                   bool gone);

// Makes the key the set of these members, whatever it was; deletes it if there are none. Answers
// with their number. REQUIRES: no object on a collection of the key lives; the members lie in no
// page.
struct SetResult {
  std::span<const std::string_view> members;
  SetEncoding encoding = SetEncoding::kIntset;
};
void StoreSet(CommandContext& context, const HashedKey& key, const SetResult& result,
              std::string_view event);

}  // namespace firn::server
