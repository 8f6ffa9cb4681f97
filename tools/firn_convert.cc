// firn-convert: makes a data directory of Firn from files of Redis, and files of Redis from a data
// directory, streaming, in bounded memory. What loads and what saves is the server's own code, in a
// server without ports.
//
// Exit codes: 0 done, 1 it failed (disk, rights, room, a signal), 2 the source is damaged, or holds
// what can't be converted, 3 wrong usage.
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/aof_load.h"
#include "server/logger.h"
#include "server/options/options.h"
#include "server/rdb_file.h"
#include "server/scripting/scripting.h"
#include "server/server.h"
#include "tiering/identity.h"
#include "tiering/io/posix_file.h"
#include "tiering/snapshot/snapshot_view.h"

namespace firn::server {
namespace {

enum ExitCode { kDone = 0, kFailed = 1, kBadSource = 2, kUsage = 3 };

using Clock = std::chrono::steady_clock;

constexpr char kHelp[] =
    "usage: firn-convert import [option ...] SOURCE DIR\n"
    "       firn-convert export [option ...] DIR TARGET\n"
    "\n"
    "import makes the data directory DIR of Firn. SOURCE is a dump.rdb, an append-only file, a\n"
    "directory of append-only files (appendonlydir), or a directory of Redis that holds one of\n"
    "these. It is never changed. DIR may hold no data yet; after a failure it holds none again.\n"
    "\n"
    "export writes TARGET, a dump.rdb, from the data directory DIR. DIR is opened as a start of "
    "the\n"
    "server does: a torn end of its log is cut. No server may run in it.\n"
    "\n"
    "  --config FILE     settings of a configuration file (databases, maxmemory-policy, limits of\n"
    "                    encodings and others)\n"
    "  --databases N     how many databases there are (16)\n"
    "  --maxmemory SIZE  memory for values, as 512mb (1gb, or half of the machine's)\n"
    "  --progress        show a bar although standard error is no terminal\n"
    "  --quiet           no bar and no summary\n"
    "  --verbose         the server's log, on standard error\n"
    "import:\n"
    "  --strict          an append-only file that ends amid a command is an error\n"
    "export:\n"
    "  --aof             TARGET becomes a directory of append-only files, with a dump as its base\n"
    "  --replace         an existing dump is replaced\n"
    "\n"
    "Exit codes: 0 done, 1 failed, 2 the source is damaged or can't be converted, 3 wrong usage.\n";

struct Arguments {
  bool is_import = false;
  std::string source;
  std::string target;
  std::string config;
  std::string databases;
  std::string maxmemory;
  bool progress = isatty(STDERR_FILENO) == 1;
  bool quiet = false;
  bool verbose = false;
  bool strict = false;
  bool aof = false;
  bool replace = false;
};

int Fail(const std::string& message, int code = kUsage) {
  std::fprintf(stderr, "firn-convert: %s\n", message.c_str());
  return code;
}

int Fail(const Status& status) {
  const bool bad = status.code() == StatusCode::kCorruption ||
                   status.code() == StatusCode::kUnsupported ||
                   status.code() == StatusCode::kInvalid;
  return Fail(status.message(), bad ? kBadSource : kFailed);
}

// --- arguments

bool TakeFlag(std::string_view word, Arguments* arguments) {
  struct Flag {
    std::string_view name;
    bool Arguments::*field;
    bool import_only;
    bool export_only;
  };
  constexpr Flag kFlags[] = {{"--progress", &Arguments::progress, false, false},
                             {"--quiet", &Arguments::quiet, false, false},
                             {"--verbose", &Arguments::verbose, false, false},
                             {"--strict", &Arguments::strict, true, false},
                             {"--aof", &Arguments::aof, false, true},
                             {"--replace", &Arguments::replace, false, true}};
  for (const Flag& flag : kFlags) {
    if (word != flag.name) continue;
    if (arguments->is_import ? flag.export_only : flag.import_only) return false;
    arguments->*flag.field = true;
    return true;
  }
  return false;
}

// The text to complain with, if there is something to complain of.
std::optional<std::string> ParseWords(std::span<char*> words, Arguments* arguments) {
  std::vector<std::string> names;
  arguments->is_import = words[0] == std::string_view("import");
  for (size_t at = 1; at < words.size(); ++at) {
    const std::string_view word = words[at];
    if (!word.starts_with("--")) {
      names.emplace_back(word);
      continue;
    }
    std::string* value = word == "--config"      ? &arguments->config
                         : word == "--databases" ? &arguments->databases
                         : word == "--maxmemory" ? &arguments->maxmemory
                                                 : nullptr;
    if (value != nullptr) {
      if (++at == words.size()) return std::string(word) + " lacks its value";
      *value = words[at];
    } else if (!TakeFlag(word, arguments)) {
      return "wrong option: " + std::string(word);
    }
  }
  if (names.size() != 2) return "a source and a target are needed; see firn-convert --help";
  arguments->source = names[0];
  arguments->target = names[1];
  return std::nullopt;
}

std::string DefaultMemory() {
  constexpr uint64_t kUsual = 1 << 30;
  const uint64_t usable = OptionsEnvironment::Real().usable_memory_bytes;
  return std::to_string(usable == 0 ? kUsual : std::min(kUsual, usable / 2));
}

Status LoadOptions(const Arguments& arguments, const std::string& directory, Options* options) {
  std::vector<std::string> words;
  if (!arguments.config.empty()) words.push_back(arguments.config);
  auto add = [&](const char* name, const std::string& value) {
    words.emplace_back(name);
    words.push_back(value);
  };
  add("--dir", directory);
  add("--port", "0");
  add("--tls-port", "0");
  add("--unixsocket", "");
  add("--save", "");
  add("--aclfile", "");
  add("--log-archive-dir", "");
  add("--recover-until", "");
  add("--appendonly", "yes");
  // One sync at the end is enough.
  add("--appendfsync", arguments.is_import ? "no" : "everysec");
  add("--aof-load-truncated", arguments.strict ? "no" : "yes");
  add("--auto-aof-rewrite-percentage", "0");
  if (!arguments.databases.empty()) add("--databases", arguments.databases);
  if (!arguments.maxmemory.empty()) {
    add("--maxmemory", arguments.maxmemory);
  } else if (arguments.config.empty()) {
    add("--maxmemory", DefaultMemory());
  }
  return options->LoadArguments(words);
}

// --- what is shown

std::string SizeText(uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double size = static_cast<double>(bytes);
  size_t unit = 0;
  for (; size >= 1000 && unit + 1 < std::size(kUnits); ++unit) size /= 1000;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", size, kUnits[unit]);
  return text;
}

std::string TimeText(Clock::duration duration) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", std::chrono::duration<double>(duration).count());
  return text;
}

class Bar {
 public:
  explicit Bar(bool on) : on_(on) {}
  ~Bar() {
    if (shown_) std::fputc('\n', stderr);
  }
  Clock::duration elapsed() const { return Clock::now() - begin_; }

  // At most some times a second; `text` is what stands behind the bar.
  void Show(double part, const std::string& text, bool at_once = false) {
    if (!on_) return;
    const auto now = Clock::now();
    if (!at_once && now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    constexpr int kWidth = 32;
    part = std::min(1.0, std::max(0.0, part));
    const int done = static_cast<int>(part * kWidth);
    std::fprintf(stderr, "\r[%s%s] %3.0f %%  %s\x1b[K", std::string(done, '#').c_str(),
                 std::string(kWidth - done, '.').c_str(), part * 100, text.c_str());
    std::fflush(stderr);
    shown_ = true;
  }

 private:
  const bool on_;
  bool shown_ = false;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point next_ = begin_;
};

void PrintPart(uint64_t count, const char* what) {
  if (count > 0) std::printf(", %llu %s", static_cast<unsigned long long>(count), what);
}

// --- signals: a handler can reach nothing but what is global

std::atomic<Server*> running_server{nullptr};
std::atomic<SnapshotView*> running_view{nullptr};

void OnSignal(int signal) {
  if (SnapshotView* view = running_view.load()) return view->Cancel();
  if (Server* server = running_server.load()) return server->OnSignal(signal);
  _exit(kFailed);
}

void InstallSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

// --- the server that does the work

class Engine {
 public:
  Engine(const Arguments& arguments, Options* options) : server_(options, &logger_) {
    logger_.Configure(arguments.verbose ? "/dev/stderr" : "/dev/null", kLogNotice);
  }
  ~Engine() { running_server.store(nullptr); }

  Server& server() { return server_; }
  Status Start() { return server_.Start(); }
  // A clean stop.
  Status Stop() {
    Status refused;
    server_.RequestShutdown({.now = true, .nosave = true},
                            [&](Status status) { refused = status; });
    FIRN_RETURN_IF_ERROR(refused);
    if (server_.Run() == 0) return {};
    return {StatusCode::kIoError, "the data directory could not be closed; see --verbose"};
  }
  // Exact. REQUIRES: started.
  uint64_t CountKeys() {
    uint64_t sum = 0;
    uint32_t open = 0;
    for (uint32_t db = 0; db < server_.store().databases(); ++db) {
      ++open;
      server_.store().CountKeys(db, [&](uint64_t keys) {
        sum += keys;
        --open;
      });
    }
    constexpr int64_t kMaxWaitMicros = 10'000;
    while (open > 0) {
      const int64_t wait = server_.store().EndIteration();
      server_.loop().RunOnce(std::min(wait, kMaxWaitMicros));
    }
    return sum;
  }

 private:
  Logger logger_;
  Server server_;
};

// --- import

bool IsDirectory(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::string Absolute(const std::string& path) {
  if (path.starts_with('/')) return path;
  std::string here(4096, 0);
  if (getcwd(here.data(), here.size()) == nullptr) return path;
  here.resize(std::char_traits<char>::length(here.c_str()));
  return here + "/" + path;
}

using Paths = std::vector<std::string>;

// The files of a directory: of Redis' `dir`, or its appendonlydir.
Result<Paths> FindInDirectory(io::FileSystem* files, const std::string& directory) {
  if (files->Exists(directory + "/IDENTITY")) {
    return std::unexpected(Status::Invalid(directory + " is a data directory of Firn"));
  }
  auto names = files->List(directory);
  if (!names) return std::unexpected(names.error());
  std::vector<Paths> found;
  constexpr std::string_view kManifest = ".manifest";
  for (const std::string& name : *names) {
    std::string folder = directory;
    std::string manifest = name;
    if (name == "appendonlydir" && IsDirectory(directory + "/" + name)) {
      folder += "/" + name;
      manifest = "appendonly.aof.manifest";
    }
    if (manifest.ends_with(kManifest)) {
      manifest.resize(manifest.size() - kManifest.size());
      const size_t slash = folder.rfind('/');
      auto paths = FindAofFiles(files, {.directory = folder.substr(0, slash),
                                        .folder = folder.substr(slash + 1),
                                        .name = manifest});
      if (!paths) return std::unexpected(paths.error());
      if (!paths->empty()) found.push_back(std::move(*paths));
    } else if (name == "dump.rdb" || name == "appendonly.aof") {
      found.push_back({directory + "/" + name});
    }
  }
  if (found.empty()) {
    return std::unexpected(
        Status::Invalid(directory + " holds no dump.rdb and no append-only files"));
  }
  if (found.size() > 1) {
    return std::unexpected(Status::Invalid(directory + " holds " + found[0].front() + " and " +
                                           found[1].front() + ": name the one to import"));
  }
  return found.front();
}

Result<Paths> FindSource(io::FileSystem* files, const std::string& source) {
  if (!files->Exists(source)) {
    return std::unexpected(Status(StatusCode::kNotFound, source + " is not there"));
  }
  if (IsDirectory(source)) return FindInDirectory(files, source);
  return Paths{source};
}

Result<uint64_t> SizeOf(io::FileSystem* files, const Paths& paths) {
  uint64_t sum = 0;
  for (const std::string& path : paths) {
    auto file = files->Open(path, {.writable = false});
    if (!file) return std::unexpected(file.error());
    auto size = (*file)->Size();
    if (!size) return std::unexpected(size.error());
    sum += *size;
  }
  if (sum == 0) return std::unexpected(Status::Corruption(paths.front() + " is empty"));
  return sum;
}

void RemoveLock(io::FileSystem* files, const std::string& directory) {
  // What Start made before it failed; whoever holds it now would have been told of.
  const std::string path = directory + "/LOCK";
  if (files->Exists(path)) static_cast<void>(files->Remove(path));
}

int Import(io::FileSystem* files, const Arguments& arguments) {
  auto paths = FindSource(files, Absolute(arguments.source));
  if (!paths) return Fail(paths.error());
  auto total = SizeOf(files, *paths);
  if (!total) return Fail(total.error());
  const std::string directory = Absolute(arguments.target);
  const bool is_new = !files->Exists(directory);
  if (files->Exists(directory + "/IDENTITY") && !files->Exists(directory + "/LOADING")) {
    return Fail(directory + " holds data of Firn already", kFailed);
  }
  if (Status status = files->CreateDirectories(directory); !status.ok()) return Fail(status);
  Options options;
  if (Status status = LoadOptions(arguments, directory, &options); !status.ok()) {
    return Fail(status.message());
  }
  Bar bar(arguments.progress && !arguments.quiet);
  std::optional<Engine> engine(std::in_place, arguments, &options);
  auto show = [&](const LoadTotals& totals) {
    // Only now there is a loop to wake.
    running_server.store(&engine->server());
    const double part = static_cast<double>(totals.bytes) / static_cast<double>(*total);
    bar.Show(part, SizeText(totals.bytes) + " of " + SizeText(*total));
  };
  uint64_t keys = 0;
  LoadTotals totals;
  Status status;
  engine->server().SetImport({.paths = *paths, .progress = show});
  status = engine->Start();
  if (status.ok()) {
    keys = engine->CountKeys();
    totals = engine->server().load_totals();
    status = engine->Stop();
  }
  engine.reset();
  if (!status.ok()) {
    if (is_new) RemoveLock(files, directory);
    if (is_new) static_cast<void>(files->RemoveDirectory(directory));
    return Fail(status);
  }
  bar.Show(1, SizeText(*total) + " of " + SizeText(*total), true);
  if (arguments.quiet) return kDone;
  std::printf("%s: %llu keys", directory.c_str(), static_cast<unsigned long long>(keys));
  PrintPart(totals.requests, "commands of append-only files");
  PrintPart(totals.expired, "expired keys left out");
  PrintPart(totals.empty, "empty keys left out");
  std::printf(", from %s in %s\n", SizeText(*total).c_str(), TimeText(bar.elapsed()).c_str());
  return kDone;
}

// --- export

struct Target {
  std::string directory;
  std::string name;
};

constexpr char kAofBase[] = "appendonly.aof.1.base.rdb";
constexpr char kAofTail[] = "appendonly.aof.1.incr.aof";
constexpr char kAofManifest[] = "appendonly.aof.manifest";

// Refuses what would overwrite something.
Result<Target> PrepareTarget(io::FileSystem* files, const Arguments& arguments) {
  const std::string path = Absolute(arguments.target);
  if (arguments.aof) {
    if (Status status = files->CreateDirectories(path); !status.ok()) {
      return std::unexpected(status);
    }
    auto names = files->List(path);
    if (!names) return std::unexpected(names.error());
    if (names->empty()) return Target{path, kAofBase};
    return std::unexpected(Status(StatusCode::kBusy, path + " is not empty"));
  }
  if (IsDirectory(path)) {
    return std::unexpected(Status(StatusCode::kBusy, path + " is a directory: name a file"));
  }
  if (files->Exists(path) && !arguments.replace) {
    return std::unexpected(
        Status(StatusCode::kBusy, path + " is there already; --replace replaces it"));
  }
  const size_t slash = path.rfind('/');
  return Target{slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

// The dump lies in the directory; now it becomes the base of append-only files.
Status FinishAof(io::FileSystem* files, const std::string& directory) {
  auto write = [&](const std::string& name, std::string_view text) {
    auto file = files->Open(directory + "/" + name, {.create = true, .truncate = true});
    if (!file) return file.error();
    FIRN_RETURN_IF_ERROR((*file)->WriteAt(0, text));
    return (*file)->Sync();
  };
  FIRN_RETURN_IF_ERROR(write(kAofTail, ""));
  const std::string lines =
      std::string("file ") + kAofBase + " seq 1 type b\nfile " + kAofTail + " seq 1 type i\n";
  FIRN_RETURN_IF_ERROR(write(kAofManifest, lines));
  return files->SyncDirectory(directory);
}

// Writes the dump on a thread of its own, and shows how far it is.
Status WriteDump(DumpFile* dump, Engine* engine, const RdbFileOptions& order, Bar* bar,
                 uint64_t* written) {
  auto source = engine->server().store().TakeSnapshot();
  if (!source) return source.error();
  uint64_t total = 0;
  for (const SnapshotSource::Database& database : (*source)->databases) total += database.keys;
  SnapshotView view(std::move(*source));
  running_view.store(&view);
  std::atomic<uint64_t> keys{0};
  std::atomic<bool> done{false};
  Status status;
  std::thread writer([&] {
    status = WriteRdbFile(dump, &view, order, &keys);
    done.store(true);
  });
  auto show = [&](bool at_once) {
    const uint64_t so_far = keys.load();
    const double part = total == 0 ? 1 : static_cast<double>(so_far) / static_cast<double>(total);
    bar->Show(part, std::to_string(so_far) + " of " + std::to_string(total) + " keys", at_once);
  };
  while (!done.load()) {
    show(false);
    std::this_thread::sleep_for(std::chrono::milliseconds(done.load() ? 0 : 20));
  }
  writer.join();
  running_view.store(nullptr);
  show(true);
  *written = keys.load();
  return status;
}

Status CheckDirectory(io::FileSystem* files, const std::string& directory) {
  auto identity = ReadIdentity(files, directory);
  if (!identity && identity.error().code() == StatusCode::kNotFound) {
    return Status::Invalid(directory + " is no data directory of Firn: it has no IDENTITY");
  }
  if (!identity) return identity.error();
  if (files->Exists(directory + "/LOADING")) {
    return Status::Invalid(directory + " was not loaded to the end");
  }
  if (identity->durable) return {};
  return Status::Invalid(directory +
                         " was used with appendonly no: what is durable of it is its dump.rdb");
}

int Export(io::FileSystem* files, const Arguments& arguments) {
  const std::string directory = Absolute(arguments.source);
  if (Status status = CheckDirectory(files, directory); !status.ok()) return Fail(status);
  auto target = PrepareTarget(files, arguments);
  if (!target) return Fail(target.error());
  Options options;
  if (Status status = LoadOptions(arguments, directory, &options); !status.ok()) {
    return Fail(status.message());
  }
  Bar bar(arguments.progress && !arguments.quiet);
  uint64_t keys = 0;
  Status status;
  {
    Engine engine(arguments, &options);
    status = engine.Start();
    if (!status.ok()) return Fail(status);
    const Functions& functions = engine.server().scripting().functions();
    DumpFile dump(files, target->directory, target->name);
    status = WriteDump(&dump, &engine,
                       {.compress = options->rdb_compression,
                        .checksum = options->rdb_checksum,
                        .functions = functions.LibrariesAsCode(),
                        .is_aof_base = arguments.aof},
                       &bar, &keys);
    if (status.ok() && arguments.aof) status = FinishAof(files, target->directory);
    const Status stopped = engine.Stop();
    if (status.ok()) status = stopped;
  }
  if (status.code() == StatusCode::kBusy) return Fail("stopped by a signal", kFailed);
  if (!status.ok()) return Fail(status);
  if (arguments.quiet) return kDone;
  auto size = SizeOf(files, {target->directory + "/" + target->name});
  std::printf("%s: %llu keys, %s in %s\n", Absolute(arguments.target).c_str(),
              static_cast<unsigned long long>(keys), SizeText(size ? *size : 0).c_str(),
              TimeText(bar.elapsed()).c_str());
  return kDone;
}

int Main(std::span<char*> words) {
  if (words.size() == 2 &&
      (words[1] == std::string_view("--help") || words[1] == std::string_view("help"))) {
    std::fputs(kHelp, stdout);
    return kDone;
  }
  const std::string_view command = words.size() < 2 ? "" : words[1];
  if (command != "import" && command != "export") {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  Arguments arguments;
  if (auto complaint = ParseWords(words.subspan(1), &arguments)) return Fail(*complaint);
  InstallSignals();
  auto files = io::CreatePosixFileSystem();
  return arguments.is_import ? Import(files.get(), arguments) : Export(files.get(), arguments);
}

}  // namespace
}  // namespace firn::server

#ifdef FIRN_JEMALLOC
// As the server has it.
extern "C" {
const char* malloc_conf =
    "background_thread:true,dirty_decay_ms:300,muzzy_decay_ms:0,narenas:4,metadata_thp:disabled";
}
#endif

int main(int argc, char** argv) { return firn::server::Main({argv, static_cast<size_t>(argc)}); }
