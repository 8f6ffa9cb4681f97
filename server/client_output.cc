// What a client is sent: replies once they may leave, pushes between them, and the limits of what
// it leaves unread.

#include <algorithm>
#include <utility>

#include "server/client.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr size_t kSendParts = 64;
constexpr uint64_t kSendBytes = 4 << 20;
// Replies that who is not authenticated may leave unread.
constexpr uint64_t kStrangersOutputBytes = 256 << 10;

}  // namespace

void Client::NoteReplies() {
  uint64_t total = sent_total_ + output_.pending_bytes();
  if (total == allowed_total_) return;
  // What these acknowledge is lost, and nothing that follows them may carry them along.
  if (server_.store().LogFailed() && !marks_.empty() &&
      !server_.store().MayReply(marks_.back().lsn)) {
    return;
  }
  uint64_t lsn = server_.store().executed_lsn();
  if (server_.store().MayReply(lsn)) {
    allowed_total_ = total;
    marks_.clear();
  } else if (marks_.empty() || marks_.back().bytes != total) {
    marks_.push_back({lsn, total});
  }
}

void Client::TrySend() {
  // At once, not by the timer: nothing of what is too much is sent.
  if (CheckHardLimit()) return;
  if (closing_ || close_after_transaction_ || send_in_flight_ || server_.loading()) return;
  while (!marks_.empty() && server_.store().MayReply(marks_.front().lsn)) {
    allowed_total_ = marks_.front().bytes;
    marks_.pop_front();
  }
  if (!marks_.empty() && server_.store().LogFailed()) {
    // These replies can never be sent: what they acknowledge may be lost.
    CloseSoon();
    return;
  }
  uint64_t allowed = allowed_total_ - sent_total_;
  if (allowed == 0) {
    if (!marks_.empty()) server_.HoldReplies(this);
    CloseIfOver();
    return;
  }
  auto parts = output_.Peek(kSendParts, std::min(allowed, kSendBytes));
  if (parts.empty()) return;  // the rest waits for a header that is known only at its end
  sending_bytes_ = 0;
  for (const iovec& part : parts) sending_bytes_ += part.iov_len;
  send_in_flight_ = true;
  socket_->Send(parts);
}

void Client::OnSent() {
  send_in_flight_ = false;
  sent_total_ += sending_bytes_;
  server_.stats().net_output_bytes += sending_bytes_;
  ++server_.stats().writes;
  output_.Consume(sending_bytes_);
  last_interaction_micros_ = server_.loop().NowMicros();
  CloseIfOver();
  if (closing_) return;
  server_.NoteActive(this);
  if (receiving_paused_ || unused_bytes() > 0) server_.NoteReady(id_);
  if (on_sent_ != nullptr && output_.pending_bytes() <= awaited_bytes_) {
    std::exchange(on_sent_, nullptr)();
  }
}

void Client::WhenSent(uint64_t bytes, std::move_only_function<void()> callback) {
  if (output_.pending_bytes() <= bytes) {
    server_.loop().Post(std::move(callback));
    return;
  }
  awaited_bytes_ = bytes;
  on_sent_ = std::move(callback);
}

// --- besides replies

void Client::Push(std::string_view bytes, Page* page) {
  if (closing_ || close_after_reply_) return;
  if (transaction_.running || reply_open_ || server_.dispatcher().current_client() == this) {
    if (page != nullptr) page->Acquire();
    held_pushes_.push_back({std::string(bytes), page});
    return;
  }
  output_.Append(bytes);
  if (page != nullptr) output_.AppendPage(page);
  server_.NoteActive(this);
  // At once: a publisher is faster than the timer.
  CheckHardLimit();
}

bool Client::CheckHardLimit() {
  const uint64_t limit = server_.options()->output_buffer_limit(client_class()).hard_bytes;
  if (limit == 0 || output_.pending_bytes() < limit) [[likely]]
    return false;
  CheckOutputLimits(server_.loop().NowMicros());
  return true;
}

void Client::ReleaseHeldPushes() {
  for (const HeldPush& held : std::exchange(held_pushes_, {})) {
    output_.Append(held.bytes);
    if (held.page == nullptr) continue;
    output_.AppendPage(held.page);
    held.page->Release();
  }
  server_.NoteActive(this);
}

// --- limits

void Client::CheckOutputLimits(int64_t now_micros) {
  if (closing_) return;
  const OutputBufferLimit& limit = server_.options()->output_buffer_limit(client_class());
  uint64_t pending = output_.pending_bytes();
  bool hard = (limit.hard_bytes != 0 && pending >= limit.hard_bytes) ||
              (!authenticated_ && pending >= kStrangersOutputBytes);
  bool soft = limit.soft_bytes != 0 && pending >= limit.soft_bytes;
  if (!soft) {
    soft_limit_since_micros_ = 0;
  } else if (soft_limit_since_micros_ == 0) {
    soft_limit_since_micros_ = now_micros;
  } else if (now_micros - soft_limit_since_micros_ > limit.soft_seconds * 1'000'000) {
    hard = true;
  }
  if (hard) CloseForOutput();
}

void Client::CloseForOutput() {
  server_.Log(3, "Client " + Describe() +
                     " scheduled to be closed ASAP for overcoming of output buffer limits.");
  ++server_.stats().output_limit_disconnections;
  CloseSoon();
}

bool Client::OutgrowsHardLimit(uint64_t reply_bytes) {
  const uint64_t limit = server_.options()->output_buffer_limit(client_class()).hard_bytes;
  if (limit == 0 || reply_bytes < limit || closing_) return false;
  CloseForOutput();
  return true;
}

}  // namespace firn::server
