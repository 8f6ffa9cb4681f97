#include "server/commands/collection_common.h"

#include <algorithm>
#include <limits>
#include <unordered_set>
#include <utility>

#include "engine/base/glob.h"
#include "engine/base/random.h"
#include "server/client.h"
#include "server/commands/common.h"

namespace firn::server {
namespace {

// Decimal digits as strtoul takes them: an optional plus sign, nothing is zero.
bool ParseCursor(std::string_view text, uint64_t* cursor) {
  if (text.starts_with('+')) text.remove_prefix(1);
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<uint64_t>(c - '0');
    if (value > (std::numeric_limits<uint64_t>::max() - digit) / 10) return false;
    value = value * 10 + digit;
  }
  *cursor = value;
  return true;
}

void DrawDistinct(const RandomChoice& choice, Random* random, std::vector<uint64_t>* ranks) {
  // Many of them: each rank in turn, with the probability that leaves as many as are needed.
  if (choice.count > choice.size / 3) {
    for (uint64_t rank = 0; ranks->size() < choice.count; ++rank) {
      const uint64_t needed = choice.count - ranks->size();
      if (random->Below(choice.size - rank) < needed) ranks->push_back(rank);
    }
    return;
  }
  // Few: R. Floyd's method.
  std::unordered_set<uint64_t> drawn;
  for (uint64_t last = choice.size - choice.count; last < choice.size; ++last) {
    uint64_t rank = random->Below(last + 1);
    if (!drawn.insert(rank).second) {
      rank = last;
      drawn.insert(last);
    }
    ranks->push_back(rank);
  }
}

}  // namespace

bool CheckRandomCount(CommandContext& context, uint64_t count) {
  constexpr uint64_t kMost = 1 << 26;
  // "$0", two line ends.
  constexpr uint64_t kLeastElement = 6;
  const bool fits = count <= std::min(kMost, MaxReplyBytes(context) / sizeof(uint64_t));
  if (!RunsAtomically(context)) {
    const uint64_t bytes = std::min(count, std::numeric_limits<uint64_t>::max() / kLeastElement);
    if (context.client.OutgrowsHardLimit(bytes * kLeastElement)) return false;
  }
  if (!fits) context.reply.Error(kOutOfMemoryError);
  return fits;
}

std::vector<uint64_t> ChooseRanks(CommandContext& context, const RandomChoice& choice) {
  Random random(context.client.random_seed());
  std::vector<uint64_t> ranks;
  ranks.reserve(choice.count);
  if (choice.repeat || choice.count == 1) {
    for (uint64_t i = 0; i < choice.count; ++i) ranks.push_back(random.Below(choice.size));
    return ranks;
  }
  DrawDistinct(choice, &random, &ranks);
  for (uint64_t i = ranks.size(); i > 1; --i) std::swap(ranks[i - 1], ranks[random.Below(i)]);
  return ranks;
}

bool ElementScan::Wants(std::string_view element) const {
  return pattern == "*" || GlobMatch(pattern, element);
}

bool ParseElementScanOr(CommandContext& context, ScanOptions options, ElementScan* scan) {
  return ParseScanCursorOr(context, scan) && ParseScanOptionsOr(context, options, scan);
}

bool ParseScanCursorOr(CommandContext& context, ElementScan* scan) {
  if (ParseCursor(context.args[2], &scan->cursor)) return true;
  context.reply.Error("ERR invalid cursor");
  return false;
}

bool ParseScanOptionsOr(CommandContext& context, ScanOptions options, ElementScan* scan) {
  std::span<const std::string_view> args = context.args;
  for (size_t i = 3; i < args.size(); ++i) {
    const bool has_value = i + 1 < args.size();
    if (has_value && EqualsIgnoreCase(args[i], "count")) {
      int64_t count;
      if (!ParseIntegerOr(context, args[++i], &count)) return false;
      if (count < 1) {
        context.reply.Error(kSyntaxError);
        return false;
      }
      scan->count = static_cast<uint64_t>(count);
    } else if (has_value && EqualsIgnoreCase(args[i], "match")) {
      scan->pattern = args[++i];
    } else if (options == ScanOptions::kNoValues && EqualsIgnoreCase(args[i], "novalues")) {
      scan->no_values = true;
    } else {
      context.reply.Error(kSyntaxError);
      return false;
    }
  }
  return true;
}

}  // namespace firn::server
