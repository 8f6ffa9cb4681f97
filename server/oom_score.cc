#include "server/oom_score.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace firn::server {
namespace {

constexpr int64_t kMostScore = 1000;

Status Failed(const char* what) {
  return Status::Invalid(std::string("Failed to ") + what + " oom-score-adj: " +
                         std::strerror(errno));
}

}  // namespace

Status OomScore::Write(int64_t score) const {
  const int descriptor = open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return Failed("set");
  const std::string text = std::to_string(score);
  const bool written =
      write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  Status status = written ? Status::Ok() : Failed("set");
  close(descriptor);
  return status;
}

Status OomScore::Apply(Mode mode, int64_t adjustment) {
  if (mode == Mode::kOff) {
    if (!base_) return Status::Ok();
    FIRN_RETURN_IF_ERROR(Write(*base_));
    base_.reset();
    return Status::Ok();
  }
  int64_t base = 0;
  if (base_) {
    base = *base_;
  } else {
    const int descriptor = open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return Failed("read");
    char text[32] = {};
    const ssize_t size = read(descriptor, text, sizeof text - 1);
    close(descriptor);
    if (size <= 0) return Failed("read");
    base = std::strtoll(text, nullptr, 10);
  }
  const int64_t score = mode == Mode::kRelative ? base + adjustment : adjustment;
  FIRN_RETURN_IF_ERROR(Write(std::clamp(score, -kMostScore, kMostScore)));
  base_ = base;
  return Status::Ok();
}

}  // namespace firn::server
