#include "server/scripting/functions.h"

#include <algorithm>
#include <cctype>
#include <chrono>

#include "engine/base/check.h"
#include "engine/rdb/crc64.h"
#include "engine/rdb/rdb_format.h"
#include "engine/rdb/rdb_input.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/rdb/rdb_sink.h"
#include "engine/rdb/rdb_writer.h"
#include "server/commands/common.h"
#include "server/options/config_syntax.h"
#include "server/scripting/redis_lib.h"
#include "server/scripting/script_runner.h"
#include "server/server.h"

namespace firn::server {
namespace {

constexpr int64_t kLoadMillis = 500;
constexpr const char* kFileName = "FUNCTIONS";
constexpr size_t kMaxFileBytes = size_t{1} << 30;

std::string InLowerCase(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool IsName(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_';
  });
}

int64_t SteadyMillis() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Replaces the file as a whole. On a worker.
Status WriteFile(io::FileSystem& files, const std::string& directory, std::string_view bytes) {
  const std::string path = directory + "/" + kFileName, draft = path + ".new";
  auto file = files.Open(draft, {.create = true, .truncate = true});
  if (!file) return file.error();
  FIRN_RETURN_IF_ERROR((*file)->WriteAt(0, bytes));
  FIRN_RETURN_IF_ERROR((*file)->Sync());
  FIRN_RETURN_IF_ERROR(files.Rename(draft, path));
  return files.SyncDirectory(directory);
}

}  // namespace

Functions::Functions(Server* server, ScriptRunner* runner) : server_(*server), runner_(*runner) {
  MakeVm();
}

Functions::~Functions() {
  // A function that is suspended on its stack still uses the machine.
  if (runner_.running()) vm_.release();
}

void Functions::MakeVm() { vm_ = std::make_unique<LuaVm>(FillRedisLibrary, &runner_); }

const Functions::Function* Functions::Find(std::string_view name) const {
  const auto found = current_.functions.find(InLowerCase(name));
  return found == current_.functions.end() ? nullptr : found->second;
}

// --- sets of libraries

void Functions::Link(Set* set, std::unique_ptr<Library> library) {
  for (const auto& [name, function] : library->functions) set->functions[name] = &function;
  std::string name = library->name;
  set->libraries[std::move(name)] = std::move(library);
}

std::unique_ptr<Functions::Library> Functions::Unlink(Set* set, std::string_view name) {
  auto found = set->libraries.find(name);
  if (found == set->libraries.end()) return nullptr;
  std::unique_ptr<Library> library = std::move(found->second);
  set->libraries.erase(found);
  for (const auto& [function_name, function] : library->functions) {
    set->functions.erase(function_name);
  }
  return library;
}

void Functions::Drop(std::unique_ptr<Library> library) {
  if (library == nullptr) return;
  for (const auto& [name, function] : library->functions) vm_->Forget(function.reference);
}

std::optional<std::string> Functions::Join(Set* added, OnConflict on_conflict) {
  std::vector<std::unique_ptr<Library>> replaced;
  std::optional<std::string> error;
  for (const auto& [name, library] : added->libraries) {
    if (!current_.libraries.contains(name)) continue;
    if (on_conflict == OnConflict::kRefuse) {
      error = "Library " + name + " already exists";
      break;
    }
    replaced.push_back(Unlink(&current_, name));
  }
  for (const auto& [name, function] : added->functions) {
    if (!error && current_.functions.contains(name)) {
      error = "Function " + function->name + " already exists";
    }
  }
  if (error) {
    for (auto& library : replaced) Link(&current_, std::move(library));
    return error;
  }
  for (auto& library : replaced) Drop(std::move(library));
  for (auto& [name, library] : added->libraries) Link(&current_, std::move(library));
  added->libraries.clear();
  added->functions.clear();
  return std::nullopt;
}

bool Functions::Delete(std::string_view library) {
  std::unique_ptr<Library> removed = Unlink(&current_, library);
  const bool found = removed != nullptr;
  Drop(std::move(removed));
  return found;
}

void Functions::Flush() {
  current_ = {};
  MakeVm();
}

// --- loading

std::expected<Functions::Head, std::string> Functions::ParseHead(std::string_view code) {
  if (!code.starts_with("#!")) return std::unexpected("Missing library metadata");
  Head head;
  head.size = code.find('\n');
  if (head.size == std::string_view::npos) return std::unexpected("Invalid library metadata");
  const auto words = SplitWords(code.substr(0, head.size));
  if (!words || words->empty()) return std::unexpected("Invalid library metadata");
  head.engine = (*words)[0].substr(2);
  bool named = false;
  for (size_t i = 1; i < words->size(); ++i) {
    const std::string& word = (*words)[i];
    if (!EqualsIgnoreCase(std::string_view(word).substr(0, 5), "name=")) {
      return std::unexpected("Invalid metadata value given: " + word);
    }
    if (std::exchange(named, true)) {
      return std::unexpected("Invalid metadata value, name argument was given multiple times");
    }
    head.name = word.substr(5);
  }
  if (!named) return std::unexpected("Library name was not given");
  return head;
}

int Functions::PrepareLoad(lua_State* lua) {
  auto* self = static_cast<Functions*>(lua_touserdata(lua, 1));
  lua_newtable(lua);
  lua_newtable(lua);
  FillRedisBasics(lua);
  lua_pushlightuserdata(lua, self);
  lua_pushcclosure(lua, &Functions::RegisterFunction, 1);
  lua_setfield(lua, -2, "register_function");
  LuaVm::Seal(lua, true);
  lua_setfield(lua, -2, "redis");
  LuaVm::Seal(lua, true);
  self->vm_->ReplaceGlobals();
  return 0;
}

std::optional<std::string> Functions::Register(const Head& head, std::string_view code) {
  // The line's end stays, so that lines are counted as the client does.
  auto compiled = vm_->Compile(code.substr(head.size), "@user_function");
  if (!compiled) return "Error compiling function: " + compiled.error();
  lua_State* lua = vm_->lua();
  std::optional<std::string> error;
  int failed = lua_cpcall(lua, &Functions::PrepareLoad, this);
  if (failed == 0) {
    runner_.set_load_deadline(SteadyMillis() + kLoadMillis);
    lua_sethook(lua, &ScriptRunner::Hook, LUA_MASKCOUNT, ScriptRunner::kHookInstructions);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, *compiled);
    failed = lua_pcall(lua, 0, 0, 0);
    lua_sethook(lua, nullptr, 0, 0);
    runner_.set_load_deadline(0);
  }
  if (failed != 0) {
    if (lua_istable(lua, -1)) {
      lua_pushliteral(lua, "err");
      lua_rawget(lua, -2);
      lua_remove(lua, -2);
      const char* text = lua_tostring(lua, -1);
      error = std::string("Error registering functions: ") + (text == nullptr ? "" : text);
    } else {
      const char* text = lua_tostring(lua, -1);
      error = std::string("Error registering functions: ERR ") + (text == nullptr ? "" : text);
    }
    lua_pop(lua, 1);
  }
  vm_->set_limited(false);
  vm_->RestoreGlobals();
  vm_->set_limited(true);
  vm_->Forget(*compiled);
  return error;
}

std::expected<std::unique_ptr<Functions::Library>, std::string> Functions::Build(
    const Head& head, std::string_view code) {
  auto library = std::make_unique<Library>();
  library->name = head.name;
  library->code = code;
  loading_ = library.get();
  std::optional<std::string> error = Register(head, code);
  loading_ = nullptr;
  if (!error && library->functions.empty()) error = "No functions registered";
  if (!error) return library;
  Drop(std::move(library));
  return std::unexpected(std::move(*error));
}

std::expected<std::string, std::string> Functions::LoadInto(Set* set, std::string_view code,
                                                            OnConflict on_conflict) {
  auto head = ParseHead(code);
  if (!head) return std::unexpected(std::move(head.error()));
  if (!IsName(head->name)) {
    return std::unexpected(
        "Library names can only contain letters, numbers, or underscores(_) and must be at least "
        "one character long");
  }
  if (!EqualsIgnoreCase(head->engine, "lua")) {
    return std::unexpected("Engine '" + head->engine + "' not found");
  }
  const bool exists = set->libraries.contains(head->name);
  if (exists && on_conflict == OnConflict::kRefuse) {
    return std::unexpected("Library '" + head->name + "' already exists");
  }
  auto library = Build(*head, code);
  if (!library) return std::unexpected(std::move(library.error()));
  std::unique_ptr<Library> old = Unlink(set, head->name);
  for (const auto& [name, function] : (*library)->functions) {
    if (!set->functions.contains(name)) continue;
    std::string error = "Function " + function.name + " already exists";
    Drop(std::move(*library));
    if (old != nullptr) Link(set, std::move(old));
    return std::unexpected(std::move(error));
  }
  Drop(std::move(old));
  Link(set, std::move(*library));
  return head->name;
}

std::expected<std::string, std::string> Functions::Load(std::string_view code,
                                                        OnConflict on_conflict) {
  return LoadInto(&current_, code, on_conflict);
}

// --- redis.register_function

bool Functions::ReadFlags(lua_State* lua) {
  for (int i = 1;; ++i) {
    lua_rawgeti(lua, -1, i);
    if (lua_isnil(lua, -1)) break;
    const char* text = lua_tostring(lua, -1);
    const auto names = ScriptFlagNames();
    const auto found = std::find_if(names.begin(), names.end(), [text](const auto& flag) {
      return text != nullptr && EqualsIgnoreCase(flag.name, text);
    });
    if (found == names.end()) return false;
    pending_.flags |= found->flag;
    lua_pop(lua, 1);
  }
  lua_pop(lua, 1);
  return true;
}

// The field's name and value lie on the top.
const char* Functions::ReadField(lua_State* lua) {
  if (lua_type(lua, -2) != LUA_TSTRING) {
    return "named argument key given to redis.register_function is not a string";
  }
  const char* name = lua_tostring(lua, -2);
  if (EqualsIgnoreCase(name, "function_name")) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, -1, &size);
    if (text == nullptr) {
      return "function_name argument given to redis.register_function must be a string";
    }
    pending_.name.assign(text, size);
  } else if (EqualsIgnoreCase(name, "description")) {
    size_t size = 0;
    const char* text = lua_tolstring(lua, -1, &size);
    if (text == nullptr) {
      return "description argument given to redis.register_function must be a string";
    }
    pending_.description.emplace(text, size);
  } else if (EqualsIgnoreCase(name, "callback")) {
    if (!lua_isfunction(lua, -1)) {
      return "callback argument given to redis.register_function must be a function";
    }
    lua_pushvalue(lua, -1);
    pending_.reference = luaL_ref(lua, LUA_REGISTRYINDEX);
  } else if (EqualsIgnoreCase(name, "flags")) {
    if (!lua_istable(lua, -1)) {
      return "flags argument to redis.register_function must be a table representing function "
             "flags";
    }
    if (!ReadFlags(lua)) return "unknown flag given";
  } else {
    return "unknown argument given to redis.register_function";
  }
  return nullptr;
}

const char* Functions::ReadNamed(lua_State* lua) {
  if (!lua_istable(lua, 1)) {
    return "calling redis.register_function with a single argument is only applicable to Lua table "
           "(representing named arguments).";
  }
  lua_pushnil(lua);
  while (lua_next(lua, 1) != 0) {
    if (const char* error = ReadField(lua)) return error;
    lua_pop(lua, 1);
  }
  if (pending_.name.empty()) return "redis.register_function must get a function name argument";
  if (pending_.reference == LUA_NOREF) {
    return "redis.register_function must get a callback argument";
  }
  return nullptr;
}

const char* Functions::ReadPositional(lua_State* lua) {
  size_t size = 0;
  const char* name = lua_tolstring(lua, 1, &size);
  if (name == nullptr) return "first argument to redis.register_function must be a string";
  if (!lua_isfunction(lua, 2)) {
    return "second argument to redis.register_function must be a function";
  }
  pending_.name.assign(name, size);
  lua_pushvalue(lua, 2);
  pending_.reference = luaL_ref(lua, LUA_REGISTRYINDEX);
  return nullptr;
}

const char* Functions::AddPending() {
  if (!IsName(pending_.name)) {
    return "Library names can only contain letters, numbers, or underscores(_) and must be at "
           "least one character long";
  }
  std::string name = InLowerCase(pending_.name);
  if (loading_->functions.contains(name)) return "Function already exists in the library";
  loading_->functions[std::move(name)] = std::move(pending_);
  pending_.reference = LUA_NOREF;
  return nullptr;
}

// No object with a destructor lives here where an error of Lua is raised.
int Functions::RegisterFunction(lua_State* lua) {
  auto* self = static_cast<Functions*>(lua_touserdata(lua, lua_upvalueindex(1)));
  const char* error = nullptr;
  const int count = lua_gettop(lua);
  if (self->loading_ == nullptr) {
    error = "redis.register_function can only be called on FUNCTION LOAD command";
  } else if (count < 1 || count > 2) {
    error = "wrong number of arguments to redis.register_function";
  } else {
    self->pending_ = {};
    self->pending_.reference = LUA_NOREF;
    error = count == 1 ? self->ReadNamed(lua) : self->ReadPositional(lua);
    if (error == nullptr) error = self->AddPending();
    if (error != nullptr) luaL_unref(lua, LUA_REGISTRYINDEX, self->pending_.reference);
  }
  if (error == nullptr) return 0;
  lua_settop(lua, 0);
  lua_createtable(lua, 0, 1);
  lua_pushfstring(lua, "ERR %s", error);
  lua_setfield(lua, -2, "err");
  return lua_error(lua);
}

// --- dumps

std::vector<std::string> Functions::LibrariesAsCode() const {
  std::vector<std::string> codes;
  for (const auto& [name, library] : current_.libraries) codes.push_back(library->code);
  return codes;
}

std::string Functions::Dump() const {
  RdbStringSink sink;
  RdbWriter writer(&sink, {.compress = server_.options()->rdb_compression});
  for (const auto& [name, library] : current_.libraries) writer.Function(library->code);
  std::string payload = sink.Take();
  payload.push_back(static_cast<char>(kRdbVersion & 0xff));
  payload.push_back(static_cast<char>(kRdbVersion >> 8));
  const uint64_t crc = Crc64(0, payload);
  for (int i = 0; i < 8; ++i) payload.push_back(static_cast<char>(crc >> (8 * i)));
  return payload;
}

std::optional<std::string> Functions::Restore(std::string_view payload, RestorePolicy policy) {
  const auto content = RdbReader::CheckPayload(payload);
  if (!content) return "DUMP payload version or checksum are wrong";
  RdbStringSource source(*content);
  RdbInput input(&source);
  Set added;
  std::optional<std::string> error;
  while (!error && input.remaining() > 0) {
    const uint8_t opcode = input.Byte();
    std::string code;
    if (opcode == static_cast<uint8_t>(RdbOpcode::kFunctionPreGa)) {
      error = "Pre-GA function format not supported";
    } else if (opcode != static_cast<uint8_t>(RdbOpcode::kFunction2)) {
      error = "given type is not a function";
    } else if (!input.String(&code)) {
      error = "failed loading the given functions payload";
    } else if (auto loaded = LoadInto(&added, code, OnConflict::kRefuse); !loaded) {
      error = "Failed creating the library: " + loaded.error();
    }
  }
  if (!error && policy == RestorePolicy::kFlush) {
    for (auto& [name, library] : current_.libraries) Drop(std::move(library));
    current_ = std::move(added);
    return std::nullopt;
  }
  if (!error) {
    error = Join(&added,
                 policy == RestorePolicy::kReplace ? OnConflict::kReplace : OnConflict::kRefuse);
  }
  for (auto& [name, library] : added.libraries) Drop(std::move(library));
  return error;
}

// --- the file

void Functions::Save(std::move_only_function<void(Status)> done) {
  if (!server_.store().durable() && !server_.becoming_durable()) return done(Status::Ok());
  waiting_.emplace_back(++version_, std::move(done));
  if (!saving_) StartSave();
}

void Functions::StartSave() {
  saving_ = true;
  auto status = std::make_shared<Status>();
  server_.loop().RunOnWorker(
      io::WorkPriority::kUrgent,
      [status, &files = server_.files(), directory = server_.options()->dir, bytes = Dump()] {
        *status = WriteFile(files, directory, bytes);
      },
      [this, status, saved = version_] {
        saving_ = false;
        std::vector<std::move_only_function<void(Status)>> finished;
        std::erase_if(waiting_, [&](auto& item) {
          if (item.first > saved) return false;
          finished.push_back(std::move(item.second));
          return true;
        });
        if (!waiting_.empty()) StartSave();
        for (auto& done : finished) done(*status);
      });
}

Status Functions::LoadFile() {
  const std::string path = server_.options()->dir + "/" + kFileName;
  if (!server_.options()->appendonly || !server_.files().Exists(path)) return Status::Ok();
  auto file = server_.files().Open(path, {.writable = false});
  if (!file) return file.error();
  auto size = (*file)->Size();
  if (!size) return size.error();
  if (*size > kMaxFileBytes) return Status::Corruption(path + " is too large");
  std::string bytes(*size, '\0');
  auto read = (*file)->ReadAt(0, bytes);
  if (!read) return read.error();
  bytes.resize(*read);
  if (auto error = Restore(bytes, RestorePolicy::kFlush)) {
    return Status::Corruption(path + ": " + *error);
  }
  return Status::Ok();
}

}  // namespace firn::server
