// Scripting: the server's scripts and functions: the cache of EVAL's scripts by their digests, the
// libraries of functions, and the runner.
//
// Scripts live in memory alone, as in Redis. Libraries of functions are kept in a file of the data
// directory, which is replaced as a whole before their change is acknowledged.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "server/scripting/functions.h"
#include "server/scripting/lua_vm.h"
#include "server/scripting/script_runner.h"

namespace firn::server {

class Server;
struct Command;

// In hexadecimal digits.
inline constexpr size_t kScriptDigestSize = 40;
void ScriptDigest(std::string_view code, char* hex);

// The first line of a script or a library, "#!lua name=value ...".
struct ScriptHead {
  bool present = false;
  size_t size = 0;  // up to the end of the line, which stays: it counts among the code's lines
  uint32_t flags = kScriptUndeclared;
};
// Or the text of the error.
std::expected<ScriptHead, std::string> ParseScriptHead(std::string_view code);

class Scripting {
 public:
  explicit Scripting(Server* server);
  ~Scripting();

  ScriptRunner& runner() { return runner_; }
  Functions& functions() { return functions_; }

  // EVAL and EVALSHA. `digest` is in lower case.
  struct Cached {
    std::string digest;
    std::string code;
    int function = 0;
    uint32_t flags = 0;
  };
  const Cached* Find(std::string_view digest) const;
  // Compiles it unless it is there, or gives the error's text.
  std::expected<const Cached*, std::string> Load(std::string_view code);
  // Forgets all scripts. REQUIRES: none runs.
  void Flush();
  LuaVm& vm() { return *vm_; }
  // Whether the command runs a script that says of itself that it writes nothing.
  bool RunsReadOnly(const Command& command, std::span<const std::string_view> args) const;

  size_t cached_scripts() const { return scripts_.size(); }
  uint64_t cached_bytes() const { return cached_bytes_; }
  uint64_t vm_bytes() const { return vm_->memory_bytes(); }

  // Reads the libraries of functions that were there at the last change. At the start.
  Status LoadFunctions();
  // The code of a library that a dump holds. Not durable before Functions::Save.
  Status LoadLibrary(std::string_view code, Functions::OnConflict on_conflict);
  // Before the store goes although a script has not ended, as it goes in a crash.
  void Abandon();

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view digest) const;
  };

  Server& server_;
  ScriptRunner runner_;
  std::unique_ptr<LuaVm> vm_;
  std::unordered_map<std::string, Cached, Hash, std::equal_to<>> scripts_;
  uint64_t cached_bytes_ = 0;
  Functions functions_;
};

}  // namespace firn::server
