// What the rows say to people: --version, --help and docs/configuration.md.
#include "server/options/config_syntax.h"
#include "server/options/option_codec.h"
#include "server/options/option_table.h"
#include "server/options/options.h"
#include "server/options/version.h"

namespace firn::server {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

This page is generated from the server's table of options. To write it anew:

    build/firn-server --print-configuration-reference > docs/configuration.md

`firn-server [FILE.conf | -] [--option value ...]` reads a file in the syntax of redis.conf (`-` is
standard input), then the options of the command line. `CONFIG GET`, `CONFIG SET` and
`CONFIG REWRITE` work as in Redis 7.2; every option of Redis 7.2 is known, with its default, bounds
and aliases. Numbers of bytes may carry `k`, `m`, `g` (powers of 1000) or `kb`, `mb`, `gb` (powers
of 1024).

What an option does here:

- **acts**: it works as described.
- **no meaning**: it is about something Firn does otherwise (fork, jemalloc, defragmentation, the
  files of Redis' AOF). It is accepted and remembered.
- **waits**: it tunes something that this version does not have yet. It is accepted and remembered,
  and there is nothing yet that it could change.
- **default only**: it would turn on or change something that this version does not have yet. Its
  default is accepted, another value is refused with an error that says what is missing.

Whether it can change: **yes** by `CONFIG SET`; **start** only in the file or on the command line;
**protected** by `CONFIG SET` if `enable-protected-configs` allows it.

The directives `include FILE` (globs allowed, at most 16 deep) and `#` comments work as in Redis.
`rename-command COMMAND NAME` and `user NAME RULE...` do too. `loadmodule` is refused so far.

Differences from Redis' defaults: `appendonly` is `yes`; `maxmemory` is half of the memory of the
machine or its cgroup if it is not given; `save` has no rules while `appendonly` is on if it is not
given.
)";

std::string_view EffectText(Effect effect) {
  switch (effect) {
    case Effect::kLive:
      return "acts";
    case Effect::kIgnored:
      return "no meaning";
    case Effect::kPending:
      return "waits";
    case Effect::kFuture:
      return "default only";
  }
  return "";
}

std::string_view ChangeText(const OptionRow& row) {
  if (row.Has(kImmutable) || row.Has(kStartOnly)) {
    return "start";
  }
  return row.Has(kProtectedOption) ? "protected" : "yes";
}

std::string TableText(std::string text) {
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) {
    text.insert(at, "\\");
  }
  return text;
}

std::string TableRow(const OptionRow& row) {
  std::string default_text(row.derived_default);
  if (default_text.empty() && !row.default_text.empty()) {
    default_text = "`" + std::string(row.default_text) + "`";
  }
  std::string name = "`" + std::string(row.name) + "`";
  if (!row.alias.empty()) {
    name += ", `" + std::string(row.alias) + "`";
  }
  std::string doc(row.doc);
  if (!row.feature.empty()) {
    doc += " (Needs " + std::string(row.feature) + ".)";
  }
  if (row.Has(kHidden)) {
    doc += " (`CONFIG GET` shows it only by its exact name.)";
  }
  std::string line = "| " + name + " | " + TableText(DescribeValues(row)) + " | " + default_text;
  line.append(" | ").append(ChangeText(row)).append(" | ").append(EffectText(row.effect));
  return line + " | " + TableText(doc) + " |\n";
}

}  // namespace

std::string ReferenceMarkdown() {
  std::string text(kIntroduction);
  for (const OptionFamily& family : OptionFamilies()) {
    text += "\n## " + std::string(family.title) +
            "\n\n| Option | Values | Default | Change | Here | What it is for |\n"
            "|---|---|---|---|---|---|\n";
    for (const OptionRow& row : family.rows) {
      text += TableRow(row);
    }
  }
  return text;
}

std::string VersionText() {
  std::string text = "Firn server v=";
  return text.append(kFirnVersion).append(" redis=").append(kRedisVersion).append(" bits=64\n");
}

std::string HelpText() {
  std::string text =
      "Usage: firn-server [FILE.conf] [--option value ...] [-]\n"
      "       firn-server -                 reads the configuration from standard input\n"
      "       firn-server -v | --version\n"
      "       firn-server -h | --help\n"
      "       firn-server --print-configuration-reference\n"
      "\n"
      "Examples:\n"
      "       firn-server --maxmemory 1gb --dir /var/lib/firn\n"
      "       firn-server /etc/redis/redis.conf --port 7777\n"
      "       echo 'maxmemory 1gb' | firn-server -\n"
      "\n"
      "Options that act, with their defaults. Every other option of Redis 7.2 is known too: see\n"
      "docs/configuration.md.\n";
  for (const OptionFamily& family : OptionFamilies()) {
    std::string lines;
    for (const OptionRow& row : family.rows) {
      if (row.effect == Effect::kLive) {
        std::string default_text(row.derived_default.empty() ? row.default_text
                                                             : row.derived_default);
        lines += "  --" + std::string(row.name) + " (" +
                 (default_text.empty() ? "\"\"" : default_text) + ")\n        " +
                 std::string(row.doc) + "\n";
      }
    }
    if (!lines.empty()) {
      text += "\n" + std::string(family.title) + ":\n" + lines;
    }
  }
  return text;
}

std::optional<std::string> InformationFor(std::span<const std::string> arguments) {
  if (arguments.empty()) {
    return std::nullopt;
  }
  const std::string& first = arguments[0];
  if (first == "-v" || first == "--version") {
    return VersionText();
  }
  if (first == "-h" || first == "--help") {
    return HelpText();
  }
  if (first == "--print-configuration-reference") {
    return ReferenceMarkdown();
  }
  return std::nullopt;
}

}  // namespace firn::server
