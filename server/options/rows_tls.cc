// Encrypted connections, which the server does not have so far.
#include "server/options/option_table.h"

namespace firn::server {
namespace {

constexpr EnumName kAuthClients[] = {{"no", 0}, {"yes", 1}, {"optional", 2}};
constexpr std::string_view kTls = "TLS";

constexpr OptionRow TlsString(std::string_view name, std::string_view doc) {
  return String(name, "", doc).With(kEmptyIsUnset).Future(kTls);
}

constexpr OptionRow kRows[] = {
    Integer("tls-port", "0", {0, 65535}, "The port for encrypted connections; 0 is none.")
        .Future(kTls),
    TlsString("tls-cert-file", "The server's certificate."),
    TlsString("tls-key-file", "The key of the server's certificate."),
    TlsString("tls-key-file-pass", "The password of that key.").With(kSensitive),
    TlsString("tls-client-cert-file", "The certificate for outgoing connections."),
    TlsString("tls-client-key-file", "The key for outgoing connections."),
    TlsString("tls-client-key-file-pass", "The password of that key.").With(kSensitive),
    TlsString("tls-dh-params-file", "Diffie-Hellman parameters."),
    TlsString("tls-ca-cert-file", "The certificates that are trusted, in one file."),
    TlsString("tls-ca-cert-dir", "The certificates that are trusted, in a directory."),
    Enum("tls-auth-clients", "yes", kAuthClients, "Whether clients must show a certificate.")
        .Future(kTls),
    Bool("tls-replication", "no", "Encrypts the link to the master.").Future(kTls),
    Bool("tls-cluster", "no", "Encrypts the cluster bus.").Future(kTls),
    TlsString("tls-protocols", "The versions of TLS that are allowed."),
    TlsString("tls-ciphers", "The ciphers allowed up to TLS 1.2."),
    TlsString("tls-ciphersuites", "The ciphers allowed from TLS 1.3."),
    Bool("tls-prefer-server-ciphers", "no", "Takes the server's order of ciphers.").Future(kTls),
    Bool("tls-session-caching", "yes", "Lets clients resume sessions.").Future(kTls),
    Integer("tls-session-cache-size", "20480", {0, kIntMax}, "Sessions that are remembered.")
        .Future(kTls),
    Integer("tls-session-cache-timeout", "300", {0, kIntMax}, "How long they are remembered.")
        .In(Unit::kSeconds)
        .Future(kTls),
};

}  // namespace

std::span<const OptionRow> TlsRows() { return kRows; }

}  // namespace firn::server
