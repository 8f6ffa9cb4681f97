#include "server/net/tls_socket.h"

#include <openssl/err.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "engine/base/check.h"

namespace firn::server {
namespace {

constexpr int64_t kHandshakeMicros = 10'000'000;
// The most plain bytes that one record holds.
constexpr size_t kRecordBytes = 16 * 1024;
// So many encrypted bytes are made ahead of what the kernel takes.
constexpr size_t kSendBytes = 128 * 1024;
constexpr int kMaxUnsentBytes = 1 << 20;
// A handshake needs less than this of a client, certificates included.
constexpr size_t kMaxHandshakeBytes = 256 * 1024;

std::string TakeError() {
  std::string text;
  const unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  text = reason == nullptr ? "protocol error" : reason;
  ERR_clear_error();
  return text;
}

}  // namespace

TlsSocket* TlsSocket::Create(io::Socket* plain, const TlsSettings& settings, io::NetLoop* loop,
                             Report report) {
  auto* socket = new TlsSocket(plain, loop, std::move(report));
  socket->ssl_.reset(SSL_new(settings.context()));
  socket->received_ = BIO_new(BIO_s_mem());
  socket->to_send_ = BIO_new(BIO_s_mem());
  CHECK(socket->ssl_ != nullptr && socket->received_ != nullptr && socket->to_send_ != nullptr);
  SSL_set_bio(socket->ssl_.get(), socket->received_, socket->to_send_);
  SSL_set_accept_state(socket->ssl_.get());
  return socket;
}

TlsSocket::TlsSocket(io::Socket* plain, io::NetLoop* loop, Report report)
    : plain_(plain), loop_(*loop), report_(std::move(report)) {}

TlsSocket::~TlsSocket() = default;

void TlsSocket::Start(io::SocketHandler* handler) {
  handler_ = handler;
  timer_ = loop_.AddTimer(kHandshakeMicros, [this] {
    if (connected_ || failed_) return;
    report_(*this, "no handshake in time");
    Fail(ETIMEDOUT);
  });
  plain_->Start(this);
}

void TlsSocket::Close() {
  if (connected_ && !failed_ && !send_in_flight_ && BIO_pending(to_send_) == 0) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    SendFarewell();
  }
  loop_.CancelTimer(timer_);
  if (work_scheduled_) loop_.CancelTimer(work_timer_);
  plain_->Close();
  // From inside a call of the handler: Work deletes it when it is back.
  closed_ = true;
  if (!working_) delete this;
}

// --- what the handler asks for

void TlsSocket::PauseReceiving() {
  paused_ = true;
  plain_->PauseReceiving();
}

void TlsSocket::ResumeReceiving() {
  paused_ = false;
  plain_->ResumeReceiving();
  // What was received before may not have been decrypted yet.
  ScheduleWork();
}

void TlsSocket::Send(std::span<const iovec> parts) {
  parts_.assign(parts.begin(), parts.end());
  next_part_ = 0;
  handler_sends_ = true;
  if (!working_) {
    Encrypt();
    SendEncrypted();
    if (failed_ || (!send_in_flight_ && handler_sends_)) ScheduleWork();
  }
}

// The handler isn't called from inside its own calls.
void TlsSocket::ScheduleWork() {
  if (work_scheduled_ || closed_) return;
  work_scheduled_ = true;
  work_timer_ = loop_.AddTimer(0, [this] {
    work_scheduled_ = false;
    Work();
  });
}

// --- what the plain socket tells

void TlsSocket::OnReceived(std::string_view bytes) {
  if (failed_) return;
  if (!connected_ &&
      static_cast<size_t>(BIO_pending(received_)) + bytes.size() > kMaxHandshakeBytes) {
    report_(*this, "handshake is too long");
    Fail(EPROTO);
    return;
  }
  for (std::string_view rest = bytes; !rest.empty();) {
    const size_t size = std::min<size_t>(rest.size(), 1 << 30);
    if (BIO_write(received_, rest.data(), static_cast<int>(size)) != static_cast<int>(size)) {
      Fail(ENOMEM);
      return;
    }
    rest.remove_prefix(size);
  }
  Work();
}

void TlsSocket::OnSent() {
  send_in_flight_ = false;
  sending_.clear();
  if (sending_.capacity() > kSendBytes) sending_.shrink_to_fit();
  Work();
}

void TlsSocket::OnEnded() {
  peer_ended_ = true;
  if (!connected_ && !failed_) {
    report_(*this, "the peer has gone");
    Fail(0);
    return;
  }
  Work();
}

void TlsSocket::OnDisconnected(int error) {
  if (!connected_ && !failed_) report_(*this, "the peer has gone");
  Fail(error);
}

// --- the filter

void TlsSocket::Work() {
  if (working_ || closed_) return;
  working_ = true;
  if (!failed_ && (connected_ || Handshake())) {
    Encrypt();
    SendEncrypted();
    // A handler that is told of a sent reply may send the next one, and be told of that one later.
    if (handler_sends_ && !send_in_flight_ && next_part_ == parts_.size()) {
      handler_sends_ = false;
      handler_->OnSent();
      if (!closed_) Encrypt();
    }
    if (!closed_ && !failed_) Decrypt();
    // Who asks for answers of the protocol itself has to read them.
    if (BIO_pending(to_send_) > kMaxUnsentBytes) failed_ = true;
  }
  if (!closed_ && !failed_) {
    Encrypt();
    SendEncrypted();
  }
  if (!closed_) DeliverEnd();
  working_ = false;
  if (closed_) delete this;
}

bool TlsSocket::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    connected_ = true;
    loop_.CancelTimer(timer_);
    report_(*this, "");
    return true;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
    report_(*this, TakeError());
    failed_ = true;
  }
  return false;
}

bool TlsSocket::Decrypt() {
  std::array<char, kRecordBytes> plain;
  while (!paused_ && !closed_) {
    ERR_clear_error();
    const int size = SSL_read(ssl_.get(), plain.data(), static_cast<int>(plain.size()));
    if (size > 0) {
      handler_->OnReceived({plain.data(), static_cast<size_t>(size)});
      continue;
    }
    const int error = SSL_get_error(ssl_.get(), size);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return true;
    if (error == SSL_ERROR_ZERO_RETURN) {
      peer_ended_ = true;
      return true;
    }
    ERR_clear_error();
    failed_ = true;
    return false;
  }
  return true;
}

// As many of the handler's bytes as are wanted ahead.
void TlsSocket::Encrypt() {
  if (!connected_ || failed_) return;
  while (next_part_ < parts_.size() && static_cast<size_t>(BIO_pending(to_send_)) < kSendBytes) {
    iovec& part = parts_[next_part_];
    if (part.iov_len == 0) {
      ++next_part_;
      continue;
    }
    ERR_clear_error();
    const int wanted = static_cast<int>(std::min<size_t>(part.iov_len, kSendBytes));
    const int size = SSL_write(ssl_.get(), part.iov_base, wanted);
    if (size <= 0) {
      const int error = SSL_get_error(ssl_.get(), size);
      // A change of keys may want the peer's answer first.
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return;
      ERR_clear_error();
      failed_ = true;
      return;
    }
    part.iov_base = static_cast<char*>(part.iov_base) + size;
    part.iov_len -= static_cast<size_t>(size);
  }
}

void TlsSocket::SendEncrypted() {
  if (send_in_flight_) return;
  const size_t size = static_cast<size_t>(BIO_pending(to_send_));
  if (size == 0) return;
  sending_.resize(size);
  const int taken = BIO_read(to_send_, sending_.data(), static_cast<int>(size));
  CHECK(taken == static_cast<int>(size));
  send_in_flight_ = true;
  const iovec part{sending_.data(), size};
  plain_->Send({&part, 1});
}

// An alert, or that nothing follows: as far as the kernel takes it, for the connection is over.
void TlsSocket::SendFarewell() {
  std::array<char, 512> bytes;
  const int size = BIO_read(to_send_, bytes.data(), static_cast<int>(bytes.size()));
  if (size <= 0) return;
  const ssize_t sent =
      send(plain_->fd(), bytes.data(), static_cast<size_t>(size), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)sent;
}

void TlsSocket::Fail(int error) {
  error_ = error;
  failed_ = true;
  if (working_) return;
  working_ = true;
  DeliverEnd();
  working_ = false;
  if (closed_) delete this;
}

void TlsSocket::DeliverEnd() {
  if (failed_) {
    if (std::exchange(failure_delivered_, true)) return;
    if (!send_in_flight_) SendFarewell();
    handler_->OnDisconnected(error_);
  } else if (peer_ended_ && !paused_ && !std::exchange(end_delivered_, true)) {
    handler_->OnEnded();
  }
}

}  // namespace firn::server
