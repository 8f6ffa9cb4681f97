// LCS.
#include <string>

#include "engine/types/string_ops.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/commands/strings.h"

namespace firn::server {
namespace {

struct LcsOptions {
  bool length = false;
  bool matches = false;
  bool match_lengths = false;
  int64_t min_match_size = 0;
};

bool ParseOptionsOr(CommandContext& context, LcsOptions* options) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 3; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "idx")) {
      options->matches = true;
    } else if (EqualsIgnoreCase(args[i], "len")) {
      options->length = true;
    } else if (EqualsIgnoreCase(args[i], "withmatchlen")) {
      options->match_lengths = true;
    } else if (EqualsIgnoreCase(args[i], "minmatchlen") && i + 1 < args.size()) {
      if (!ParseIntegerOr(context, args[++i], &options->min_match_size)) return false;
      options->min_match_size = std::max<int64_t>(options->min_match_size, 0);
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  if (options->length && options->matches) {
    context.reply.Error("ERR If you want both the length and indexes, please just use IDX.");
    return false;
  }
  return true;
}

void ReplyMatches(Reply& reply, const LcsResult& result, const LcsOptions& options) {
  reply.MapHeader(2);
  reply.Bulk(std::string_view("matches"));
  reply.ArrayHeader(static_cast<int64_t>(result.matches.size()));
  for (const LcsMatch& match : result.matches) {
    reply.ArrayHeader(options.match_lengths ? 3 : 2);
    reply.ArrayHeader(2);
    reply.Integer(match.a_first);
    reply.Integer(match.a_last);
    reply.ArrayHeader(2);
    reply.Integer(match.b_first);
    reply.Integer(match.b_last);
    if (options.match_lengths) reply.Integer(match.length());
  }
  reply.Bulk(std::string_view("len"));
  reply.Integer(static_cast<int64_t>(result.length));
}

}  // namespace

void LcsCommand(CommandContext& context) {
  Database::KeyInfo infos[2];
  for (size_t i = 0; i < 2; ++i) {
    infos[i] = LookupForRead(context, context.key(i));
    if (infos[i].exists() && infos[i].type != ValueType::kString) {
      return context.reply.Error("ERR The specified keys must contain string values");
    }
  }
  LcsOptions options;
  if (!ParseOptionsOr(context, &options)) return;
  WholeString values[2];
  bool complete = true;
  for (size_t i = 0; i < 2; ++i) {
    if (infos[i].exists()) complete &= values[i].Load(context.db(), context.key(i), infos[i]);
  }
  if (!complete) return;
  const LcsInput input = {values[0].bytes(), values[1].bytes()};
  if (!LcsAccepts(input)) return context.reply.Error("ERR String too long for LCS");
  if (LcsTableBytes(input) > MaxStringBytes(context)) {
    return context.reply.Error(
        "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
  }
  const LcsWanted wanted = options.matches  ? LcsWanted::kMatches
                           : options.length ? LcsWanted::kLength
                                            : LcsWanted::kSequence;
  LcsResult result =
      LongestCommonSubsequence(input, wanted, static_cast<uint64_t>(options.min_match_size));
  if (options.matches) return ReplyMatches(context.reply, result, options);
  if (options.length) return context.reply.Integer(static_cast<int64_t>(result.length));
  context.reply.Bulk(result.common);
}

}  // namespace firn::server
