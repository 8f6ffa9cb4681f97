#include "engine/base/glob.h"

#include <gtest/gtest.h>

#include <string>

namespace firn {
namespace {

bool MatchNoCase(std::string_view pattern, std::string_view text) {
  return GlobMatch(pattern, text, GlobCase::kIgnoreAscii);
}

TEST(Glob, PlainTextMatchesItselfOnly) {
  EXPECT_TRUE(GlobMatch("abc", "abc"));
  EXPECT_FALSE(GlobMatch("abc", "abcd"));
  EXPECT_FALSE(GlobMatch("abc", "ab"));
  EXPECT_FALSE(GlobMatch("abc", "aBc"));
}

TEST(Glob, StarTakesAnyBytes) {
  EXPECT_TRUE(GlobMatch("*", "x"));
  EXPECT_TRUE(GlobMatch("a*", "a"));
  EXPECT_TRUE(GlobMatch("*a*", "a"));
  EXPECT_TRUE(GlobMatch("a*c", "abbbc"));
  EXPECT_TRUE(GlobMatch("a**c", "ac"));
  EXPECT_TRUE(GlobMatch("*ab*ab", "abxabxab"));
  EXPECT_FALSE(GlobMatch("a*c", "abbb"));
  EXPECT_TRUE(GlobMatch("h*llo", std::string_view("h\0\xff"
                                                  "llo",
                                                  6)));
}

TEST(Glob, EmptyTextIsMatchedByTheEmptyPatternOnly) {
  EXPECT_TRUE(GlobMatch("", ""));
  EXPECT_FALSE(GlobMatch("*", ""));
  EXPECT_FALSE(GlobMatch("**", ""));
  EXPECT_FALSE(GlobMatch("", "a"));
}

TEST(Glob, QuestionMarkTakesOneByte) {
  EXPECT_TRUE(GlobMatch("h?llo", "hallo"));
  EXPECT_FALSE(GlobMatch("h?llo", "hllo"));
  EXPECT_TRUE(GlobMatch("?*", "x"));
  EXPECT_FALSE(GlobMatch("??", "x"));
}

TEST(Glob, Classes) {
  EXPECT_TRUE(GlobMatch("h[ae]llo", "hello"));
  EXPECT_FALSE(GlobMatch("h[ae]llo", "hillo"));
  EXPECT_TRUE(GlobMatch("h[^e]llo", "hallo"));
  EXPECT_FALSE(GlobMatch("h[^e]llo", "hello"));
  EXPECT_TRUE(GlobMatch("h[a-c]llo", "hbllo"));
  EXPECT_TRUE(GlobMatch("h[c-a]llo", "hbllo"));
  EXPECT_FALSE(GlobMatch("h[a-c]llo", "hdllo"));
  EXPECT_TRUE(GlobMatch("[\\]]", "]"));
  EXPECT_TRUE(GlobMatch("[a\\-z]", "-"));
  EXPECT_FALSE(GlobMatch("[a\\-z]", "b"));
  EXPECT_FALSE(GlobMatch("[]", "a"));
  EXPECT_TRUE(GlobMatch("[^]", "a"));
}

TEST(Glob, MalformedClassesMeanWhatTheyMeanInRedis) {
  EXPECT_TRUE(GlobMatch("[abc", "b"));
  EXPECT_FALSE(GlobMatch("[abc", "d"));
  EXPECT_FALSE(GlobMatch("[", "a"));
  EXPECT_TRUE(GlobMatch("[^", "a"));
  EXPECT_FALSE(GlobMatch("[^", "ab"));
  EXPECT_TRUE(GlobMatch("[a-", "-"));
  EXPECT_TRUE(GlobMatch("[a-]", "^"));  // the range from ']' to 'a', never closed
  EXPECT_FALSE(GlobMatch("[a-]x", "ay"));
  EXPECT_TRUE(GlobMatch("[\\", "\\"));
}

TEST(Glob, RangesOverHighBytesCompareSigned) {
  EXPECT_TRUE(GlobMatch("[\x80-\xff]", "\xc0"));
  EXPECT_FALSE(GlobMatch("[\x80-\xff]", "a"));
  EXPECT_TRUE(GlobMatch("[\xff-a]", "A"));
  EXPECT_FALSE(GlobMatch("[\xff-a]", "b"));
}

TEST(Glob, EscapesMakeBytesPlain) {
  EXPECT_TRUE(GlobMatch("a\\*b", "a*b"));
  EXPECT_FALSE(GlobMatch("a\\*b", "axb"));
  EXPECT_TRUE(GlobMatch("a\\", "a\\"));
  EXPECT_TRUE(GlobMatch("\\a", "a"));
}

TEST(Glob, CaseMayBeIgnored) {
  EXPECT_TRUE(MatchNoCase("MAX*", "maxmemory"));
  EXPECT_TRUE(MatchNoCase("[A-C]x", "bX"));
  EXPECT_TRUE(MatchNoCase("[ABC]x", "bX"));
  EXPECT_FALSE(MatchNoCase("[\\A]", "a"));
  EXPECT_FALSE(GlobMatch("MAX*", "maxmemory"));
}

TEST(Glob, ManyStarsTakeNoExponentialTime) {
  std::string pattern;
  for (int i = 0; i < 1000; i++) {
    pattern += "a*";
  }
  const std::string text(20000, 'a');
  EXPECT_TRUE(GlobMatch(pattern, text));
  EXPECT_FALSE(GlobMatch(pattern + "b", text));
}

TEST(Glob, NoTextGetsPastAThousandStars) {
  std::string pattern;
  for (int i = 0; i < 1000; ++i) pattern += "*?";
  EXPECT_TRUE(GlobMatch(pattern, std::string(5000, 'a')));
  EXPECT_TRUE(GlobMatch(pattern + "*", std::string(5000, 'a')));
  EXPECT_FALSE(GlobMatch(pattern + "*?", std::string(5000, 'a')));
  EXPECT_TRUE(GlobMatch(std::string(5000, '*') + "b", "ab"));
}

TEST(Glob, OnlyStarQuestionMarkAndBracketMakeAPattern) {
  EXPECT_TRUE(IsGlobPattern("max*"));
  EXPECT_TRUE(IsGlobPattern("a[bc]"));
  EXPECT_FALSE(IsGlobPattern("max\\memory"));
}

}  // namespace
}  // namespace firn
