#include "server/net/tls_settings.h"

#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "server/options/config_syntax.h"

namespace firn::server {
namespace {

// Sessions may be resumed by connections to this server alone.
constexpr unsigned char kSessionContext[] = "firn";

// What OpenSSL says of its last failure, and forgets it.
std::string LastError() {
  const unsigned long code = ERR_get_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown reason" : reason;
}

Status Failed(const std::string& what) { return Status::Invalid(what + ": " + LastError()); }

int GivePassphrase(char* buffer, int size, int, void* passphrase) {
  const auto& text = *static_cast<const std::string*>(passphrase);
  if (size < 0 || text.size() > static_cast<size_t>(size)) return -1;
  std::memcpy(buffer, text.data(), text.size());
  return static_cast<int>(text.size());
}

// Of SSL_OP_NO_*: the versions that `words` leave out.
Result<uint64_t> ExcludedVersions(const std::string& words) {
  struct Version {
    std::string_view name;
    uint64_t option;
  };
  constexpr Version kVersions[] = {{"TLSv1", SSL_OP_NO_TLSv1},
                                   {"TLSv1.1", SSL_OP_NO_TLSv1_1},
                                   {"TLSv1.2", SSL_OP_NO_TLSv1_2},
                                   {"TLSv1.3", SSL_OP_NO_TLSv1_3}};
  // Versions 1.0 and 1.1 are broken: only who asks for them gets them.
  if (words.empty()) return SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1;
  uint64_t excluded = SSL_OP_NO_TLSv1 | SSL_OP_NO_TLSv1_1 | SSL_OP_NO_TLSv1_2 | SSL_OP_NO_TLSv1_3;
  const auto split = SplitWords(words);
  const Status bad = Status::Invalid(
      "Invalid tls-protocols specified. Use a combination of "
      "'TLSv1', 'TLSv1.1', 'TLSv1.2' and 'TLSv1.3'.");
  if (!split) return std::unexpected(bad);
  for (const std::string& word : *split) {
    const auto* version = std::ranges::find_if(
        kVersions, [&](const Version& each) { return EqualIgnoringCase(each.name, word); });
    if (version == std::end(kVersions)) return std::unexpected(bad);
    excluded &= ~version->option;
  }
  return excluded;
}

Status SetProtocols(SSL_CTX* context, const OptionValues& options) {
  Result<uint64_t> excluded = ExcludedVersions(options.tls_protocols);
  if (!excluded) return excluded.error();
  SSL_CTX_set_options(context, SSL_OP_NO_SSLv2 | SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION |
                                   SSL_OP_NO_RENEGOTIATION | SSL_OP_SINGLE_DH_USE |
                                   SSL_OP_IGNORE_UNEXPECTED_EOF | *excluded);
  if (options.tls_prefer_server_ciphers) {
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  }
  const std::string& ciphers = options.tls_ciphers;
  if (!ciphers.empty() && SSL_CTX_set_cipher_list(context, ciphers.c_str()) != 1) {
    return Failed("Failed to configure ciphers");
  }
  const std::string& suites = options.tls_ciphersuites;
  if (!suites.empty() && SSL_CTX_set_ciphersuites(context, suites.c_str()) != 1) {
    return Failed("Failed to configure ciphersuites");
  }
  return Status::Ok();
}

Status SetCertificate(SSL_CTX* context, const OptionValues& options) {
  std::string passphrase = options.tls_key_file_pass;
  SSL_CTX_set_default_passwd_cb(context, GivePassphrase);
  SSL_CTX_set_default_passwd_cb_userdata(context, &passphrase);
  const std::string& certificate = options.tls_cert_file;
  const std::string& key = options.tls_key_file;
  Status status;
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1) {
    status = Failed("Failed to load certificate: " + certificate);
  } else if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1) {
    status = Failed("Failed to load private key: " + key);
  } else if (SSL_CTX_check_private_key(context) != 1) {
    status = Failed("The private key doesn't fit the certificate");
  }
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  return status;
}

Status SetClientChecks(SSL_CTX* context, const OptionValues& options) {
  const std::string& file = options.tls_ca_cert_file;
  const std::string& directory = options.tls_ca_cert_dir;
  int mode = SSL_VERIFY_NONE;
  if (options.tls_auth_clients == TlsAuthClients::kYes) {
    mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  } else if (options.tls_auth_clients == TlsAuthClients::kOptional) {
    mode = SSL_VERIFY_PEER;
  }
  SSL_CTX_set_verify(context, mode, nullptr);
  if (file.empty() && directory.empty()) {
    if (mode == SSL_VERIFY_NONE) return Status::Ok();
    return Status::Invalid(
        "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when tls-cluster, "
        "tls-replication or tls-auth-clients are enabled!");
  }
  if (SSL_CTX_load_verify_locations(context, file.empty() ? nullptr : file.c_str(),
                                    directory.empty() ? nullptr : directory.c_str()) != 1) {
    return Failed("Failed to configure CA certificate(s) file/directory");
  }
  return Status::Ok();
}

Status SetDhParameters(SSL_CTX* context, const OptionValues& options) {
  if (options.tls_dh_params_file.empty()) {
    SSL_CTX_set_dh_auto(context, 1);
    return Status::Ok();
  }
  const std::string what = "Failed to load DH params file " + options.tls_dh_params_file;
  BIO* file = BIO_new_file(options.tls_dh_params_file.c_str(), "r");
  if (file == nullptr) return Failed(what);
  EVP_PKEY* parameters = PEM_read_bio_Parameters(file, nullptr);
  BIO_free(file);
  if (parameters == nullptr) return Failed(what);
  // Owned by the context if it takes them.
  if (SSL_CTX_set0_tmp_dh_pkey(context, parameters) == 1) return Status::Ok();
  EVP_PKEY_free(parameters);
  return Failed(what);
}

void SetSessions(SSL_CTX* context, const OptionValues& options) {
  if (!options.tls_session_caching) {
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    return;
  }
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_SERVER);
  SSL_CTX_sess_set_cache_size(context, static_cast<long>(options.tls_session_cache_size));
  SSL_CTX_set_timeout(context, static_cast<long>(options.tls_session_cache_timeout_seconds));
  SSL_CTX_set_session_id_context(context, kSessionContext, sizeof(kSessionContext) - 1);
}

}  // namespace

Result<std::unique_ptr<TlsSettings>> TlsSettings::Load(const OptionValues& options) {
  if (options.tls_cert_file.empty()) {
    return std::unexpected(Status::Invalid("No tls-cert-file configured!"));
  }
  if (options.tls_key_file.empty()) {
    return std::unexpected(Status::Invalid("No tls-key-file configured!"));
  }
  ERR_clear_error();
  SSL_CTX* context = SSL_CTX_new(TLS_server_method());
  if (context == nullptr) return std::unexpected(Failed("Failed to set up TLS"));
  std::unique_ptr<TlsSettings> settings(new TlsSettings(context));
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
  for (auto* set : {SetProtocols, SetCertificate, SetClientChecks, SetDhParameters}) {
    if (Status status = set(context, options); !status.ok()) return std::unexpected(status);
  }
  SetSessions(context, options);
  return settings;
}

}  // namespace firn::server
