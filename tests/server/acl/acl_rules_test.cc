// What rules make of a user, how it is described again, and what it may then run.
#include "server/acl/acl_rules.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "server/acl/acl.h"

namespace firn::server {
namespace {

class AclRulesTest : public testing::Test {
 protected:
  AclUser Make(std::vector<std::string> words) {
    AclUser user = rules_.NewUser("bob");
    EXPECT_TRUE(rules_.ApplyAll(&user, words).ok()) << words[0];
    return user;
  }

  std::string ErrorOf(std::vector<std::string> words) {
    AclUser user = rules_.NewUser("bob");
    const std::string before = DescribeUser(user);
    Status status = rules_.ApplyAll(&user, words);
    EXPECT_EQ(before, DescribeUser(user)) << "a failure changes nothing";
    return status.message();
  }

  AclResult Check(const AclUser& user, std::vector<std::string_view> args) {
    const Command* command = table_.Find(args[0]);
    if (!command->subcommands.empty()) command = table_.FindSub(*command, args[1]);
    return AclCheck(user, *command, args);
  }

  bool May(const AclUser& user, std::vector<std::string_view> args) {
    return Check(user, std::move(args)).ok();
  }

  CommandTable table_;
  AclRules rules_{table_, {.all_channels = false}};
};

TEST_F(AclRulesTest, ANewUserMayNothing) {
  const AclUser user = rules_.NewUser("bob");
  EXPECT_EQ("off sanitize-payload resetchannels -@all", DescribeUser(user));
  EXPECT_FALSE(user.allows_everything());
  EXPECT_FALSE(May(user, {"ping"}));
}

TEST_F(AclRulesTest, CommandsOfLogInNeedNoRight) {
  EXPECT_TRUE(May(rules_.NewUser("bob"), {"auth", "a", "b"}));
}

TEST_F(AclRulesTest, TheDefaultUserMayEverything) {
  const AclUser user = rules_.DefaultUser();
  EXPECT_EQ("on nopass sanitize-payload ~* &* +@all", DescribeUser(user));
  EXPECT_TRUE(user.allows_everything());
}

TEST_F(AclRulesTest, ADescriptionMakesTheSameUserAgain) {
  const AclUser user = Make({"on", ">a", ">b", "~x*", "%R~y", "%W~z", "&c*", "+@all", "-@dangerous",
                             "+config|get", "+select|0", "-get", "(%RW~q +set)", "()"});
  AclUser again = rules_.NewUser("bob");
  std::vector<std::string> words;
  std::string description = DescribeUser(user);
  for (size_t at = 0; at != std::string::npos;) {
    const size_t end = description.find(' ', at);
    words.push_back(description.substr(at, end == std::string::npos ? end : end - at));
    at = end == std::string::npos ? end : end + 1;
  }
  ASSERT_TRUE(rules_.ApplyAll(&again, words).ok());
  EXPECT_EQ(user.passwords, again.passwords);
  EXPECT_EQ(user.selectors, again.selectors);
  EXPECT_EQ(description, DescribeUser(again));
}

TEST_F(AclRulesTest, RulesOfACommandReplaceThoseBefore) {
  EXPECT_EQ("-@all +get", DescribeCommands(Make({"-get", "+get", "-get", "+get"}).selectors[0]));
  EXPECT_EQ("-@all +config",
            DescribeCommands(Make({"+config|get", "-config|set", "+config"}).selectors[0]));
  EXPECT_EQ("+@all -config|set", DescribeCommands(Make({"+@all", "-config|set"}).selectors[0]));
  EXPECT_EQ("-@all", DescribeCommands(Make({"+get", "+@all", "-@all"}).selectors[0]));
}

TEST_F(AclRulesTest, CategoriesHoldSubcommands) {
  const AclUser user = Make({"+@all", "-@admin"});
  EXPECT_FALSE(May(user, {"config", "get", "x"}));
  EXPECT_FALSE(May(user, {"shutdown"}));
  EXPECT_TRUE(May(user, {"acl", "whoami"}));
}

TEST_F(AclRulesTest, ASubcommandCanBeAllowedAlone) {
  const AclUser user = Make({"+config|get"});
  EXPECT_TRUE(May(user, {"config", "get", "x"}));
  EXPECT_FALSE(May(user, {"config", "set", "x", "1"}));
  const AclUser all_but = Make({"+@all", "-config|set"});
  EXPECT_TRUE(May(all_but, {"config", "get", "x"}));
  EXPECT_FALSE(May(all_but, {"config", "set", "x", "1"}));
  EXPECT_FALSE(all_but.allows_everything());
}

TEST_F(AclRulesTest, AFirstArgumentCanBeAllowedAlone) {
  const AclUser user = Make({"+select|0"});
  EXPECT_TRUE(May(user, {"select", "0"}));
  EXPECT_FALSE(May(user, {"select", "1"}));
}

TEST_F(AclRulesTest, KeysAreCheckedByWhatTheCommandDoesWithThem) {
  const AclUser user = Make({"+@all", "%R~in*", "%W~out*"});
  EXPECT_TRUE(May(user, {"get", "in1"}));
  EXPECT_FALSE(May(user, {"get", "out1"}));
  EXPECT_TRUE(May(user, {"copy", "in1", "out1"}));
  EXPECT_FALSE(May(user, {"copy", "out1", "in1"}));
  EXPECT_TRUE(May(user, {"set", "out1", "v"}));
  EXPECT_FALSE(May(user, {"set", "out1", "v", "get"})) << "it answers what was there";
  EXPECT_TRUE(May(user, {"exists", "in1", "out1"})) << "which reads no value";
  const AclResult result = Check(user, {"mget", "in1", "zz"});
  EXPECT_EQ(AclDenial::kKey, result.denial);
  EXPECT_EQ(2u, result.argument);
}

TEST_F(AclRulesTest, RightsOfSelectorsDontAddUp) {
  const AclUser user = Make({"(+get ~a*)", "(+set ~b*)"});
  EXPECT_TRUE(May(user, {"get", "a"}));
  EXPECT_TRUE(May(user, {"set", "b", "v"}));
  EXPECT_FALSE(May(user, {"get", "b"}));
  EXPECT_EQ(AclDenial::kCommand, Check(user, {"del", "a"}).denial);
  EXPECT_EQ(AclDenial::kKey, Check(user, {"get", "b"}).denial);
}

TEST_F(AclRulesTest, UnnamedKeysNeedAllOfThem) {
  const std::vector<std::string_view> args = {"sort", "x", "by", "w_*"};
  const Command& sort = *table_.Find("sort");
  EXPECT_FALSE(AclCheckWithEveryKey(Make({"+@all", "~x"}), sort, args, kAclReadKeys));
  EXPECT_FALSE(AclCheckWithEveryKey(Make({"+@all", "%W~*", "~x"}), sort, args, kAclReadKeys));
  EXPECT_TRUE(AclCheckWithEveryKey(Make({"+@all", "%R~*", "~x"}), sort, args, kAclReadKeys));
  EXPECT_TRUE(AclCheckWithEveryKey(Make({"+@all", "allkeys"}), sort, args, kAclReadKeys));
}

TEST_F(AclRulesTest, PasswordsAreKeptAsHashes) {
  AclUser user = Make({">secret", "nopass", ">other", ">secret", "<other"});
  EXPECT_FALSE(user.no_password);
  EXPECT_EQ(std::vector<std::string>{HashPassword("secret")}, user.passwords);
  EXPECT_TRUE(user.HasPassword("secret"));
  EXPECT_FALSE(user.HasPassword("other"));
  EXPECT_EQ("2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b",
            HashPassword("secret"));
}

TEST_F(AclRulesTest, WrongRulesAreNamedWithTheReason) {
  const std::string prefix = "Error in ACL SETUSER modifier '";
  EXPECT_EQ(prefix + "+nosuch': Unknown command or category name in ACL", ErrorOf({"+nosuch"}));
  EXPECT_EQ(prefix + "+@nosuch': Unknown command or category name in ACL", ErrorOf({"+@nosuch"}));
  EXPECT_EQ(prefix + "+config|get|x': Allowing first-arg of a subcommand is not supported",
            ErrorOf({"+config|get|x"}));
  for (const char* rule : {"%~", "%", "%R", "%RR~a", "%X~a", "~a b", "&a b", "on off", ")", "+get|",
                           "(on)", "(+get (x))"}) {
    EXPECT_NE(std::string::npos, ErrorOf({"on", rule}).find("Syntax error")) << rule;
  }
  EXPECT_NE(std::string::npos, ErrorOf({"allkeys", "~a"}).find("Try 'resetkeys'"));
  EXPECT_NE(std::string::npos, ErrorOf({"&*", "&a"}).find("Try 'resetchannels'"));
  EXPECT_NE(std::string::npos, ErrorOf({"#abc"}).find("exactly 64 characters"));
  EXPECT_NE(std::string::npos, ErrorOf({"<abc"}).find("does not exist"));
  EXPECT_EQ("Unmatched parenthesis in acl selector starting at '(a'.", ErrorOf({"(a", "b"}));
}

TEST_F(AclRulesTest, HostileRulesAreRefusedOrHarmless) {
  for (const std::string& rule :
       {std::string("+"), std::string("-"), std::string("+@"), std::string("|"), std::string("+|"),
        std::string("("), std::string("()"), std::string("%"), std::string("\0", 1),
        std::string("~\0", 2), std::string("+get\0x", 6), std::string(100000, '('),
        "+" + std::string(100000, 'a'), "(" + std::string(10000, '"') + ")"}) {
    AclUser user = rules_.NewUser("bob");
    Status status = rules_.ApplyAll(&user, std::vector<std::string>{rule});
    EXPECT_FALSE(user.allows_everything());
  }
}

TEST_F(AclRulesTest, WordsOfASelectorAreJoined) {
  const auto merged =
      MergeSelectorWords(std::vector<std::string>{"on", "(+get", "~a", ")", "(~b)", "off"});
  ASSERT_TRUE(merged.has_value());
  EXPECT_EQ((std::vector<std::string>{"on", "(+get ~a )", "(~b)", "off"}), *merged);
}

TEST_F(AclRulesTest, ChannelsMatchAndPatternsAreLiteral) {
  const AclUser user = Make({"+@all", "&news.*"});
  EXPECT_TRUE(user.AllowsChannel("news.x", AclSelector::Channel::kLiteral));
  EXPECT_FALSE(user.AllowsChannel("news.x", AclSelector::Channel::kPattern));
  EXPECT_TRUE(user.AllowsChannel("news.*", AclSelector::Channel::kPattern));
}

TEST_F(AclRulesTest, RenamedCommandsKeepTheirNameInRules) {
  ASSERT_TRUE(table_.Rename("get", "fetchit").ok());
  EXPECT_EQ(nullptr, table_.Find("get"));
  ASSERT_NE(nullptr, table_.Find("FetchIt"));
  EXPECT_EQ("-@all +get", DescribeCommands(Make({"+get"}).selectors[0]));
  EXPECT_FALSE(table_.Rename("get", "").ok());
  EXPECT_FALSE(table_.Rename("set", "del").ok());
  ASSERT_TRUE(table_.Rename("set", "").ok());
  EXPECT_EQ(nullptr, table_.Find("set"));
  EXPECT_NE(nullptr, table_.FindOriginal("set"));
  EXPECT_NE(nullptr, table_.Find("del"));
}

TEST(AclLogTest, WhatRepeatsIsOneEntry) {
  AclLog log;
  const AclLog::Entry entry{.reason = AclDenial::kKey, .object = "k", .user = "bob"};
  log.Add(entry, 1000, 10);
  log.Add(entry, 50'000, 10);
  ASSERT_EQ(1u, log.entries().size());
  EXPECT_EQ(2u, log.entries()[0].count);
  EXPECT_EQ(1000, log.entries()[0].created_ms);
  EXPECT_EQ(50'000, log.entries()[0].updated_ms);
  log.Add(entry, 200'000, 10);
  EXPECT_EQ(2u, log.entries().size());
  EXPECT_EQ(1u, log.entries()[0].id);
  EXPECT_EQ(3u, log.counters().key);
}

TEST(AclLogTest, KeepsTheNewestUpToItsLimit) {
  AclLog log;
  for (int i = 0; i < 20; ++i) {
    log.Add({.reason = AclDenial::kAuth, .object = std::to_string(i)}, 1000, 3);
  }
  ASSERT_EQ(3u, log.entries().size());
  EXPECT_EQ("19", log.entries()[0].object);
  log.Add({.reason = AclDenial::kAuth, .object = "x"}, 1000, 0);
  EXPECT_TRUE(log.entries().empty());
}

}  // namespace
}  // namespace firn::server
