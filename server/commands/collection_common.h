// What the commands of hashes and sets share: choosing at random, and the arguments of scans.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "server/command.h"

namespace firn::server {

// --- random elements, by rank

struct RandomChoice {
  uint64_t count = 0;
  uint64_t size = 0;    // of the collection; not 0
  bool repeat = false;  // a rank may come several times; if not, `count` is at most `size`
};
// Ranks in random order, from the client's seed: the same until AdvanceRandomSeed.
std::vector<uint64_t> ChooseRanks(CommandContext& context, const RandomChoice& choice);
// False if so many elements can't be given: the client has been answered, or closed if its output
// buffer has a limit that they exceed. Before ChooseRanks, whose work grows with the number.
bool CheckRandomCount(CommandContext& context, uint64_t count);

// --- HSCAN, SSCAN

struct ElementScan {
  uint64_t cursor = 0;
  uint64_t count = 10;
  std::string_view pattern = "*";
  bool no_values = false;  // NOVALUES, where it is allowed

  bool Wants(std::string_view element) const;
};
enum class ScanOptions : uint8_t { kPlain, kNoValues };
// Answers the client with an error and returns false if the arguments from the third on don't fit.
bool ParseElementScanOr(CommandContext& context, ScanOptions options, ElementScan* scan);
// Its two halves: Redis looks the key up in between, and doesn't read the options if it is absent.
bool ParseScanCursorOr(CommandContext& context, ElementScan* scan);
bool ParseScanOptionsOr(CommandContext& context, ScanOptions options, ElementScan* scan);

}  // namespace firn::server
