#include "engine/types/string_ops.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "engine/base/random.h"

namespace firn {
namespace {

using std::string_view_literals::operator""sv;

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(ParseIntegerTest, AcceptsTheTextsThatIntegersPrintAs) {
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<int64_t>(random.Next()) >> random.Below(64);
    const std::string text = std::to_string(value);
    int64_t parsed;
    ASSERT_TRUE(ParseInteger(text, &parsed));
    ASSERT_EQ(parsed, value);
    ASSERT_EQ(FormatInteger(value), text);
  }
  for (int64_t value : {int64_t{0}, int64_t{-1}, kMin, kMax}) {
    int64_t parsed;
    ASSERT_TRUE(ParseInteger(std::to_string(value), &parsed));
    ASSERT_EQ(parsed, value);
    ASSERT_EQ(FormatInteger(value), std::to_string(value));
  }
}

TEST(ParseIntegerTest, RefusesEverythingElse) {
  for (std::string_view text : {""sv,
                                " "sv,
                                "-"sv,
                                "+1"sv,
                                " 1"sv,
                                "1 "sv,
                                "01"sv,
                                "-0"sv,
                                "-01"sv,
                                "00"sv,
                                "1a"sv,
                                "a"sv,
                                "0x1"sv,
                                "1.0"sv,
                                "1\0"sv,
                                "--1"sv,
                                "9223372036854775808"sv,
                                "-9223372036854775809"sv,
                                "9999999999999999999"sv,
                                "18446744073709551616"sv,
                                "-18446744073709551615"sv,
                                "100000000000000000000"sv,
                                "\xb1"sv}) {
    EXPECT_FALSE(IsInteger(text)) << text;
  }
}

TEST(LongDoubleTest, ParsesWhatStrtoldDoesButForSpacesAndNan) {
  long double value;
  for (auto [text, expected] : {std::pair("0"sv, 0.0L),
                                {"3.5"sv, 3.5L},
                                {"-.5"sv, -.5L},
                                {"1e3"sv, 1000.0L},
                                {"0x10"sv, 16.0L},
                                {"+2"sv, 2.0L},
                                {"5."sv, 5.0L},
                                {"1e4000"sv, 1e4000L}}) {
    ASSERT_TRUE(ParseLongDouble(text, &value)) << text;
    EXPECT_EQ(value, expected) << text;
  }
  ASSERT_TRUE(ParseLongDouble("-inf", &value));
  EXPECT_TRUE(std::isinf(value));
  for (std::string_view text : {""sv, " 1"sv, "1 "sv, "\t1"sv, "abc"sv, "1\0"sv, "1\0002"sv,
                                "nan"sv, "1e5000"sv, "-1e5000"sv, "1e-5000"sv, "."sv, "1,5"sv}) {
    EXPECT_FALSE(ParseLongDouble(text, &value)) << text;
  }
  EXPECT_TRUE(ParseLongDouble(std::string(5'119, '0'), &value));
  EXPECT_FALSE(ParseLongDouble(std::string(5'120, '0'), &value));
}

TEST(LongDoubleTest, PrintsWithoutExponentAndTrailingZeros) {
  EXPECT_EQ(FormatLongDouble(0), "0");
  EXPECT_EQ(FormatLongDouble(-0.0L), "0");
  EXPECT_EQ(FormatLongDouble(3), "3");
  EXPECT_EQ(FormatLongDouble(100), "100");
  EXPECT_EQ(FormatLongDouble(10.5L), "10.5");
  EXPECT_EQ(FormatLongDouble(-1.25L), "-1.25");
  EXPECT_EQ(FormatLongDouble(0.1L), "0.1");
  EXPECT_EQ(FormatLongDouble(10.5L + 0.1L), "10.6");
  EXPECT_EQ(FormatLongDouble(1e-18L), "0");
  EXPECT_EQ(FormatLongDouble(-1e-18L), "0");
  EXPECT_EQ(FormatLongDouble(5e3L + 2e2L), "5200");
  EXPECT_EQ(FormatLongDouble(1e25L).size(), 26u);
  EXPECT_EQ(FormatLongDouble(std::numeric_limits<long double>::max()).size(), 4933u);
  EXPECT_EQ(FormatLongDouble(-std::numeric_limits<long double>::infinity()), "-inf");
}

TEST(DoubleTest, ParsesAsStrtod) {
  double value;
  ASSERT_TRUE(ParseDouble("1.5e-3", &value));
  EXPECT_EQ(value, 1.5e-3);
  ASSERT_TRUE(ParseDouble("inf", &value));
  EXPECT_TRUE(std::isinf(value));
  ASSERT_TRUE(ParseDouble("4.9e-324", &value));
  EXPECT_GT(value, 0);
  for (std::string_view text : {""sv, " 1"sv, "1 "sv, "nan"sv, "1e400"sv, "1e-400"sv, "1\0"sv}) {
    EXPECT_FALSE(ParseDouble(text, &value)) << text;
  }
}

TEST(DoubleTest, PrintsInTheFormsOfRedis) {
  EXPECT_EQ(FormatDouble(0), "0");
  EXPECT_EQ(FormatDouble(-0.0), "-0");
  EXPECT_EQ(FormatDouble(3), "3");
  EXPECT_EQ(FormatDouble(-17), "-17");
  EXPECT_EQ(FormatDouble(0.1), "0.1");
  EXPECT_EQ(FormatDouble(3.5), "3.5");
  EXPECT_EQ(FormatDouble(-1234.5678), "-1234.5678");
  EXPECT_EQ(FormatDouble(1e18), "1000000000000000000");
  EXPECT_EQ(FormatDouble(5e18), "5e+18");
  EXPECT_EQ(FormatDouble(1.2345678e21), "1.2345678e+21");
  EXPECT_EQ(FormatDouble(1.23456789012345e+21), "1234567890123450000000");
  EXPECT_EQ(FormatDouble(1e21), "1e+21");
  EXPECT_EQ(FormatDouble(1e-6), "0.000001");
  EXPECT_EQ(FormatDouble(1e-7), "1e-7");
  EXPECT_EQ(FormatDouble(1.5e-7), "1.5e-7");
  EXPECT_EQ(FormatDouble(1e-100), "1e-100");
  EXPECT_EQ(FormatDouble(0.00012345678), "1.2345678e-4");
  EXPECT_EQ(FormatDouble(0.0012345678), "0.0012345678");
  EXPECT_EQ(FormatDouble(1.7976931348623157e308), "1.7976931348623157e+308");
  EXPECT_EQ(FormatDouble(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(FormatDouble(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(FormatDouble(std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(DoubleTest, WhatIsPrintedReadsBackAsTheSameNumber) {
  Random random(2);
  for (int i = 0; i < 50'000; ++i) {
    double number = std::bit_cast<double>(random.Next());
    if (i % 2 == 0) number = random.Fraction() * std::pow(10, random.Below(30));
    if (!std::isfinite(number)) continue;
    double parsed;
    ASSERT_TRUE(ParseDouble(FormatDouble(number), &parsed)) << number;
    ASSERT_EQ(parsed, number);
  }
}

TEST(ClampRangeTest, FollowsGetrange) {
  auto part = [](std::string_view text, IndexRange range) {
    ByteRange bytes = ClampRange(text.size(), range);
    return std::string(text.substr(bytes.begin, bytes.size));
  };
  EXPECT_EQ(part("hello", {0, -1}), "hello");
  EXPECT_EQ(part("hello", {0, 0}), "h");
  EXPECT_EQ(part("hello", {-3, -2}), "ll");
  EXPECT_EQ(part("hello", {-100, 1}), "he");
  EXPECT_EQ(part("hello", {3, 100}), "lo");
  EXPECT_EQ(part("hello", {5, 10}), "");
  EXPECT_EQ(part("hello", {3, 1}), "");
  EXPECT_EQ(part("hello", {-1, -2}), "");
  // Both before the beginning, in order: clamped to the first byte.
  EXPECT_EQ(part("hello", {-100, -100}), "h");
  EXPECT_EQ(part("hello", {-100, -99}), "h");
  EXPECT_EQ(part("", {0, -1}), "");
  EXPECT_EQ(part("hello", {kMin, kMax}), "hello");
  EXPECT_EQ(part("hello", {kMax, kMin}), "");
}

uint64_t SlowLcs(std::string_view a, std::string_view b) {
  std::vector<std::vector<uint64_t>> table(a.size() + 1, std::vector<uint64_t>(b.size() + 1));
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      table[i][j] = a[i - 1] == b[j - 1] ? table[i - 1][j - 1] + 1
                                         : std::max(table[i - 1][j], table[i][j - 1]);
    }
  }
  return table[a.size()][b.size()];
}

bool IsSubsequence(std::string_view part, std::string_view text) {
  size_t at = 0;
  for (char c : text) {
    if (at < part.size() && part[at] == c) ++at;
  }
  return at == part.size();
}

TEST(LcsTest, FindsWhatRedisDocuments) {
  const LcsInput input = {.a = "ohmytext", .b = "mynewtext"};
  EXPECT_EQ(LongestCommonSubsequence(input, LcsWanted::kLength).length, 6u);
  EXPECT_EQ(LongestCommonSubsequence(input, LcsWanted::kSequence).common, "mytext");
  LcsResult result = LongestCommonSubsequence(input, LcsWanted::kMatches);
  ASSERT_EQ(result.matches.size(), 2u);
  EXPECT_EQ(result.length, 6u);
  EXPECT_EQ(result.matches[0].a_first, 4u);
  EXPECT_EQ(result.matches[0].a_last, 7u);
  EXPECT_EQ(result.matches[0].b_first, 5u);
  EXPECT_EQ(result.matches[0].b_last, 8u);
  EXPECT_EQ(result.matches[0].length(), 4u);
  EXPECT_EQ(result.matches[1].a_first, 2u);
  EXPECT_EQ(result.matches[1].b_last, 1u);
  EXPECT_EQ(LongestCommonSubsequence(input, LcsWanted::kMatches, 4).matches.size(), 1u);
  EXPECT_EQ(LongestCommonSubsequence(input, LcsWanted::kMatches, 5).matches.size(), 0u);
}

TEST(LcsTest, EmptyAndEqualStrings) {
  EXPECT_EQ(LongestCommonSubsequence({"", "abc"}, LcsWanted::kSequence).common, "");
  EXPECT_EQ(LongestCommonSubsequence({"abc", ""}, LcsWanted::kMatches).matches.size(), 0u);
  LcsResult same = LongestCommonSubsequence({"abc", "abc"}, LcsWanted::kMatches);
  ASSERT_EQ(same.matches.size(), 1u);
  EXPECT_EQ(same.matches[0].length(), 3u);
}

TEST(LcsTest, AgreesWithTheFullTableOnRandomStrings) {
  Random random(3);
  for (int round = 0; round < 300; ++round) {
    std::string a(random.Below(60), '\0');
    std::string b(random.Below(60), '\0');
    const uint64_t letters = 1 + random.Below(5);
    for (char& c : a) c = static_cast<char>('a' + random.Below(letters));
    for (char& c : b) c = static_cast<char>('a' + random.Below(letters));
    LcsResult result = LongestCommonSubsequence({a, b}, LcsWanted::kSequence);
    ASSERT_EQ(result.length, SlowLcs(a, b));
    ASSERT_EQ(result.common.size(), result.length);
    ASSERT_TRUE(IsSubsequence(result.common, a) && IsSubsequence(result.common, b));
    result = LongestCommonSubsequence({a, b}, LcsWanted::kMatches);
    uint64_t sum = 0;
    for (const LcsMatch& match : result.matches) {
      sum += match.length();
      ASSERT_EQ(a.substr(match.a_first, match.length()), b.substr(match.b_first, match.length()));
    }
    ASSERT_EQ(sum, result.length);
  }
}

TEST(LcsTest, TableBytesAreThoseOfRedis) {
  EXPECT_EQ(LcsTableBytes({"abc", "de"}), 48u);
  EXPECT_TRUE(LcsAccepts({"abc", "de"}));
  const std::string_view endless("", std::numeric_limits<uint32_t>::max() - 1ull);
  EXPECT_FALSE(LcsAccepts({endless, "a"}));
  EXPECT_FALSE(LcsAccepts({"a", endless}));
  const std::string_view huge = endless.substr(1);
  EXPECT_EQ(LcsTableBytes({huge, huge}), ~uint64_t{0});
}

}  // namespace
}  // namespace firn
