#include "server/monitor.h"

#include <algorithm>
#include <cstdio>

#include "server/client.h"
#include "server/commands/common.h"

namespace firn::server {
namespace {

constexpr std::string_view kRedacted = "(redacted)";

// As sdscatrepr of Redis' log lines: quotes, and escapes for what isn't printable.
void AppendQuoted(std::string_view bytes, std::string* out) {
  out->push_back('"');
  for (char c : bytes) {
    switch (c) {
      case '\\':
      case '"':
        out->push_back('\\');
        out->push_back(c);
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      case '\a':
        out->append("\\a");
        break;
      case '\b':
        out->append("\\b");
        break;
      default:
        if (c >= ' ' && c <= '~') {
          out->push_back(c);
        } else {
          char text[8];
          std::snprintf(text, sizeof text, "\\x%02x", static_cast<unsigned char>(c));
          out->append(text);
        }
    }
  }
  out->push_back('"');
}

bool IsSecretSetting(std::string_view name) {
  constexpr std::string_view kSecret[] = {"requirepass", "masterauth", "masteruser",
                                          "tls-key-file-pass", "tls-client-key-file-pass"};
  return std::any_of(std::begin(kSecret), std::end(kSecret),
                     [&](std::string_view secret) { return EqualsIgnoreCase(name, secret); });
}

void HideAfterKeyword(std::string_view keyword, size_t hidden,
                      std::vector<std::string_view>* args) {
  for (size_t i = 1; i < args->size(); ++i) {
    if (!EqualsIgnoreCase((*args)[i], keyword)) continue;
    for (size_t j = i + 1; j < args->size() && j <= i + hidden; ++j) (*args)[j] = kRedacted;
    i += hidden;
  }
}

}  // namespace

std::vector<std::string_view> RedactedArguments(const Command* command,
                                                std::span<const std::string_view> args) {
  std::vector<std::string_view> shown(args.begin(), args.end());
  if (shown.empty() || command == nullptr) return shown;
  if (EqualsIgnoreCase(shown[0], "auth")) {
    std::fill(shown.begin() + 1, shown.end(), kRedacted);
  } else if (EqualsIgnoreCase(shown[0], "hello")) {
    HideAfterKeyword("auth", 2, &shown);
  } else if (EqualsIgnoreCase(shown[0], "migrate")) {
    HideAfterKeyword("auth", 1, &shown);
    HideAfterKeyword("auth2", 2, &shown);
  } else if (EqualsIgnoreCase(shown[0], "config") && command->name == "set") {
    for (size_t i = 2; i + 1 < shown.size(); i += 2) {
      if (IsSecretSetting(shown[i])) shown[i + 1] = kRedacted;
    }
  } else if (EqualsIgnoreCase(shown[0], "acl") && shown.size() > 2 &&
             (EqualsIgnoreCase(shown[1], "setuser") || EqualsIgnoreCase(shown[1], "deluser") ||
              EqualsIgnoreCase(shown[1], "getuser"))) {
    std::fill(shown.begin() + 2, shown.end(), kRedacted);
  }
  return shown;
}

bool Monitors::Has(const Client* client) const {
  return std::find(clients_.begin(), clients_.end(), client) != clients_.end();
}

void Monitors::Add(Client* client) {
  if (!Has(client)) clients_.push_back(client);
}

void Monitors::Remove(Client* client) { std::erase(clients_, client); }

void Monitors::Feed(const Line& line) {
  if (clients_.empty() || line.command == nullptr) return;
  if ((line.command->flags & (kSkipMonitor | kAdmin)) != 0) return;
  char time[48];
  std::snprintf(time, sizeof time, "+%lld.%06lld [%u ",
                static_cast<long long>(line.time_micros / 1'000'000),
                static_cast<long long>(line.time_micros % 1'000'000), line.db);
  std::string text = time;
  text.append(line.source).append("]");
  for (std::string_view argument : RedactedArguments(line.command, line.args)) {
    text.push_back(' ');
    AppendQuoted(argument, &text);
  }
  text.append("\r\n");
  for (Client* client : clients_) client->Push(text);
}

}  // namespace firn::server
