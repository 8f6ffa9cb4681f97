#include "server/options/option_table.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "server/options/config_syntax.h"
#include "server/options/option_codec.h"
#include "server/options/options.h"

namespace firn::server {
namespace {

const OptionRow& RowOf(std::string_view name) {
  for (const OptionFamily& family : OptionFamilies()) {
    for (const OptionRow& row : family.rows) {
      if (row.name == name || row.alias == name) {
        return row;
      }
    }
  }
  ADD_FAILURE() << "no option " << name;
  return OptionFamilies()[0].rows[0];
}

std::string ReadFileText(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string ErrorOf(std::string_view name, std::vector<std::string> words) {
  const OptionRow& row = RowOf(name);
  Result<OptionValue> value = ParseOption(row, words, ParseOwnText(row, row.default_text));
  return value ? "" : value.error().message();
}

// What CONFIG GET answers after `words` were read.
std::string Read(std::string_view name, std::vector<std::string> words) {
  const OptionRow& row = RowOf(name);
  Result<OptionValue> value = ParseOption(row, words, ParseOwnText(row, row.default_text));
  return value ? FormatOption(row, *value) : "error: " + value.error().message();
}

TEST(OptionTable, KnowsEveryNameOfRedis72) {
  std::map<std::string, bool> expected;
  std::ifstream file(FIRN_TEST_DATA "/redis-7.2-config-names.txt");
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') {
      const bool hidden = line.ends_with(" hidden");
      expected[line.substr(0, line.find(' '))] = hidden;
    }
  }
  ASSERT_EQ(expected.size(), 202u);
  const std::set<std::string> own = {"tiering",
                                     "maxdisk",
                                     "log-segment-size",
                                     "log-archive-dir",
                                     "log-compaction-share",
                                     "log-compaction-target",
                                     "recover-until",
                                     "tier-compression",
                                     "tier-compression-level",
                                     "tier-index-memory",
                                     "tier-min-value",
                                     "tier-restore-hot-set",
                                     "tier-warm-memory",
                                     "io-backend"};
  std::map<std::string, bool> found;
  for (const OptionFamily& family : OptionFamilies()) {
    for (const OptionRow& row : family.rows) {
      for (const std::string_view name : {row.name, row.alias}) {
        if (!name.empty() && !own.contains(std::string(name))) {
          EXPECT_TRUE(found.emplace(name, row.Has(kHidden)).second) << name << " appears twice";
        }
      }
    }
  }
  EXPECT_EQ(found, expected);
}

TEST(OptionTable, EveryRowIsComplete) {
  for (const OptionFamily& family : OptionFamilies()) {
    for (const OptionRow& row : family.rows) {
      EXPECT_TRUE(row.doc.ends_with(".")) << row.name;
      EXPECT_EQ(row.feature.empty(), row.effect == Effect::kLive || row.effect == Effect::kIgnored)
          << row.name;
      EXPECT_EQ(row.names.empty(), row.type != OptionType::kEnum && row.type != OptionType::kFlags)
          << row.name;
      if (row.effect == Effect::kLive) {
        EXPECT_NE(row.store, nullptr) << row.name << " acts, but nobody can read it";
      }
    }
  }
}

TEST(OptionTable, EveryDefaultSurvivesFormattingAndReading) {
  for (const OptionFamily& family : OptionFamilies()) {
    for (const OptionRow& row : family.rows) {
      const OptionValue value = ParseOwnText(row, row.default_text);
      const std::string text = FormatOption(row, value);
      EXPECT_EQ(ParseOwnText(row, text), value) << row.name;
      OptionValue reread = row.type == OptionType::kWords ? value : OptionValue{};
      for (const FileLine& line : FormatForFile(row, value, value)) {
        EXPECT_FALSE(line.differs) << row.name;
        auto words = SplitWords(line.text);
        ASSERT_TRUE(words) << line.text;
        EXPECT_EQ(words->front(), row.name);
        words->erase(words->begin());
        if (!row.Has(kAccumulates)) {
          Result<OptionValue> parsed = ParseOption(row, *words, reread);
          ASSERT_TRUE(parsed) << line.text << ": " << parsed.error().message();
          EXPECT_EQ(*parsed, value) << line.text;
        }
      }
    }
  }
}

TEST(OptionTypes, BoolsAreYesOrNo) {
  EXPECT_EQ(Read("rdbcompression", {"NO"}), "no");
  EXPECT_EQ(ErrorOf("rdbcompression", {"maybe"}), "argument must be 'yes' or 'no'");
}

TEST(OptionTypes, IntegersKeepTheirBounds) {
  EXPECT_EQ(Read("port", {"65535"}), "65535");
  EXPECT_EQ(ErrorOf("port", {"65536"}), "argument must be between 0 and 65535 inclusive");
  EXPECT_EQ(ErrorOf("port", {"-1"}), "argument must be between 0 and 65535 inclusive");
  EXPECT_EQ(ErrorOf("port", {"x"}), "argument couldn't be parsed into an integer");
  EXPECT_EQ(ErrorOf("port", {"01"}), "argument couldn't be parsed into an integer");
  EXPECT_EQ(ErrorOf("port", {""}), "argument couldn't be parsed into an integer");
  EXPECT_EQ(ErrorOf("maxclients", {"0"}), "argument must be between 1 and 4294967295 inclusive");
  EXPECT_EQ(ErrorOf("slowlog-max-len", {"-5"}),
            "argument must be between 0 and 9223372036854775807 inclusive");
  EXPECT_EQ(ErrorOf("set-max-intset-entries", {"-5"}),
            "argument must be between 0 and 9223372036854775807 inclusive");
  EXPECT_EQ(Read("list-max-listpack-size", {"-2147483648"}), "-2147483648");
}

TEST(OptionTypes, MemoryHasUnits) {
  EXPECT_EQ(Read("maxmemory", {"100"}), "100");
  EXPECT_EQ(Read("maxmemory", {"1k"}), "1000");
  EXPECT_EQ(Read("maxmemory", {"1KB"}), "1024");
  EXPECT_EQ(Read("maxmemory", {"700mb"}), "734003200");
  EXPECT_EQ(Read("maxmemory", {"2Gb"}), "2147483648");
  EXPECT_EQ(Read("maxmemory", {"18446744073709551615"}), "18446744073709551615");
  EXPECT_EQ(Read("maxmemory", {"99999999999999999999gb"}), "18446744072635809792");
  EXPECT_EQ(ErrorOf("maxmemory", {"-1"}), "argument must be a memory value");
  EXPECT_EQ(ErrorOf("maxmemory", {"1tb"}), "argument must be a memory value");
  EXPECT_EQ(ErrorOf("proto-max-bulk-len", {"1000"}),
            "argument must be between 1048576 and 9223372036854775807 inclusive");
}

TEST(OptionTypes, ClientMemoryMayBeAPercentage) {
  EXPECT_EQ(Read("maxmemory-clients", {"5%"}), "5%");
  EXPECT_EQ(Read("maxmemory-clients", {"100%"}), "100%");
  EXPECT_EQ(Read("maxmemory-clients", {"1mb"}), "1048576");
  EXPECT_EQ(ErrorOf("maxmemory-clients", {"200%"}),
            "percentage argument must be less or equal to 100");
  EXPECT_EQ(ErrorOf("maxmemory-clients", {"x%"}), "argument must be a memory or percent value");
}

TEST(OptionTypes, PermissionsAreOctal) {
  EXPECT_EQ(Read("unixsocketperm", {"700"}), "700");
  EXPECT_EQ(ErrorOf("unixsocketperm", {"1000"}), "argument must be between 0 and 777 inclusive");
  EXPECT_EQ(ErrorOf("unixsocketperm", {"9"}), "argument couldn't be parsed as an octal number");
}

TEST(OptionTypes, EnumsNameTheirValues) {
  EXPECT_EQ(Read("maxmemory-policy", {"ALLKEYS-LRU"}), "allkeys-lru");
  EXPECT_EQ(Read("oom-score-adj", {"yes"}), "yes");
  EXPECT_EQ(Read("oom-score-adj", {"relative"}), "yes");
  EXPECT_EQ(ErrorOf("appendfsync", {"often"}),
            "argument(s) must be one of the following: everysec, always, no");
}

TEST(OptionTypes, FlagsCombine) {
  EXPECT_EQ(Read("shutdown-on-sigint", {"nosave", "force", "now"}), "nosave now force");
  EXPECT_EQ(Read("shutdown-on-sigint", {"default"}), "default");
  EXPECT_EQ(ErrorOf("shutdown-on-sigint", {}),
            "argument(s) must be one of the following: default, save, nosave, now, force");
  EXPECT_EQ(ErrorOf("shutdown-on-sigterm", {"save", "nosave"}),
            "shutdown options SAVE and NOSAVE can't be used simultaneously");
}

TEST(OptionTypes, OutputBufferLimitsChangeOnlyTheNamedClasses) {
  EXPECT_EQ(Read("client-output-buffer-limit", {"replica", "1kb", "2", "3"}),
            "normal 0 0 0 slave 1024 2 3 pubsub 33554432 8388608 60");
  EXPECT_EQ(ErrorOf("client-output-buffer-limit", {"normal", "1", "2"}),
            "Wrong number of arguments in buffer limit configuration.");
  EXPECT_EQ(ErrorOf("client-output-buffer-limit", {"master", "1", "2", "3"}),
            "Invalid client class specified in buffer limit configuration.");
  EXPECT_EQ(ErrorOf("client-output-buffer-limit", {"normal", "1", "2", "-3"}),
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
}

TEST(OptionTypes, SpecialGrammars) {
  EXPECT_EQ(Read("save", {"100", "1"}), "100 1");
  EXPECT_EQ(Read("save", {""}), "");
  EXPECT_EQ(ErrorOf("save", {"0", "1"}), "Invalid save parameters");
  EXPECT_EQ(ErrorOf("save", {"1"}), "Invalid save parameters");
  EXPECT_EQ(Read("notify-keyspace-events", {"KEA"}), "AKE");
  EXPECT_EQ(Read("notify-keyspace-events", {"mx$K"}), "$xKm");
  EXPECT_EQ(ErrorOf("notify-keyspace-events", {"q"}),
            "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
  EXPECT_EQ(Read("oom-score-adj-values", {"1", "2", "-2000"}), "1 2 -2000");
  EXPECT_EQ(ErrorOf("oom-score-adj-values", {"1", "2", "2001"}),
            "Invalid oom-score-adj-values, elements must be between -2000 and 2000.");
  EXPECT_EQ(ErrorOf("oom-score-adj-values", {"1"}), "wrong number of arguments");
  EXPECT_EQ(Read("latency-tracking-info-percentiles", {"50", "99.900"}), "50 99.9");
  EXPECT_EQ(ErrorOf("latency-tracking-info-percentiles", {"101"}),
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
  EXPECT_EQ(ErrorOf("latency-tracking-info-percentiles", {"x"}),
            "Invalid latency-tracking-info-percentiles parameters");
  EXPECT_EQ(Read("replicaof", {"NO", "one"}), "");
  EXPECT_EQ(ErrorOf("replicaof", {"127.0.0.1", "abc"}), "Invalid master port");
  EXPECT_EQ(ErrorOf("bind", std::vector<std::string>(17, "::1")),
            "Too many bind addresses specified.");
  EXPECT_EQ(Read("hz", {"1000"}), "500");
  EXPECT_EQ(Read("hz", {"0"}), "1");
  EXPECT_EQ(ErrorOf("dbfilename", {"a/b"}), "dbfilename can't be a path, just a filename");
  EXPECT_EQ(ErrorOf("appendfilename", {""}), "appendfilename can't be empty");
  EXPECT_EQ(ErrorOf("proc-title-template", {"{nothing}"}),
            "template format is invalid or contains unknown variables");
  EXPECT_EQ(Read("proc-title-template", {"--my--title"}), "--my--title");
  EXPECT_EQ(ErrorOf("pidfile", {std::string("a\0b", 3)}), "argument must not contain zero bytes");
}

TEST(OptionTypes, SegmentSizesArePowersOfTwo) {
  EXPECT_EQ(Read("log-segment-size", {"16mb"}), "16777216");
  EXPECT_EQ(ErrorOf("log-segment-size", {"3mb"}), "argument must be a power of two");
  EXPECT_EQ(ErrorOf("log-segment-size", {"512kb"}),
            "argument must be between 1048576 and 1073741824 inclusive");
}

TEST(ConfigSyntax, WordsAreSplitAtSpacesOutsideQuotes) {
  EXPECT_EQ(*SplitWords("  save 900\t1  "), (std::vector<std::string>{"save", "900", "1"}));
  EXPECT_EQ(*SplitWords(R"(a "b \x41\n\"" 'c\'d')"),
            (std::vector<std::string>{"a", "b A\n\"", "c'd"}));
  EXPECT_EQ(*SplitWords("save \"\""), (std::vector<std::string>{"save", ""}));
  EXPECT_EQ(SplitWords("a \"b"), std::nullopt);
  EXPECT_EQ(SplitWords("a \"b\"c"), std::nullopt);
  EXPECT_EQ(SplitWords("a 'b"), std::nullopt);
  EXPECT_TRUE(SplitWords("")->empty());
}

TEST(ConfigSyntax, QuotedWordsSurvive) {
  std::string bytes;
  for (int i = 0; i < 256; i++) {
    bytes += static_cast<char>(i);
  }
  EXPECT_EQ(*SplitWords("x " + QuoteWord(bytes)), (std::vector<std::string>{"x", bytes}));
}

TEST(ConfigSyntax, SpacesCutWordsOneByOne) {
  EXPECT_EQ(SplitAtSpaces("a  b"), (std::vector<std::string>{"a", "", "b"}));
  EXPECT_TRUE(SplitAtSpaces("").empty());
  EXPECT_EQ(JoinWords({"", "b"}), " b");
}

TEST(Reference, MatchesDocsConfiguration) {
  const std::string path = FIRN_TEST_DATA "/../../docs/configuration.md";
  if (std::getenv("FIRN_WRITE_REFERENCE") != nullptr) {
    std::ofstream(path) << ReferenceMarkdown();
  }
  EXPECT_EQ(ReadFileText(path), ReferenceMarkdown())
      << "docs/configuration.md is out of date. To write it anew:\n"
         "    build/firn-server --print-configuration-reference > docs/configuration.md";
}

TEST(Reference, InformationIsGivenOnlyWhenAskedFor) {
  const auto ask = [](std::vector<std::string> arguments) { return InformationFor(arguments); };
  EXPECT_EQ(ask({"--version"}), VersionText());
  EXPECT_EQ(ask({"-h"}), HelpText());
  EXPECT_EQ(ask({"--print-configuration-reference"}), ReferenceMarkdown());
  EXPECT_EQ(ask({"--port", "1"}), std::nullopt);
  EXPECT_EQ(ask({}), std::nullopt);
  EXPECT_NE(HelpText().find("--maxdisk (0)"), std::string::npos);
}

}  // namespace
}  // namespace firn::server
