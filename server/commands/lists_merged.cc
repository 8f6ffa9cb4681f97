// Pushes and pops of a pipeline that follow one another on one list (dispatcher_merge.cc): the
// list's end is looked up, changed and logged once.
#include <vector>

#include "server/commands/lists.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Replies are bounded between commands; within merged ones by this.
constexpr uint64_t kMostPoppedBytes = 64 << 10;

void CountChanges(CommandContext& context, uint64_t count) {
  // A key that was modified has counted one.
  context.Modified(context.key());
  context.server.stats().changes += count - 1;
}

bool MergePushes(CommandContext& context, ListEnd end, std::span<const ParsedRequest> requests) {
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (access.pages().wrong_type()) return false;
  std::vector<std::string_view> elements;
  elements.reserve(requests.size());
  for (const ParsedRequest& request : requests) {
    elements.insert(elements.end(), request.args.begin() + 2, request.args.end());
  }
  uint64_t length = access.list().length();
  if (!access.list().Push(end, elements)) return false;
  CountChanges(context, elements.size());
  for (const ParsedRequest& request : requests) {
    length += request.args.size() - 2;
    context.reply.Integer(static_cast<int64_t>(length));
  }
  return true;
}

bool MergePops(CommandContext& context, ListEnd end, std::span<const ParsedRequest> requests) {
  ListAccess access(context, context.key(), ListAccess::Purpose::kWrite);
  if (!access.exists()) return false;
  ListValue& list = access.list();
  const uint64_t length = list.length();
  const uint64_t count = std::min<uint64_t>(requests.size(), length);
  const ListValue::Ranks ranks = end == ListEnd::kHead
                                     ? ListValue::Ranks{0, count - 1}
                                     : ListValue::Ranks{length - count, length - 1};
  if (!list.Want(ranks) || list.BytesOf(ranks) > kMostPoppedBytes) return false;
  auto reply = [&](std::string_view bytes) { context.reply.Bulk(bytes); };
  end == ListEnd::kHead ? list.ForEach(ranks, reply) : list.ForEachBackward(ranks, reply);
  list.RemoveRanks(ranks);
  for (uint64_t i = count; i < requests.size(); ++i) context.reply.Null();
  CountChanges(context, count);
  return true;
}

}  // namespace

bool MergedLPush(CommandContext& context, std::span<const ParsedRequest> requests) {
  return MergePushes(context, ListEnd::kHead, requests);
}
bool MergedRPush(CommandContext& context, std::span<const ParsedRequest> requests) {
  return MergePushes(context, ListEnd::kTail, requests);
}
bool MergedLPop(CommandContext& context, std::span<const ParsedRequest> requests) {
  return MergePops(context, ListEnd::kHead, requests);
}
bool MergedRPop(CommandContext& context, std::span<const ParsedRequest> requests) {
  return MergePops(context, ListEnd::kTail, requests);
}

}  // namespace firn::server
