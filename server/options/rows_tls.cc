// Encrypted connections.
#include "server/options/option_table.h"

namespace firn::server {
namespace {

using V = OptionValues;

constexpr EnumName kAuthClients[] = {
    {"no", static_cast<int64_t>(TlsAuthClients::kNo)},
    {"yes", static_cast<int64_t>(TlsAuthClients::kYes)},
    {"optional", static_cast<int64_t>(TlsAuthClients::kOptional)},
};
constexpr std::string_view kOutgoing = "encrypted outgoing connections";

constexpr OptionRow TlsString(std::string_view name, std::string_view doc) {
  return String(name, "", doc).With(kEmptyIsUnset);
}

constexpr OptionRow kRows[] = {
    Integer("tls-port", "0", {0, 65535}, "The port for encrypted connections; 0 is none.")
        .Store<&V::tls_port>(),
    TlsString("tls-cert-file", "The server's certificate.").Store<&V::tls_cert_file>(),
    TlsString("tls-key-file", "The key of the server's certificate.").Store<&V::tls_key_file>(),
    TlsString("tls-key-file-pass", "The password of that key.")
        .With(kSensitive)
        .Store<&V::tls_key_file_pass>(),
    TlsString("tls-client-cert-file", "The certificate for outgoing connections.")
        .Pending(kOutgoing),
    TlsString("tls-client-key-file", "The key for outgoing connections.").Pending(kOutgoing),
    TlsString("tls-client-key-file-pass", "The password of that key.")
        .With(kSensitive)
        .Pending(kOutgoing),
    TlsString("tls-dh-params-file", "Diffie-Hellman parameters.").Store<&V::tls_dh_params_file>(),
    TlsString("tls-ca-cert-file", "The certificates that are trusted, in one file.")
        .Store<&V::tls_ca_cert_file>(),
    TlsString("tls-ca-cert-dir", "The certificates that are trusted, in a directory.")
        .Store<&V::tls_ca_cert_dir>(),
    Enum("tls-auth-clients", "yes", kAuthClients, "Whether clients must show a certificate.")
        .Store<&V::tls_auth_clients>(),
    Bool("tls-replication", "no", "Encrypts the link to the master.").Pending("replication"),
    Bool("tls-cluster", "no", "Encrypts the cluster bus.").Pending("cluster mode"),
    TlsString("tls-protocols", "The versions of TLS that are allowed.").Store<&V::tls_protocols>(),
    TlsString("tls-ciphers", "The ciphers allowed up to TLS 1.2.").Store<&V::tls_ciphers>(),
    TlsString("tls-ciphersuites", "The ciphers allowed from TLS 1.3.")
        .Store<&V::tls_ciphersuites>(),
    Bool("tls-prefer-server-ciphers", "no", "Takes the server's order of ciphers.")
        .Store<&V::tls_prefer_server_ciphers>(),
    Bool("tls-session-caching", "yes", "Lets clients resume sessions.")
        .Store<&V::tls_session_caching>(),
    Integer("tls-session-cache-size", "20480", {0, kIntMax}, "Sessions that are remembered.")
        .Store<&V::tls_session_cache_size>(),
    Integer("tls-session-cache-timeout", "300", {0, kIntMax}, "How long they are remembered.")
        .In(Unit::kSeconds)
        .Store<&V::tls_session_cache_timeout_seconds>(),
};

}  // namespace

std::span<const OptionRow> TlsRows() { return kRows; }

}  // namespace firn::server
