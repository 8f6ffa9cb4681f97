#include "server/options/options.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace firn::server {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class OptionsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "firn-options-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    Reopen();
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  // All options at their defaults, with `input` waiting on standard input.
  void Reopen(const std::string& input = "") {
    const std::string path = Write("standard-input", input);
    input_.reset(fopen(path.c_str(), "r"));
    options_ = std::make_unique<Options>(OptionsEnvironment{
        .usable_memory_bytes = 64 * kMiB, .standard_input = fileno(input_.get())});
  }
  std::string Path(const std::string& name) const { return directory_ + "/" + name; }
  std::string Write(const std::string& name, const std::string& text) const {
    std::ofstream(Path(name)) << text;
    return Path(name);
  }
  std::string ReadBack(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(Path(name)).rdbuf();
    return text.str();
  }
  // The error of a start with these arguments.
  std::string Start(std::vector<std::string> arguments) {
    return options_->LoadArguments(arguments).message();
  }
  std::string StartWith(const std::string& text) { return Start({Write("firn.conf", text)}); }

  std::string Get(std::string_view name) const { return options_->GetOne(name); }
  std::map<std::string, std::string> GetAll(std::vector<std::string_view> patterns) const {
    std::map<std::string, std::string> found;
    for (const Options::NamedValue& value : options_->Get(patterns)) {
      EXPECT_TRUE(found.emplace(value.name, value.value).second) << value.name << " twice";
    }
    return found;
  }
  Status SetStatus(std::vector<Options::Assignment> assignments,
                   Options::SetConditions conditions = {.loading = false, .local_client = true}) {
    return options_->Set(assignments, conditions);
  }
  std::string Set(std::vector<Options::Assignment> assignments) {
    return SetStatus(std::move(assignments)).message();
  }

  struct CloseFile {
    void operator()(FILE* file) const { fclose(file); }
  };
  std::string directory_;
  std::unique_ptr<FILE, CloseFile> input_;
  std::unique_ptr<Options> options_;
};

std::string SetError(const std::string& name, const std::string& reason) {
  return "CONFIG SET failed (possibly related to argument '" + name + "') - " + reason;
}

TEST_F(OptionsTest, DefaultsAreInForce) {
  EXPECT_EQ(Start({}), "");
  EXPECT_EQ((*options_)->port, 6379);
  EXPECT_EQ((*options_)->bind, (std::vector<std::string>{"*", "-::*"}));
  EXPECT_EQ((*options_)->maxmemory_policy, MaxmemoryPolicy::kNoEviction);
  EXPECT_EQ((*options_)->log_segment_size, 64 * kMiB);
  EXPECT_EQ(
      (*options_)->output_buffer_limit(ClientClass::kPubsub),
      (OutputBufferLimit{.hard_bytes = 32 * kMiB, .soft_bytes = 8 * kMiB, .soft_seconds = 60}));
  EXPECT_EQ((*options_)->latency_tracking_info_percentiles,
            (std::vector<double>{50.0, 99.0, 99.9}));
  EXPECT_TRUE((*options_)->appendonly);
  EXPECT_EQ((*options_)->dir, std::filesystem::canonical(".").string());
}

TEST_F(OptionsTest, AbsentMaxmemoryIsHalfOfTheMachine) {
  EXPECT_EQ(Start({}), "");
  EXPECT_EQ(Get("maxmemory"), std::to_string(32 * kMiB));
  EXPECT_EQ((*options_)->maxmemory, 32 * kMiB);
}

TEST_F(OptionsTest, MaxmemoryZeroIsNoLimit) {
  EXPECT_EQ(Start({"--maxmemory", "0"}), "");
  EXPECT_EQ((*options_)->maxmemory, 0u);
  Reopen();
  EXPECT_EQ(Set({{"maxmemory", "0"}}), "");
  EXPECT_EQ(Get("maxmemory"), "0");
}

TEST_F(OptionsTest, ClientMemoryPercentageFollowsMaxmemory) {
  EXPECT_EQ(Start({"--maxmemory", "1000", "--maxmemory-clients", "5%"}), "");
  EXPECT_EQ((*options_)->MaxmemoryClientsBytes(), 50u);
}

TEST_F(OptionsTest, SaveRulesAreAbsentWhileAppendonlyIsOn) {
  EXPECT_EQ(Start({}), "");
  EXPECT_EQ(Get("save"), "");
  Reopen();
  EXPECT_EQ(Start({"--appendonly", "no"}), "");
  EXPECT_EQ(Get("save"), "3600 1 300 100 60 10000");
  EXPECT_EQ((*options_)->save.size(), 3u);
  Reopen();
  EXPECT_EQ(StartWith("save 3600 1\nsave 300 100\nsave 60 10000\n"), "");
  EXPECT_EQ(Get("save"), "3600 1 300 100 60 10000");
  Reopen();
  EXPECT_EQ(StartWith("appendonly no\nsave 900 1\nsave ''\n"), "");
  EXPECT_EQ(Get("save"), "");
}

TEST_F(OptionsTest, SaveRulesAddUpLineByLine) {
  EXPECT_EQ(StartWith("port 1\nsave 900 1\nsave 300 10\n"), "");
  ASSERT_EQ((*options_)->save.size(), 2u);
  EXPECT_NE(StartWith("port 1\nsave 900 x\n").find("at line 2"), std::string::npos);
}

TEST_F(OptionsTest, AFileIsReadWithCommentsQuotesAndAliases) {
  EXPECT_EQ(StartWith("# comment\n\n  PORT 7000  \r\n"
                      "requirepass \"a b\\x21\"\n"
                      "bind 127.0.0.1 ::1\n"
                      "client-output-buffer-limit slave 1mb 1mb 10\n"
                      "min-slaves-max-lag 10\n"
                      "hash-max-ziplist-entries 20\n"
                      "shutdown-on-sigterm \"nosave force\"\n"
                      "list-max-ziplist-entries 512\n"),
            "");
  EXPECT_EQ((*options_)->port, 7000);
  EXPECT_EQ((*options_)->requirepass, "a b!");
  EXPECT_EQ(Get("bind"), "127.0.0.1 ::1");
  EXPECT_EQ((*options_)->output_buffer_limit(ClientClass::kReplica).hard_bytes, kMiB);
  EXPECT_EQ(Get("hash-max-listpack-entries"), "20");
  EXPECT_EQ((*options_)->shutdown_on_sigterm, kShutdownNosave | kShutdownForce);
  EXPECT_EQ(options_->config_file(), std::filesystem::canonical(Path("firn.conf")).string());
}

TEST_F(OptionsTest, ErrorsNameFileLineAndReason) {
  const std::string path = Path("firn.conf");
  EXPECT_EQ(StartWith("# x\nport nine\n"),
            "\n*** FATAL CONFIG FILE ERROR (Firn 0.1.0) ***\n"
            "Reading the configuration file, at line 2 (" +
                path + ")\n>>> 'port nine'\nargument couldn't be parsed into an integer");
  const auto reason = [&](const std::string& line) {
    Reopen();
    const std::string error = StartWith(line + "\n");
    return error.substr(error.rfind('\n') + 1);
  };
  EXPECT_EQ(reason("bla 1"), "Bad directive or wrong number of arguments");
  EXPECT_EQ(reason("port"), "wrong number of arguments");
  EXPECT_EQ(reason("port 1 2"), "wrong number of arguments");
  EXPECT_EQ(reason("bind \"abc"), "Unbalanced quotes in configuration line");
  EXPECT_EQ(reason("foo.bar"), "Module config specified without value");
  EXPECT_EQ(reason("dir /nonexistent"), "No such file or directory");
  EXPECT_EQ(reason("dir " + path), "Not a directory");
  EXPECT_EQ(reason("logfile /nonexistent/x"), "Can't open the log file: No such file or directory");
  EXPECT_EQ(reason("replicaof 127.0.0.1 6379"),
            "this needs replication, which this version of Firn does not have; only the default "
            "'' is accepted");
  EXPECT_EQ(reason("cluster-enabled yes"),
            "this needs the cluster, which this version of Firn does not have; only the default "
            "'no' is accepted");
  EXPECT_EQ(reason("rename-command GET x"), "");
  EXPECT_EQ(reason("rename-command GET"), "Bad directive or wrong number of arguments");
  EXPECT_EQ(reason("user bob (+get"),
            "Unmatched parenthesis in acl selector starting at '(+get'.");
  EXPECT_EQ(StartWith("user bob on\nuser bob off\n").find("Duplicate user found") !=
                std::string::npos,
            true);
  EXPECT_EQ(reason("replicaof no one"), "");
  EXPECT_EQ(reason("activedefrag yes"), "");
}

TEST_F(OptionsTest, AMissingFileIsNamed) {
  EXPECT_EQ(Start({"/nonexistent.conf"}),
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory");
  EXPECT_EQ(StartWith("include /nonexistent.conf\n"),
            "Fatal error, can't open config file '/nonexistent.conf': No such file or directory");
  EXPECT_EQ(Start({directory_}),
            "Fatal error, can't open config file '" + directory_ + "': Is a directory");
}

TEST_F(OptionsTest, IncludesAreReadInPlace) {
  Write("a.inc", "port 1\nhz 20\n");
  Write("b.inc", "hz 30\n");
  EXPECT_EQ(
      StartWith("port 2\ninclude " + Path("*.inc") + "\ninclude " + Path("no*match") + "\nhz 40\n"),
      "");
  EXPECT_EQ((*options_)->port, 1);
  EXPECT_EQ((*options_)->hz, 40);
  Reopen();
  Write("c.inc", "\nport x\n");
  const std::string error = StartWith("include " + Path("c.inc") + "\n");
  EXPECT_NE(error.find("at line 2 (" + Path("c.inc") + ")"), std::string::npos) << error;
}

TEST_F(OptionsTest, IncludeLoopsEnd) {
  const std::string error = StartWith("include " + Path("firn.conf") + "\n");
  EXPECT_NE(error.find("include is nested too deeply"), std::string::npos) << error;
}

TEST_F(OptionsTest, RelativePathsStartFromDir) {
  std::filesystem::create_directory(Path("data"));
  EXPECT_EQ(StartWith("dir " + directory_ + "\ndir data\nlogfile server.log\n"), "");
  EXPECT_EQ(Get("dir"), std::filesystem::canonical(Path("data")).string());
  EXPECT_TRUE(std::filesystem::exists(Path("data/server.log")));
}

TEST_F(OptionsTest, ArgumentsFollowTheFileAndStandardInput) {
  Reopen("port 2\nhz 20\n");
  EXPECT_EQ(Start({Write("firn.conf", "port 1\nhz 30\ntimeout 5\n"), "--port", "3", "-"}), "");
  EXPECT_EQ((*options_)->port, 3);
  EXPECT_EQ((*options_)->hz, 20);
  EXPECT_EQ((*options_)->timeout_seconds, 5);
  Reopen("port 2\n");
  EXPECT_EQ(Start({"-", "--hz", "20"}), "");
  EXPECT_EQ((*options_)->port, 2);
  EXPECT_EQ((*options_)->hz, 20);
  Reopen("port 4\n");
  EXPECT_TRUE(options_->LoadFile("-").ok());
  EXPECT_EQ((*options_)->port, 4);
}

TEST_F(OptionsTest, ArgumentsAreCutAsInRedis) {
  const auto start = [&](std::vector<std::string> arguments) {
    Reopen();
    const std::string error = Start(std::move(arguments));
    const size_t line = error.find(">>> ");
    return line == std::string::npos ? error : error.substr(line);
  };
  EXPECT_EQ(start({"--invalid"}), ">>> 'invalid'\nBad directive or wrong number of arguments");
  EXPECT_EQ(start({"--port=7000"}), ">>> 'port=7000'\nBad directive or wrong number of arguments");
  EXPECT_EQ(start({"--port"}), ">>> 'port'\nwrong number of arguments");
  EXPECT_EQ(start({"--port", "6379", "6380"}),
            ">>> 'port \"6379\" \"6380\"'\nwrong number of arguments");
  EXPECT_EQ(start({"--port", "--loglevel", "verbose"}),
            ">>> 'port \"--loglevel\" \"verbose\"'\nwrong number of arguments");
  EXPECT_EQ(start({"--port", "--bla", "--loglevel", "verbose"}),
            ">>> 'port \"--bla\"'\nargument couldn't be parsed into an integer");
  EXPECT_EQ(start({"--replicaof", "--127.0.0.1", "--abc"}),
            ">>> 'replicaof \"--127.0.0.1\"'\nwrong number of arguments");
  EXPECT_EQ(start({"--shutdown-on-sigint", "now force", "--shutdown-on-sigterm"}),
            ">>> 'shutdown-on-sigterm'\nargument(s) must be one of the following: default, save, "
            "nosave, now, force");
  EXPECT_EQ(start({"--maxmemory 700mb", "--maxmemory-policy 'volatile-lru'"}), "");
  EXPECT_EQ(Get("maxmemory"), "734003200");
  EXPECT_EQ(Get("maxmemory-policy"), "volatile-lru");
  EXPECT_EQ(start({"--proc-title-template", "--my--title--template", "--loglevel", "verbose"}), "");
  EXPECT_EQ(Get("proc-title-template"), "--my--title--template");
  EXPECT_EQ(start({"--shutdown-on-sigint", "nosave", "force", "now"}), "");
  EXPECT_EQ(Get("shutdown-on-sigint"), "nosave now force");
}

TEST_F(OptionsTest, SaveWithoutValueMeansNone) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--save", "--loglevel", "verbose"},
        {"--loglevel", "verbose", "--save"},
        {"--save", "", "--loglevel", "verbose"},
        {"--proc-title-template", "--save", "--save", "", "--loglevel", "verbose"}}) {
    Reopen();
    std::vector<std::string> all = {Write("firn.conf", "save 900 1\nappendonly no\n")};
    all.insert(all.end(), arguments.begin(), arguments.end());
    EXPECT_EQ(Start(all), "");
    EXPECT_EQ(Get("save"), "");
    EXPECT_EQ((*options_)->loglevel, LogLevel::kVerbose);
  }
}

TEST_F(OptionsTest, GetTakesNamesAndPatterns) {
  const auto found = GetAll({"maxmemory", "maxmemory*", "bind", "*of"});
  EXPECT_TRUE(found.contains("slaveof"));
  EXPECT_TRUE(found.contains("replicaof"));
  EXPECT_TRUE(found.contains("maxmemory-clients"));
  EXPECT_EQ(found.at("bind"), "* -::*");
  EXPECT_EQ(GetAll({"MAXMEMORY-samples", "nothing"}),
            (std::map<std::string, std::string>{{"MAXMEMORY-samples", "5"}}));
  EXPECT_TRUE(GetAll({"MAXMEM*"}).contains("maxmemory"));
}

TEST_F(OptionsTest, HiddenOptionsAreFoundByTheirExactNameOnly) {
  EXPECT_FALSE(GetAll({"*"}).contains("key-load-delay"));
  EXPECT_TRUE(GetAll({"key-load-delay"}).contains("key-load-delay"));
  EXPECT_EQ(GetAll({"*"}).size(), 202u - 7u + 14u);
}

TEST_F(OptionsTest, SetChangesSeveralAtOnce) {
  EXPECT_EQ(Set({{"maxmemory", "10mb"}, {"timeout", "7"}, {"appendfsync", "always"}}), "");
  EXPECT_EQ((*options_)->maxmemory, 10 * kMiB);
  EXPECT_EQ((*options_)->timeout_seconds, 7);
  EXPECT_EQ((*options_)->appendfsync, AppendFsync::kAlways);
}

TEST_F(OptionsTest, SetIsAllOrNothing) {
  EXPECT_EQ(Set({{"timeout", "7"}, {"maxmemory-clients", "200%"}, {"hz", "x"}}),
            SetError("maxmemory-clients", "percentage argument must be less or equal to 100"));
  EXPECT_EQ((*options_)->timeout_seconds, 0);
  EXPECT_EQ(Set({{"timeout", "7"}, {"nothing", "1"}}),
            "Unknown option or number of arguments for CONFIG SET - 'nothing'");
  EXPECT_EQ(Get("timeout"), "0");
}

TEST_F(OptionsTest, SetRefusesWhatMayNotChange) {
  EXPECT_EQ(Set({{"daemonize", "yes"}}), SetError("daemonize", "can't set immutable config"));
  EXPECT_EQ(Set({{"maxmemory", "1mb"}, {"MAXMEMORY", "2mb"}}),
            SetError("MAXMEMORY", "duplicate parameter"));
  EXPECT_EQ(Set({{"dir", "/"}}), SetError("dir", "can't set protected config"));
  EXPECT_EQ(Set({{"tiering", "no"}}),
            SetError("tiering", "it can't be changed while the server runs"));
  EXPECT_EQ(Set({{"min-replicas-to-write", "5"}}),
            SetError("min-replicas-to-write",
                     "this needs replication, which this version of Firn does not have; only the "
                     "default '0' is accepted"));
  // What tunes replication has no effect in Redis either as long as there are no replicas.
  EXPECT_EQ(Set({{"repl-backlog-size", "64mb"}, {"replica-priority", "50"}}), "");
  EXPECT_EQ(Get("repl-backlog-size"), "67108864");
  EXPECT_EQ(Set({{"save", "100 1"}}), "");
  EXPECT_EQ(Set({{"save", ""}}), "");
}

TEST_F(OptionsTest, ProtectedOptionsFollowEnableProtectedConfigs) {
  EXPECT_EQ(Start({"--enable-protected-configs", "local"}), "");
  EXPECT_EQ(Set({{"dbfilename", "x.rdb"}}), "");
  EXPECT_EQ(
      SetStatus({{"dbfilename", "y.rdb"}}, {.loading = false, .local_client = false}).message(),
      SetError("dbfilename", "can't set protected config"));
  EXPECT_EQ(Set({{"dir", "/"}}), SetError("dir", "it can't be changed while the server runs"));
}

TEST_F(OptionsTest, SomeOptionsCannotBeSetWhileLoading) {
  EXPECT_EQ(SetStatus({{"appendonly", "yes"}}, {.loading = true, .local_client = true}).code(),
            StatusCode::kBusy);
  EXPECT_TRUE(SetStatus({{"loglevel", "debug"}}, {.loading = true, .local_client = true}).ok());
}

TEST_F(OptionsTest, AnAliasAndItsOptionMayBeSetTogether) {
  EXPECT_EQ(Set({{"hash-max-listpack-entries", "5"}, {"hash-max-ziplist-entries", "6"}}), "");
  EXPECT_EQ(Get("hash-max-listpack-entries"), "6");
  EXPECT_EQ(Set({{"hash-max-listpack-entries", "7"}, {"hash-max-ziplist-entries", "x"}}),
            SetError("hash-max-ziplist-entries", "argument couldn't be parsed into an integer"));
  EXPECT_EQ(Get("hash-max-listpack-entries"), "6");
}

TEST_F(OptionsTest, AppliersRunOnceAndOnlyOnChange) {
  int runs = 0;
  options_->OnChange({"port", "bind"}, [&] {
    runs++;
    EXPECT_EQ((*options_)->port, 7000);
    return Status::Ok();
  });
  EXPECT_EQ(Set({{"port", "7000"}, {"bind", "127.0.0.1"}}), "");
  EXPECT_EQ(Set({{"port", "7000"}, {"timeout", "1"}}), "");
  EXPECT_EQ(runs, 1);
}

TEST_F(OptionsTest, AFailedApplierBringsEverythingBack) {
  std::vector<std::string> seen;
  options_->OnChange({"timeout"}, [&] {
    seen.push_back("timeout " + Get("timeout"));
    return Status::Ok();
  });
  options_->OnChange({"port"}, [&] {
    seen.push_back("port " + Get("port"));
    return (*options_)->port == 6379
               ? Status::Ok()
               : Status::Invalid("Unable to listen on this port. Check server logs.");
  });
  EXPECT_EQ(Set({{"timeout", "9"}, {"port", "1"}, {"hz", "50"}}),
            SetError("port", "Unable to listen on this port. Check server logs."));
  EXPECT_EQ(seen, (std::vector<std::string>{"timeout 9", "port 1", "timeout 0", "port 6379"}));
  EXPECT_EQ(Get("hz"), "10");
}

TEST_F(OptionsTest, TheServerMayPutAnotherValueInForce) {
  options_->SetInForce("maxclients", "100");
  EXPECT_EQ((*options_)->maxclients, 100u);
}

TEST_F(OptionsTest, PasswordsAreSensitive) {
  EXPECT_TRUE(options_->IsSensitive("RequirePass"));
  EXPECT_TRUE(options_->IsSensitive("masterauth"));
  EXPECT_FALSE(options_->IsSensitive("port"));
  EXPECT_FALSE(options_->IsSensitive("nothing"));
}

TEST_F(OptionsTest, RewriteNeedsAFile) {
  EXPECT_EQ(Start({"--port", "1"}), "");
  EXPECT_EQ(options_->Rewrite().message(), "The server is running without a config file");
}

TEST_F(OptionsTest, RewriteKeepsTheFileAndChangesItsLines) {
  std::filesystem::create_directory(Path("data"));
  const std::string dir = std::filesystem::canonical(Path("data")).string();
  EXPECT_EQ(StartWith("# head\n\n\n\nport 7000\nhash-max-ziplist-entries 20\n# tail\n"
                      "dir " +
                      dir + "\nport 7001\nunixsocket /tmp/x\n"),
            "");
  EXPECT_EQ(Set({{"port", "7002"},
                 {"hash-max-listpack-entries", "30"},
                 {"maxmemory", "2gb"},
                 {"requirepass", "a \"b\n"},
                 {"client-output-buffer-limit", "normal 1mb 0 0"}}),
            "");
  ASSERT_EQ(options_->Rewrite().message(), "");
  const std::string expected = "# head\n\nport 7002\nhash-max-listpack-entries 30\n# tail\ndir \"" +
                               dir +
                               "\"\n\nunixsocket \"/tmp/x\"\n"
                               "# Generated by CONFIG REWRITE\n"
                               "maxmemory 2gb\n"
                               "client-output-buffer-limit normal 1mb 0 0\n"
                               "requirepass \"a \\\"b\\n\"\n";
  EXPECT_EQ(ReadBack("firn.conf"), expected);
  // What was written starts a server that is the same, and writing again changes nothing.
  const auto before = GetAll({"*"});
  Reopen();
  EXPECT_EQ(Start({Path("firn.conf")}), "");
  EXPECT_EQ(GetAll({"*"}), before);
  ASSERT_EQ(options_->Rewrite().message(), "");
  EXPECT_EQ(ReadBack("firn.conf"), expected);
}

TEST_F(OptionsTest, RewriteDropsWhatIsUnsetAndMarksTheUnknown) {
  const std::string dir = std::filesystem::canonical(directory_).string();
  EXPECT_EQ(StartWith("requirepass x\nbind 127.0.0.1\nlua-replicate-commands yes\nsave ''\ndir " +
                      dir + "\n"),
            "");
  EXPECT_EQ(Set({{"requirepass", ""}, {"bind", "* -::*"}}), "");
  ASSERT_EQ(options_->Rewrite().message(), "");
  EXPECT_EQ(ReadBack("firn.conf"),
            "\n# ??? lua-replicate-commands yes\nsave \"\"\ndir \"" + dir + "\"\n");
}

TEST_F(OptionsTest, RewriteKeepsPermissionsAndLeavesNoOtherFile) {
  EXPECT_EQ(StartWith("port 7000\n"), "");
  ASSERT_EQ(chmod(Path("firn.conf").c_str(), 0600), 0);
  ASSERT_EQ(options_->Rewrite().message(), "");
  struct stat status;
  ASSERT_EQ(stat(Path("firn.conf").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 2);
}

TEST_F(OptionsTest, RewriteOfEverySettableOptionLoadsAgain) {
  EXPECT_EQ(StartWith("appendonly no\n"), "");
  EXPECT_EQ(Set({{"shutdown-on-sigterm", "nosave now"},
                 {"maxmemory-clients", "10%"},
                 {"notify-keyspace-events", "KEA"},
                 {"latency-tracking-info-percentiles", ""},
                 {"oom-score-adj-values", "1 2 3"},
                 {"tier-compression", "zstd"},
                 {"bind", ""}}),
            "");
  ASSERT_EQ(options_->Rewrite().message(), "");
  const auto before = GetAll({"*"});
  Reopen();
  EXPECT_EQ(Start({Path("firn.conf")}), "") << ReadBack("firn.conf");
  EXPECT_EQ(GetAll({"*"}), before);
}

}  // namespace
}  // namespace firn::server
