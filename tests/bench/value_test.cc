#include "bench/firn_bench/value.h"

#include <gtest/gtest.h>

#include "bench/firn_bench/mix.h"
#include "bench/firn_bench/options.h"
#include "bench/firn_bench/reply.h"
#include "engine/base/random.h"

namespace firn::bench {
namespace {

std::string Value(const ValueTag& tag, size_t size) {
  std::string value(size, '\0');
  FillValue(tag, value.data(), size);
  return value;
}

ValueVerdict Verdict(uint64_t key, uint32_t version, const std::string& value) {
  std::string scratch;
  return CheckValue(key, {{version, version}}, value, scratch).verdict;
}

TEST(Mix, UnmixIsItsInverse) {
  Random random(1);
  for (int i = 0; i < 1000; ++i) {
    uint64_t word = random.Next();
    ASSERT_EQ(Unmix(Mix(word)), word);
  }
}

TEST(Value, IsRightAtEveryLength) {
  for (size_t size = 0; size < 200; ++size) {
    for (uint32_t percent : {0, 50, 100}) {
      ValueTag tag = {.key = 77, .version = 3, .compressible_percent = percent};
      EXPECT_EQ(Verdict(77, 3, Value(tag, size)), ValueVerdict::kRight) << size;
    }
  }
}

TEST(Value, TellsForeignStaleAndDamagedApart) {
  std::string value = Value({.key = 5, .version = 2}, 100);
  EXPECT_EQ(Verdict(6, 2, value), ValueVerdict::kForeign);
  EXPECT_EQ(Verdict(5, 1, value), ValueVerdict::kStale);
  EXPECT_EQ(Verdict(5, 2, value.substr(0, 99)), ValueVerdict::kDamaged);
  EXPECT_EQ(Verdict(5, 2, value + "x"), ValueVerdict::kDamaged);
  EXPECT_EQ(Verdict(5, 2, std::string(100, '\0')), ValueVerdict::kDamaged);
}

TEST(Value, EveryChangedBitIsSeen) {
  for (size_t size : {6, 8, 12, 16, 17, 64, 130}) {
    std::string value = Value({.key = 5, .version = 2}, size);
    for (size_t bit = 0; bit < size * 8; ++bit) {
      std::string changed = value;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      ASSERT_NE(Verdict(5, 2, changed), ValueVerdict::kRight) << size << " " << bit;
    }
  }
}

TEST(ValueSizes, StayInTheirRangesAndUseAll) {
  ValueSizes sizes{.choices = {{16, 16}, {100, 200}}};
  int small = 0;
  for (uint64_t key = 0; key < 10'000; ++key) {
    size_t size = sizes.SizeOf(key, 1);
    ASSERT_TRUE(size == 16 || (size >= 100 && size <= 200));
    small += size == 16;
  }
  EXPECT_NEAR(small, 5000, 300);
  EXPECT_EQ(sizes.Largest(), 200u);
}

TEST(Options, RefuseWhatTheyDoNotKnow) {
  EXPECT_FALSE(ParseOptions({"--clientz", "5"}).has_value());
  EXPECT_FALSE(ParseOptions({"--clients"}).has_value());
  EXPECT_FALSE(ParseOptions({"--clients", "5x"}).has_value());
  EXPECT_FALSE(ParseOptions({"--mix", "get=1,nothing=2"}).has_value());
  EXPECT_FALSE(ParseOptions({"--expect", "0-4"}).has_value());
  EXPECT_FALSE(ParseOptions({"--classes", "2", "--only", "1-2"}).has_value());
}

TEST(Options, ExpectationsByClass) {
  auto options = ParseOptions({"--classes", "10", "--expect", "0-4=2,5-8=1+3,9=missing"});
  ASSERT_TRUE(options.has_value()) << options.error();
  ASSERT_EQ(options->expectations.size(), 3u);
  EXPECT_EQ(options->expectations[1].versions.size(), 2u);
  EXPECT_FALSE(options->expectations[1].may_be_missing);
  EXPECT_TRUE(options->expectations[2].may_be_missing);
  EXPECT_TRUE(options->expectations[2].versions.empty());
}

TEST(Reply, EveryPrefixIsIncomplete) {
  std::string text = "*3\r\n$3\r\nabc\r\n*2\r\n:12\r\n+OK\r\n$-1\r\n";
  Reply reply;
  for (size_t size = 0; size < text.size(); ++size) {
    ASSERT_EQ(ParseReply(text.substr(0, size), &reply).state, ParseState::kIncomplete) << size;
  }
  EXPECT_EQ(ParseReply(text + "+more", &reply).bytes, text.size());
  EXPECT_EQ(reply.kind, ReplyKind::kArray);
  EXPECT_EQ(reply.integer, 3);
}

TEST(Reply, GarbageIsRefused) {
  Reply reply;
  for (const char* text : {"hello\r\n", "$x\r\n", "$3\r\nabcde\r\n", "*-5\r\n", ":1\n"}) {
    EXPECT_EQ(ParseReply(text, &reply).state, ParseState::kGarbage) << text;
  }
}

}  // namespace
}  // namespace firn::bench
