// The stream commands, and what they share.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/stream_groups.h"
#include "engine/types/stream_value.h"
#include "server/command.h"
#include "server/commands/common.h"
#include "tiering/collection.h"

namespace firn::server {

// The stream under a key of the command, or none, for the command that runs. Two for one key must
// not live at the same time.
class OpenStream {
 public:
  enum class Use : uint8_t { kRead, kWrite };
  // Answers WRONGTYPE if the key holds something else: see ok(). A read counts a hit or miss and
  // sends the keymiss event.
  OpenStream(CommandContext& context, const HashedKey& key, Use use);
  OpenStream(CommandContext& context, Use use) : OpenStream(context, context.key(), use) {}

  bool ok() const { return !pages_.wrong_type(); }
  bool exists() const { return pages_.exists(); }
  StreamValue& value() { return value_; }
  PageSpace* pages() { return &pages_; }
  // Tells of a change of the entries.
  void Changed(std::string_view event);

 private:
  CommandContext& context_;
  const HashedKey key_;
  Collection pages_;
  StreamValue value_;
};

StreamLimits StreamLimitsOf(const CommandContext& context);
// A change that nobody watches: of what groups know.
void NoteGroupChange(CommandContext& context, uint64_t changes = 1);

// --- ids

inline constexpr std::string_view kInvalidStreamId =
    "ERR Invalid stream ID specified as stream command argument";
struct ParsedStreamId {
  StreamId id;
  bool automatic_seq = false;  // "<ms>-*"
};
// "<ms>" stands for "<ms>-<missing_seq>". "-" and "+" are refused if strict; "<ms>-*" unless
// `allow_automatic`.
struct StreamIdSyntax {
  uint64_t missing_seq = 0;
  bool strict = true;
  bool allow_automatic = false;
};
bool ParseStreamId(std::string_view text, const StreamIdSyntax& syntax, ParsedStreamId* parsed);
// Each answers the client with an error and returns false if the text doesn't fit.
bool ParseStreamIdOr(CommandContext& context, std::string_view text, StreamId* id);
// The ids from args[first] on.
bool ParseStreamIdsOr(CommandContext& context, size_t first, std::vector<StreamId>* ids);
// The ends of a range, "(" for open ones.
bool ParseRangeStartOr(CommandContext& context, std::string_view text, StreamId* id);
bool ParseRangeEndOr(CommandContext& context, std::string_view text, StreamId* id);
std::optional<StreamId> NextStreamId(StreamId id);

std::string StreamIdText(StreamId id);
void ReplyStreamId(Reply& reply, StreamId id);
// An array of the id and the array of fields.
void ReplyStreamEntry(Reply& reply, const StreamPage::Cursor& entry);
// About what the entry takes in a reply.
inline uint64_t StreamEntryReplyBytes(const StreamPage::Cursor& entry) {
  return entry.size() + 32 + 8 * entry.fields();
}
// Whether the entries of a range are in RAM. If they are too many to answer, replies with an error
// and returns false.
bool WantEntries(CommandContext& context, StreamValue& stream, const StreamRange& range);

// For changes of many pages, of the stream under the command's first key: `step` changes some of
// them and returns whether there is more to do, for which it is called again once others have had
// their turn; the last time it replies. When it returns false without a reply, pages are missing,
// and it has changed nothing. Never called again in a transaction or script (RunsAtomically).
using SliceStep = std::function<bool(CommandContext& context)>;
void RunInSlices(CommandContext& context, SliceStep step);
// As RunInSlices, but others have a turn first: for a command that has changed something. No
// OpenStream may live when the loop goes on.
void RunLater(CommandContext& context, SliceStep step);

// --- how many entries a group has read

struct StreamCounters {
  uint64_t length = 0;
  uint64_t entries_added = 0;
  StreamId first_id;
  StreamId last_id;
  StreamId max_deleted_id;

  // False if pages are missing.
  static bool Read(StreamValue& stream, StreamCounters* counters);
  // Whether entries from `start` on may have been deleted.
  bool HasTombstones(StreamId start) const;
  // How many entries were ever added up to this id; StreamGroups::kUnknownReads if unknown.
  int64_t EstimateReads(StreamId id) const;
};

// --- commands
void XAddCommand(CommandContext& context);
// XADDs of a pipeline that follow one another on one stream (dispatcher_merge.cc).
bool MergedXAdd(CommandContext& context, std::span<const struct ParsedRequest> requests);
void XLenCommand(CommandContext& context);
void XRangeCommand(CommandContext& context);
void XRevRangeCommand(CommandContext& context);
void XDelCommand(CommandContext& context);
void XTrimCommand(CommandContext& context);
void XSetIdCommand(CommandContext& context);
void XReadCommand(CommandContext& context);
void XReadGroupCommand(CommandContext& context);
void XAckCommand(CommandContext& context);
// XACKs of a pipeline that follow one another on one group (dispatcher_merge.cc).
bool MergedXAck(CommandContext& context, std::span<const struct ParsedRequest> requests);
void XClaimCommand(CommandContext& context);
void XAutoClaimCommand(CommandContext& context);
void XPendingCommand(CommandContext& context);
void XGroupCreateCommand(CommandContext& context);
void XGroupCreateConsumerCommand(CommandContext& context);
void XGroupDelConsumerCommand(CommandContext& context);
void XGroupDestroyCommand(CommandContext& context);
void XGroupSetIdCommand(CommandContext& context);
void XGroupHelpCommand(CommandContext& context);
void XInfoStreamCommand(CommandContext& context);
void XInfoGroupsCommand(CommandContext& context);
void XInfoConsumersCommand(CommandContext& context);
void XInfoHelpCommand(CommandContext& context);

}  // namespace firn::server
