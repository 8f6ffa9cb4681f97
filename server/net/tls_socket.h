// TlsSocket: an encrypted connection that looks like a plain one to its handler: a filter between
// the bytes on the wire and the bytes of requests and replies. OpenSSL works on buffers in memory
// and never sees the descriptor.
//
// The handshake comes before the handler is called at all. A peer that sends anything else than a
// handshake, or none in time, or no acceptable certificate, is disconnected.
//
// Executor thread.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/net/tls_settings.h"
#include "tiering/io/net_loop.h"

namespace firn::server {

class TlsSocket : public io::Socket, private io::SocketHandler {
 public:
  // How the handshake ended: `error` is empty, or says why it failed.
  using Report = std::function<void(const TlsSocket& socket, const std::string& error)>;

  // Takes the connection, which hasn't been started. Gone after Close, as every Socket.
  static TlsSocket* Create(io::Socket* plain, const TlsSettings& settings, io::NetLoop* loop,
                           Report report);

  // --- io::Socket
  void Start(io::SocketHandler* handler) override;
  void PauseReceiving() override;
  void ResumeReceiving() override;
  void Send(std::span<const iovec> parts) override;
  void Close() override;
  int fd() const override { return plain_->fd(); }
  const io::SocketAddress& address() const override { return plain_->address(); }
  void SetKeepAlive(int interval_seconds) override { plain_->SetKeepAlive(interval_seconds); }

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  TlsSocket(io::Socket* plain, io::NetLoop* loop, Report report);
  ~TlsSocket() override;

  // --- io::SocketHandler of the plain socket
  void OnReceived(std::string_view bytes) override;
  void OnSent() override;
  void OnEnded() override;
  void OnDisconnected(int error) override;

  // Goes on with whatever can go on. Not called again from the handler's calls inside of it.
  void Work();
  bool Handshake();
  // False once the connection is over.
  bool Decrypt();
  void Encrypt();
  void SendEncrypted();
  // Tells the handler, once, that there is no more.
  void Fail(int error);
  void DeliverEnd();
  void SendFarewell();
  void ScheduleWork();

  io::Socket* plain_;
  io::NetLoop& loop_;
  Report report_;
  std::unique_ptr<SSL, FreeSsl> ssl_;
  BIO* received_ = nullptr;  // encrypted, from the peer; owned by ssl_
  BIO* to_send_ = nullptr;   // encrypted, for the peer; owned by ssl_
  io::SocketHandler* handler_ = nullptr;

  std::vector<iovec> parts_;  // what is left of the handler's Send
  size_t next_part_ = 0;
  std::string sending_;  // encrypted, in flight
  bool send_in_flight_ = false;
  bool handler_sends_ = false;  // its OnSent is due
  bool connected_ = false;
  bool paused_ = false;
  bool peer_ended_ = false;
  bool end_delivered_ = false;
  bool failure_delivered_ = false;
  int error_ = 0;
  bool failed_ = false;
  bool closed_ = false;
  bool working_ = false;
  bool work_scheduled_ = false;
  io::TimerId timer_ = 0;
  io::TimerId work_timer_ = 0;
};

}  // namespace firn::server
