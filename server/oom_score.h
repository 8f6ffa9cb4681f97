// OomScore: the process's standing with the kernel's out-of-memory killer (oom-score-adj).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/base/status.h"

namespace firn::server {

class OomScore {
 public:
  // `path`: where the kernel keeps the process's score.
  explicit OomScore(std::string path = "/proc/self/oom_score_adj") : path_(std::move(path)) {}

  enum class Mode : uint8_t { kOff, kRelative, kAbsolute };
  // Sets the score: `adjustment` itself, or added to what it was when the mode was last off. kOff
  // puts that back, and does nothing if it is so already. On failure the score stays.
  Status Apply(Mode mode, int64_t adjustment);

 private:
  Status Write(int64_t score) const;

  const std::string path_;
  std::optional<int64_t> base_;  // while the mode isn't off
};

}  // namespace firn::server
