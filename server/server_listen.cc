// Server's part of sockets: where it listens, and who is let in.

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "server/acl/acl.h"
#include "server/net/io_threads.h"
#include "server/server.h"

namespace firn::server {
namespace {

// At the start only.
constexpr int kBindRetries = 100;
constexpr auto kBindRetryInterval = std::chrono::milliseconds(20);

}  // namespace

Status Server::Listen() {
  FIRN_RETURN_IF_ERROR(ListenTcp());
  return ListenUnix();
}

Status Server::ListenTcp() {
  if (options_->port != 0) {
    FIRN_RETURN_IF_ERROR(ListenOn({.number = options_->port, .is_encrypted = false}));
  }
  if (options_->tls_port == 0) return Status::Ok();
  if (tls_ == nullptr) FIRN_RETURN_IF_ERROR(LoadTls());
  return ListenOn({.number = options_->tls_port, .is_encrypted = true});
}

Status Server::ListenOn(const Port& port) {
  for (std::string host : options_->bind) {
    bool optional = host.starts_with('-');
    if (optional) host.erase(0, 1);
    bool everywhere = host == "*" || host == "::*";
    if (host == "*") host = "0.0.0.0";
    if (host == "::*") host = "::";
    auto listen = [&] {
      return loop_->Listen({.host = host,
                            .port = static_cast<uint16_t>(port.number),
                            .backlog = options_->tcp_backlog},
                           [this, encrypted = port.is_encrypted](io::Socket* socket, int error) {
                             encrypted ? OnAcceptEncrypted(socket, error)
                                       : OnAcceptPlain(socket, error);
                           });
    };
    auto listener = listen();
    // The kernel lets go of a killed server's ring, and of the sockets in it, a little after the
    // process has ended: one that is started again at once has to wait for that.
    for (int i = 0; i < kBindRetries && loading() && !listener; ++i) {
      if (listener.error().error_number() != EADDRINUSE) break;
      std::this_thread::sleep_for(kBindRetryInterval);
      listener = listen();
    }
    if (!listener) {
      int error = listener.error().error_number();
      bool absent = error == EADDRNOTAVAIL || error == EAFNOSUPPORT || error == EPROTONOSUPPORT;
      if (absent && (optional || everywhere)) continue;
      Log(kLogWarning, "Warning: Could not create server TCP listening socket " + host + ":" +
                           std::to_string(port.number) + ": bind: " +
                           (error != 0 ? std::strerror(error) : listener.error().message()));
      return Status(listener.error().code(),
                    "Failed listening on port " + std::to_string(port.number) +
                        (port.is_encrypted ? " (tls), aborting." : " (tcp), aborting."));
    }
    listeners_.push_back(std::move(*listener));
  }
  return Status::Ok();
}

Status Server::ListenUnix() {
  if (options_->unixsocket.empty()) return Status::Ok();
  auto listener =
      loop_->Listen({.unix_path = options_->unixsocket,
                     .unix_permissions = options_->unixsocketperm,
                     .backlog = options_->tcp_backlog},
                    [this](io::Socket* socket, int error) { OnAcceptPlain(socket, error); });
  if (!listener) {
    return Status(listener.error().code(),
                  "Failed opening Unix socket: " + listener.error().message());
  }
  listeners_.push_back(std::move(*listener));
  return Status::Ok();
}

void Server::OnAcceptPlain(io::Socket* socket, int error) {
  if (socket != nullptr && io_threads_ != nullptr) socket = io_threads_->Take(socket);
  OnAccept(socket, error);
}

void Server::OnAccept(io::Socket* socket, int error) {
  if (socket == nullptr) {
    Log(kLogWarning, std::string("Accepting client connection: ") + std::strerror(error));
    return;
  }
  if (stopping_) {
    socket->Close();
    return;
  }
  if (!serving_ && !first_loading()) {
    // The log is being replayed: its turn comes when that is done.
    early_sockets_.push_back(socket);
    return;
  }
  ++stats_.connections_received;
  OnAccepted(socket);
}

void Server::OnAccepted(io::Socket* socket) {
  auto owned = std::make_unique<Client>(this, next_client_id_++, socket);
  Client* client = owned.get();
  clients_[client->id()] = std::move(owned);
  by_id_[client->id()] = client;
  stats_.peak_clients = std::max<uint64_t>(stats_.peak_clients, clients_.size());
  socket->Start(client);
  if (options_->tcp_keepalive_seconds > 0 && !client->address().is_unix) {
    socket->SetKeepAlive(static_cast<int>(options_->tcp_keepalive_seconds));
  }
  std::string refusal;
  if (clients_.size() > options_->maxclients) {
    refusal = "ERR max number of clients reached";
  } else if (options_->protected_mode && acl_->default_user()->no_password && !client->IsLocal()) {
    refusal =
        "DENIED Firn is running in protected mode because protected mode is enabled and no "
        "password is set for the default user. In this mode connections are only accepted from "
        "the loopback interface. Set a password, or turn protected-mode off, to accept others.";
  }
  if (!refusal.empty()) {
    ++stats_.connections_rejected;
    client->reply().Error(refusal);
    client->CloseAfterReply();
  }
}

}  // namespace firn::server
