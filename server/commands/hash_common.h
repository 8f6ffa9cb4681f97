// What the hash commands share.
#pragma once

#include <span>
#include <string_view>

#include "engine/types/hash_value.h"
#include "server/commands/common.h"
#include "tiering/collection.h"

namespace firn::server {

// The hash under the command's key, or none, for the command that runs.
class OpenHash {
 public:
  enum class Use : uint8_t { kRead, kWrite };
  // Answers WRONGTYPE if the key holds something else: see ok(). A read counts a hit or miss and
  // sends the keymiss event. Expired fields of a small hash are dropped first.
  OpenHash(CommandContext& context, Use use);

  bool ok() const { return !pages_.wrong_type(); }
  bool exists() const { return pages_.exists(); }
  HashValue& value() { return value_; }
  // REQUIRES: exists().
  std::string_view root() { return pages_.Root(); }

  // Drops all fields that have expired, if there may be any. False: pages are missing.
  bool DropExpired();
  // Those in the page of this field; what a command that changes a hash does at its end.
  void DropExpiredNear(std::string_view name) { NoteDropped(value_.DropExpiredNear(name)); }
  // Wants the pages of fields, which are `step` apart in `names`. False: some are missing.
  bool Want(std::span<const std::string_view> names, size_t step = 1);
  // Tells of a change.
  void Changed(std::string_view event);
  // Of the removal of fields, and of the key if it is gone.
  void Removed(std::string_view event = "hdel");

 private:
  void NoteDropped(uint64_t dropped);

  CommandContext& context_;
  Collection pages_;
  HashValue value_;
};

HashLimits HashLimitsOf(const CommandContext& context);

}  // namespace firn::server
