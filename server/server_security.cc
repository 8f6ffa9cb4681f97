// Server's part of who may connect, and as whom: renamed commands, users, encrypted ports.

#include <cerrno>

#include "server/acl/acl.h"
#include "server/net/io_threads.h"
#include "server/net/tls_settings.h"
#include "server/net/tls_socket.h"
#include "server/server.h"

namespace firn::server {

Status Server::StartSecurity() {
  for (const Options::CommandName& each : options_.renamed_commands()) {
    FIRN_RETURN_IF_ERROR(commands_.Rename(each.from, each.to));
  }
  return acl_->LoadAtStart();
}

void Server::RegisterSecurityAppliers() {
  // Clients that are connected stay authenticated, as in Redis.
  options_.OnChange({"requirepass"}, [this] {
    acl_->SetDefaultPassword(options_->requirepass);
    return Status::Ok();
  });
  // Connections keep what they began with.
  options_.OnChange({"tls-cert-file", "tls-key-file", "tls-key-file-pass", "tls-dh-params-file",
                     "tls-ca-cert-file", "tls-ca-cert-dir", "tls-auth-clients", "tls-protocols",
                     "tls-ciphers", "tls-ciphersuites", "tls-prefer-server-ciphers",
                     "tls-session-caching", "tls-session-cache-size", "tls-session-cache-timeout"},
                    [this] {
                      if (options_->tls_port != 0) return LoadTls();
                      tls_.reset();  // read when the port is opened
                      return Status::Ok();
                    });
  options_.OnRewriteUsers(
      [this] { return options_->aclfile.empty() ? acl_->Lines() : std::vector<std::string>(); });
}

// --- encrypted connections

Status Server::LoadTls() {
  auto settings = TlsSettings::Load(options_.values());
  if (!settings) {
    Log(kLogWarning, settings.error().message());
    return Status::Invalid("Unable to update TLS configuration. Check server logs.");
  }
  tls_ = std::move(*settings);
  return Status::Ok();
}

void Server::OnAcceptEncrypted(io::Socket* socket, int error) {
  if (socket == nullptr || tls_ == nullptr) {
    OnAccept(socket, error);
    return;
  }
  if (io_threads_ != nullptr) socket = io_threads_->Take(socket);
  if (socket == nullptr) return OnAccept(nullptr, EMFILE);
  auto report = [this](const TlsSocket& accepted, const std::string& failure) {
    if (failure.empty()) return;
    ++stats_.connections_rejected;
    Log(kLogWarning, "Error accepting a client connection: " + failure + " (addr=" +
                         accepted.address().peer + " laddr=" + accepted.address().local + ")");
  };
  OnAccept(TlsSocket::Create(socket, *tls_, loop_.get(), report), error);
}

bool Server::MayUseProtected(const Command& command, const Client& client) const {
  const bool is_debug = command.name == "debug";
  const Permission permission =
      is_debug ? options_->enable_debug_command : options_->enable_module_command;
  return permission == Permission::kYes || (permission == Permission::kLocal && client.IsLocal());
}

std::string Server::ProtectedText(const Command& command) const {
  std::string name(command.name == "debug" ? "DEBUG" : "MODULE");
  std::string option(command.name == "debug" ? "enable-debug-command" : "enable-module-command");
  return "ERR " + name + " command not allowed. If the " + option +
         " option is set to \"local\", you can run it from a local connection, otherwise you need "
         "to set this option in the configuration file, and then restart the server.";
}

}  // namespace firn::server
