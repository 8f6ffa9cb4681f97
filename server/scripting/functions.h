// Functions: the libraries that FUNCTION LOAD brings, with the functions that FCALL runs, and the
// file that keeps them over a restart.
//
// Executor thread; the file is written by a worker.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "server/scripting/lua_vm.h"

namespace firn::server {

class ScriptRunner;
class Server;

class Functions {
 public:
  struct Function {
    std::string name;
    std::optional<std::string> description;
    uint32_t flags = 0;  // of ScriptFlag
    int reference = 0;   // in the virtual machine
  };
  struct Library {
    std::string name;
    std::string code;
    std::map<std::string, Function, std::less<>> functions;  // by name in lower case
  };

  Functions(Server* server, ScriptRunner* runner);
  ~Functions();

  // --- what there is
  // Ignores case.
  const Function* Find(std::string_view name) const;
  const std::map<std::string, std::unique_ptr<Library>, std::less<>>& libraries() const {
    return current_.libraries;
  }
  size_t function_count() const { return current_.functions.size(); }
  LuaVm& vm() { return *vm_; }
  uint64_t vm_bytes() const { return vm_->memory_bytes(); }

  // --- changes. None is durable before Save has called back. An error is the text for the client,
  // without its code; nothing has been changed then.
  enum class OnConflict : uint8_t { kRefuse, kReplace };
  std::expected<std::string, std::string> Load(std::string_view code, OnConflict on_conflict);
  bool Delete(std::string_view library);
  void Flush();
  // The payload of FUNCTION DUMP.
  std::string Dump() const;
  enum class RestorePolicy : uint8_t { kAppend, kReplace, kFlush };
  std::optional<std::string> Restore(std::string_view payload, RestorePolicy policy);
  void Save(std::move_only_function<void(Status)> done);

  // --- for snapshots
  // With their first lines, as Load takes them.
  std::vector<std::string> LibrariesAsCode() const;

  // Reads the file. At the start.
  Status LoadFile();

 private:
  struct Set {
    std::map<std::string, std::unique_ptr<Library>, std::less<>> libraries;
    std::map<std::string, const Function*, std::less<>> functions;  // by name in lower case
  };
  struct Head {
    std::string engine;
    std::string name;
    size_t size = 0;
  };

  static std::expected<Head, std::string> ParseHead(std::string_view code);
  // Compiles and runs the code, which registers functions.
  std::expected<std::unique_ptr<Library>, std::string> Build(const Head& head,
                                                             std::string_view code);
  std::optional<std::string> Register(const Head& head, std::string_view code);
  std::expected<std::string, std::string> LoadInto(Set* set, std::string_view code,
                                                   OnConflict on_conflict);
  std::optional<std::string> Join(Set* added, OnConflict on_conflict);
  void Link(Set* set, std::unique_ptr<Library> library);
  std::unique_ptr<Library> Unlink(Set* set, std::string_view name);
  void Drop(std::unique_ptr<Library> library);
  void MakeVm();
  // Runs protected, with the global variables of FUNCTION LOAD.
  static int PrepareLoad(lua_State* lua);
  // redis.register_function
  static int RegisterFunction(lua_State* lua);
  // The arguments' fields go to pending_; the callback's reference too. Null, or an error.
  const char* ReadNamed(lua_State* lua);
  const char* ReadPositional(lua_State* lua);
  const char* ReadField(lua_State* lua);
  bool ReadFlags(lua_State* lua);
  const char* AddPending();
  void StartSave();

  Server& server_;
  ScriptRunner& runner_;
  std::unique_ptr<LuaVm> vm_;
  Set current_;

  Library* loading_ = nullptr;  // while its code runs
  Function pending_;            // that is being registered

  uint64_t version_ = 0;  // of the state that was last asked to be saved
  bool saving_ = false;
  std::vector<std::pair<uint64_t, std::move_only_function<void(Status)>>> waiting_;
};

}  // namespace firn::server
