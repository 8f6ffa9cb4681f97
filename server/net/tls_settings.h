// TlsSettings: what encrypted connections need of the options tls-*: certificates, what clients
// must show, versions and ciphers. A change of the options makes a new one; connections keep the
// one that they began with. Executor thread.
#pragma once

#include <openssl/ssl.h>

#include <memory>

#include "engine/base/status.h"
#include "server/options/option_values.h"

namespace firn::server {

class TlsSettings {
 public:
  // Reads and checks the files. The error is what to tell the operator, without secrets.
  static Result<std::unique_ptr<TlsSettings>> Load(const OptionValues& options);

  // For SSL_new.
  SSL_CTX* context() const { return context_.get(); }

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  explicit TlsSettings(SSL_CTX* context) : context_(context) {}

  std::unique_ptr<SSL_CTX, Free> context_;
};

}  // namespace firn::server
