#include "server/scripting/scripting.h"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>

#include "engine/base/sha1.h"
#include "server/options/config_syntax.h"
#include "server/scripting/redis_lib.h"
#include "server/server.h"

namespace firn::server {

void ScriptDigest(std::string_view code, char* hex) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const uint8_t byte : Sha1(code)) {
    *hex++ = kDigits[byte >> 4];
    *hex++ = kDigits[byte & 15];
  }
}

std::expected<ScriptHead, std::string> ParseScriptHead(std::string_view code) {
  ScriptHead head;
  if (!code.starts_with("#!")) return head;
  head.present = true;
  head.flags = 0;
  head.size = code.find('\n');
  if (head.size == std::string_view::npos) return std::unexpected("Invalid script shebang");
  const auto words = SplitWords(code.substr(0, head.size));
  if (!words || words->empty()) return std::unexpected("Invalid engine in script shebang");
  if ((*words)[0] != "#!lua") {
    return std::unexpected("Unexpected engine in script shebang: " + (*words)[0]);
  }
  for (size_t i = 1; i < words->size(); ++i) {
    std::string_view rest = (*words)[i];
    if (!rest.starts_with("flags=")) {
      return std::unexpected("Unknown lua shebang option: " + (*words)[i]);
    }
    rest.remove_prefix(6);
    while (!rest.empty()) {
      const std::string_view name = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      const auto names = ScriptFlagNames();
      const auto found = std::find_if(names.begin(), names.end(),
                                      [name](const auto& flag) { return flag.name == name; });
      if (found == names.end()) {
        return std::unexpected("Unexpected flag in script shebang: " + std::string(name));
      }
      head.flags |= found->flag;
    }
  }
  return head;
}

// The digest is one of SHA-1: any part of it is as good as a hash of it.
size_t Scripting::Hash::operator()(std::string_view digest) const {
  size_t hash = 0;
  std::memcpy(&hash, digest.data(), std::min(digest.size(), sizeof hash));
  return hash * 0x9e3779b97f4a7c15;
}

Scripting::Scripting(Server* server)
    : server_(*server),
      runner_(server),
      vm_(std::make_unique<LuaVm>(FillRedisLibrary, &runner_)),
      functions_(server, &runner_) {}

Scripting::~Scripting() {
  // A script that is suspended on its stack still uses the machine.
  if (runner_.running()) vm_.release();
}

const Scripting::Cached* Scripting::Find(std::string_view digest) const {
  const auto found = scripts_.find(digest);
  return found == scripts_.end() ? nullptr : &found->second;
}

bool Scripting::RunsReadOnly(const Command& command, std::span<const std::string_view> args) const {
  if (args.size() < 2) return false;
  std::optional<uint32_t> flags;
  if (command.name == "eval") {
    if (const auto head = ParseScriptHead(args[1])) flags = head->flags;
  } else if (command.name == "evalsha") {
    std::string digest(args[1]);
    for (char& c : digest) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (const Cached* script = Find(digest)) flags = script->flags;
  } else if (command.name == "fcall") {
    if (const Functions::Function* function = functions_.Find(args[1])) flags = function->flags;
  }
  return flags && (*flags & (kScriptUndeclared | kScriptNoWrites)) == kScriptNoWrites;
}

std::expected<const Scripting::Cached*, std::string> Scripting::Load(std::string_view code) {
  char hex[kScriptDigestSize];
  ScriptDigest(code, hex);
  const std::string_view digest(hex, sizeof hex);
  if (const Cached* known = Find(digest)) return known;
  auto head = ParseScriptHead(code);
  if (!head) return std::unexpected(std::move(head.error()));
  auto compiled = vm_->Compile(code.substr(head->size), "@user_script");
  if (!compiled) {
    return std::unexpected("Error compiling script (new function): " + compiled.error());
  }
  Cached& cached = scripts_[std::string(digest)];
  cached = {.digest = std::string(digest),
            .code = std::string(code),
            .function = *compiled,
            .flags = head->flags};
  cached_bytes_ += sizeof cached + code.size() + digest.size();
  return &cached;
}

void Scripting::Flush() {
  scripts_.clear();
  cached_bytes_ = 0;
  vm_ = std::make_unique<LuaVm>(FillRedisLibrary, &runner_);
}

Status Scripting::LoadFunctions() { return functions_.LoadFile(); }

Status Scripting::LoadLibrary(std::string_view code, Functions::OnConflict on_conflict) {
  auto loaded = functions_.Load(code, on_conflict);
  return loaded ? Status::Ok() : Status::Corruption("a library of functions: " + loaded.error());
}

void Scripting::Abandon() { runner_.Abandon(); }

}  // namespace firn::server
