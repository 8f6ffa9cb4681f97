#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "server/command.h"

namespace firn::server {
namespace {

using Args = std::vector<std::string_view>;
using Positions = std::vector<size_t>;

// The positions of the keys; {0} if the arguments don't fit.
Positions Find(std::span<const KeySpec> specs, const Args& args) {
  Command command{.name = "test", .arity = -1, .flags = 0, .acl_categories = 0, .key_specs = specs};
  std::vector<FoundKey> found;
  if (!FindKeys(command, args, &found)) return {0};
  Positions positions;
  for (const FoundKey& key : found) positions.push_back(key.argument);
  return positions;
}

TEST(FindKeysTest, OneKey) {
  const KeySpec specs[] = {{}};
  EXPECT_EQ(Find(specs, {"get", "k"}), Positions({1}));
  EXPECT_EQ(Find(specs, {"get"}), Positions());
}

TEST(FindKeysTest, AllArguments) {
  const KeySpec specs[] = {{.last = -1}};
  EXPECT_EQ(Find(specs, {"mget", "a", "b", "c"}), Positions({1, 2, 3}));
}

TEST(FindKeysTest, EverySecondArgument) {
  const KeySpec specs[] = {{.last = -1, .step = 2}};
  EXPECT_EQ(Find(specs, {"mset", "a", "1", "b", "2"}), Positions({1, 3}));
}

TEST(FindKeysTest, AllButTheLast) {
  const KeySpec specs[] = {{.last = -2}};
  EXPECT_EQ(Find(specs, {"blpop", "a", "b", "0"}), Positions({1, 2}));
}

TEST(FindKeysTest, SeveralSpecsInTheirOrder) {
  // As BITOP: the destination, then the sources.
  const KeySpec specs[] = {{.begin_index = 2}, {.begin_index = 3, .last = -1}};
  EXPECT_EQ(Find(specs, {"bitop", "and", "to", "a", "b"}), Positions({2, 3, 4}));
}

TEST(FindKeysTest, ACountBeforeTheKeys) {
  // As EVAL script numkeys key ... arg ...
  const KeySpec specs[] = {{.begin_index = 2, .find = KeySpec::Find::kKeynum}};
  EXPECT_EQ(Find(specs, {"eval", "s", "2", "a", "b", "x"}), Positions({3, 4}));
  EXPECT_EQ(Find(specs, {"eval", "s", "0", "x"}), Positions());
  for (std::string_view bad :
       {"3", "-1", "x", "", "1x", "99999999999999999999", "9223372036854775807"}) {
    EXPECT_EQ(Find(specs, {"eval", "s", bad, "a", "b"}), Positions({0})) << bad;
  }
}

TEST(FindKeysTest, ADestinationAndACount) {
  // As ZUNIONSTORE destination numkeys key ...
  const KeySpec specs[] = {{}, {.begin_index = 2, .find = KeySpec::Find::kKeynum}};
  EXPECT_EQ(Find(specs, {"zunionstore", "to", "2", "a", "b", "weights", "1", "2"}),
            Positions({1, 3, 4}));
}

TEST(FindKeysTest, AKeyword) {
  // As GEORADIUS ... STORE key
  const KeySpec specs[] = {
      {}, {.begin = KeySpec::Begin::kKeyword, .begin_index = 6, .keyword = "STORE"}};
  const Args args{"georadius", "k", "1", "2", "3", "km", "asc", "store", "to"};
  EXPECT_EQ(Find(specs, args), Positions({1, 8}));
  EXPECT_EQ(Find(specs, {"georadius", "k", "1", "2", "3", "km"}), Positions({1}));
  EXPECT_EQ(Find(specs, {"georadius", "k", "1", "2", "3", "km", "store"}), Positions({1}));
}

TEST(FindKeysTest, AKeywordFromTheEnd) {
  // As MIGRATE host port "" db timeout KEYS key ...
  const KeySpec specs[] = {
      {.begin = KeySpec::Begin::kKeyword, .begin_index = -2, .keyword = "KEYS", .last = -1}};
  EXPECT_EQ(Find(specs, {"migrate", "h", "1", "", "0", "9", "copy", "keys", "a", "b"}),
            Positions({8, 9}));
}

TEST(FindKeysTest, HalfOfTheRestAfterAKeyword) {
  // As XREAD STREAMS key ... id ...
  const KeySpec specs[] = {{.begin = KeySpec::Begin::kKeyword,
                            .begin_index = 1,
                            .keyword = "STREAMS",
                            .last = -1,
                            .limit = 2}};
  EXPECT_EQ(Find(specs, {"xread", "count", "2", "streams", "a", "b", "0", "0"}), Positions({4, 5}));
}

TEST(FindKeysTest, WhatTheSpecsCannotSayIsNotFound) {
  // As SORT: the keys of BY, GET and STORE are known to the command alone.
  const KeySpec specs[] = {{},
                           {.begin = KeySpec::Begin::kUnknown, .find = KeySpec::Find::kUnknown}};
  EXPECT_EQ(Find(specs, {"sort", "k", "by", "x*"}), Positions({1}));
}

TEST(CommandTableTest, EveryRowIsFoundByItsNameInAnyCase) {
  CommandTable table;
  EXPECT_GE(table.all().size(), 70u);
  std::vector<bool> seen(table.count());
  for (const Command* command : table.all()) {
    std::string upper(command->name);
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    EXPECT_EQ(table.Find(command->name), command);
    EXPECT_EQ(table.Find(upper), command);
    EXPECT_EQ(table.FullName(*command), command->name);
    EXPECT_FALSE(seen[table.IndexOf(*command)]);
    seen[table.IndexOf(*command)] = true;
    for (const Command& sub : command->subcommands) {
      EXPECT_EQ(table.FindSub(*command, sub.name), &sub);
      EXPECT_EQ(table.FullName(sub), std::string(command->name) + "|" + std::string(sub.name));
      EXPECT_FALSE(seen[table.IndexOf(sub)]);
      seen[table.IndexOf(sub)] = true;
    }
  }
}

TEST(CommandTableTest, OtherNamesAreNotFound) {
  CommandTable table;
  for (std::string_view name : {"", "g", "ge", "gett", "g@t", "get ", "GE\x14", "[get",
                                "averyverylongnamethatisnocommandofanykindwhatsoever"}) {
    EXPECT_EQ(table.Find(name), nullptr) << name;
  }
  EXPECT_EQ(table.FindSub(*table.Find("config"), "gets"), nullptr);
}

TEST(CommandTableTest, RowsAreComplete) {
  CommandTable table;
  auto check = [](const Command& row, std::string_view name) {
    EXPECT_NE(row.arity, 0) << name;
    EXPECT_FALSE(row.group.empty()) << name;
    EXPECT_FALSE(row.since.empty()) << name;
    EXPECT_FALSE(row.summary.empty()) << name;
    EXPECT_FALSE((row.flags & kWrite) != 0 && (row.flags & kReadonly) != 0) << name;
    for (const CommandArgument& argument : row.arguments) {
      if (argument.type == CommandArgument::Type::kKey) {
        EXPECT_LT(argument.key_spec_index, static_cast<int>(row.key_specs.size())) << name;
      }
    }
  };
  for (const Command* command : table.all()) {
    check(*command, command->name);
    for (const Command& sub : command->subcommands) check(sub, table.FullName(sub));
  }
}

}  // namespace
}  // namespace firn::server
