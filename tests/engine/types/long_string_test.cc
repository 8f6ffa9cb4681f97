#include "engine/types/long_string.h"

#include <gtest/gtest.h>

#include "engine/base/random.h"
#include "engine/types/root_format.h"
#include "support/memory_page_space.h"

namespace firn {
namespace {

using test::MemoryPageSpace;

constexpr uint64_t kPage = LongString::kPageBytes;

std::string Noise(uint64_t size, uint64_t seed) {
  Random random(seed + 1);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Below(255) + 1);
  return bytes;
}

class LongStringTest : public ::testing::Test {
 protected:
  void Make(std::string bytes) {
    model_ = std::move(bytes);
    pages_.CreateRoot(LongString::MakeRoot(model_, pages_.NewValueId()));
    for (uint64_t part = 0; part < LongString::PartsOf(model_.size()); ++part) {
      const std::string_view piece = LongString::Part(model_, part);
      if (!LongString::IsZero(piece)) pages_.Create(LongString::PageOf(part), piece);
    }
  }
  void Write(uint64_t offset, const std::string& bytes) {
    test::RunFetching(&pages_, [&] {
      LongString string(&pages_);
      if (!string.Want({offset, offset + bytes.size()})) return false;
      string.Write(offset, bytes);
      return true;
    });
    if (bytes.empty()) return;
    if (model_.size() < offset + bytes.size()) model_.resize(offset + bytes.size());
    model_.replace(offset, bytes.size(), bytes);
  }
  std::string Read(StringRange range) {
    std::string found;
    test::RunFetching(&pages_, [&] {
      LongString string(&pages_);
      if (!string.Want(range)) return false;
      string.Read(range, &found);
      return true;
    });
    return found;
  }
  void CheckAll() {
    ASSERT_EQ(LongString(&pages_).size(), model_.size());
    ASSERT_TRUE(Read({}) == model_);
    const RootView root(pages_.Root());
    EXPECT_EQ(static_cast<uint64_t>(root.word()) + 1, pages_.pages().size());
    for (const auto& [number, bytes] : pages_.pages()) {
      EXPECT_LT(number, root.next_page());
      if (number == kRootPage) continue;
      EXPECT_LE(bytes.size(), kPage);
    }
  }

  MemoryPageSpace pages_;
  std::string model_;
};

TEST_F(LongStringTest, HoldsWhatItWasMadeOf) {
  Make(Noise(10 * kPage + 17, 1));
  CheckAll();
  EXPECT_EQ(Read({3 * kPage - 2, 3 * kPage + 2}), model_.substr(3 * kPage - 2, 4));
  EXPECT_EQ(Read({10 * kPage + 10, 11 * kPage}), model_.substr(10 * kPage + 10));
  EXPECT_EQ(Read({20 * kPage, 30 * kPage}), "");
  EXPECT_EQ(Read({5, 2}), "");
}

TEST_F(LongStringTest, NeedsNoPagesForZeros) {
  Make(std::string(1000 * kPage, '\0'));
  EXPECT_EQ(pages_.pages().size(), 1u);
  Write(500 * kPage + 3, "x");
  EXPECT_EQ(pages_.pages().size(), 2u);
  CheckAll();
  Write(700 * kPage, std::string(3 * kPage, '\0'));
  EXPECT_EQ(pages_.pages().size(), 2u);
  CheckAll();
}

TEST_F(LongStringTest, GrowsFarBehindItsEndWithOnePage) {
  Make(Noise(kPage + 1, 2));
  Write((uint64_t{512} << 20) - 1, "z");
  EXPECT_EQ(pages_.pages().size(), 4u);
  EXPECT_EQ(LongString(&pages_).size(), uint64_t{512} << 20);
  EXPECT_EQ(Read({kPage - 1, kPage + 3}), model_.substr(kPage - 1, 2) + std::string(2, '\0'));
}

TEST_F(LongStringTest, ChangesOnlyThePagesOfWhatIsWritten) {
  Make(Noise(100 * kPage, 3));
  pages_.DemoteAll();
  Write(50 * kPage + 5, "abc");
  EXPECT_EQ(pages_.edits(), 1u);
  EXPECT_EQ(pages_.Peek(LongString::PageOf(49)), "");
  EXPECT_EQ(pages_.Peek(LongString::PageOf(51)), "");
  Write(60 * kPage - 1, "de");
  EXPECT_EQ(pages_.edits(), 3u);
  CheckAll();
}

TEST_F(LongStringTest, AppendsWithinAPageAndBeyond) {
  Make(Noise(2 * kPage + 100, 4));
  for (int i = 0; i < 300; ++i) Write(model_.size(), Noise(static_cast<uint64_t>(i % 90), 5));
  CheckAll();
}

TEST_F(LongStringTest, AnswersAsOneStringDoesUnderRandomChanges) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    pages_.DeleteValue();
    Random random(seed);
    Make(random.Below(2) == 0 ? Noise(random.Below(6 * kPage), seed)
                              : std::string(random.Below(6 * kPage), '\0'));
    for (int i = 0; i < 60; ++i) {
      if (random.Below(4) == 0) pages_.DemoteAll();
      const uint64_t offset = random.Below(model_.size() + (random.Below(8) == 0 ? 4 * kPage : 2));
      const uint64_t size = random.Below(random.Below(4) == 0 ? 3 * kPage : 40);
      Write(offset, random.Below(3) == 0 ? std::string(size, '\0') : Noise(size, random.Next()));
      const uint64_t begin = random.Below(model_.size() + 10);
      const uint64_t end = begin + random.Below(2 * kPage);
      const std::string expected =
          begin < model_.size() ? model_.substr(begin, end - begin) : std::string();
      ASSERT_TRUE(Read({begin, end}) == expected) << "seed " << seed;
    }
    CheckAll();
  }
}

TEST_F(LongStringTest, StopsAtWhatTheVisitorSays) {
  Make(Noise(5 * kPage, 6));
  int visits = 0;
  EXPECT_FALSE(LongString(&pages_).ForEach({}, [&](std::string_view) { return ++visits < 2; }));
  EXPECT_EQ(visits, 2);
}

}  // namespace
}  // namespace firn
