// Who consumes a long list or stream that is on disk seldom waits for it.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/types/list_value.h"
#include "engine/types/stream_value.h"
#include "tests/tiering/store/collection_fixture.h"

namespace firn {
namespace {

class ReadAheadTest : public test::CollectionTest {
 protected:
  static constexpr int kElements = 20'000;

  static std::string Element(int i) { return "element-" + std::to_string(100'000 + i); }

  void FillList() {
    for (int i = 0; i < kElements; i += 100) {
      std::vector<std::string> texts;
      for (int k = i; k < i + 100; ++k) texts.push_back(Element(k));
      const std::vector<std::string_view> elements(texts.begin(), texts.end());
      Run("list",
          [&](Collection* pages) { return ListValue(pages, {}).Push(ListEnd::kTail, elements); });
    }
    Demote("list");
  }
  // How often it had to wait for a page.
  int Pop(ListEnd end, const std::string& expected) {
    int waits = 0;
    Run("list", [&](Collection* pages) {
      ListValue list(pages, {});
      ListValue::Place place;
      if (!list.FindEnd(end, &place)) {
        ++waits;
        return false;
      }
      EXPECT_EQ(list.At(place), expected);
      list.Remove(place);
      return true;
    });
    // Others have their turn, and the disk some time.
    driver_->Turn(200);
    return waits;
  }
};

TEST_F(ReadAheadTest, PopsFindTheNextPages) {
  FillList();
  int waits = 0;
  for (int i = 0; i < 5000; ++i) waits += Pop(ListEnd::kHead, Element(i));
  for (int i = 0; i < 5000; ++i) waits += Pop(ListEnd::kTail, Element(kElements - 1 - i));
  // Of more than forty pages.
  EXPECT_LT(waits, 20);
  Crash();
  EXPECT_LE(Pop(ListEnd::kHead, Element(5000)), 3);
}

// As a consumer group does, ten at a time; and by one who says nothing of going on.
TEST_F(ReadAheadTest, WhoReadsOnInAStreamFindsTheNextPages) {
  auto run = [&](auto body) {
    Run(
        "stream", [&](Collection* pages) { return body(StreamValue(pages)); }, 0,
        ValueType::kStream);
    driver_->Turn(200);
  };
  auto id = [](uint64_t i) { return StreamId{1'700'000'000'000 + i, 0}; };
  for (uint64_t i = 0; i < kElements; ++i) {
    run([&](StreamValue stream) {
      if (stream.exists() && !stream.WantAppend()) return false;
      const std::string value = Element(static_cast<int>(i));
      const std::vector<std::string_view> fields = {"field", value};
      stream.Append(id(i), fields, {});
      return true;
    });
  }
  auto waits_of = [&](bool goes_on) {
    Demote("stream");
    int waits = 0;
    for (uint64_t i = 0; i < kElements / 2; i += 10) {
      run([&](StreamValue stream) {
        std::vector<StreamId> ids;
        const bool all = stream.Walk({.first = id(i), .limit = 10, .goes_on = goes_on},
                                     [&](const StreamPage::Cursor& at) { ids.push_back(at.id()); });
        waits += all ? 0 : 1;
        EXPECT_TRUE(!all || (ids.size() == 10 && ids.back() == id(i + 9))) << i;
        return all;
      });
    }
    return waits;
  };
  // A hundred pages.
  EXPECT_LT(waits_of(true), 20);
  EXPECT_GE(waits_of(false), 90);
}

TEST_F(ReadAheadTest, AListThatGoesTakesNothingAlong) {
  FillList();
  for (int i = 0; i < 300; ++i) Pop(ListEnd::kHead, Element(i));
  driver_->Delete("list");
  EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
  auto keys_left = [&] {
    const StoreStats stats = driver_->store().Stats();
    return stats.hot.keys + stats.warm.keys + stats.cold.keys;
  };
  EXPECT_TRUE(driver_->RunUntil([&] { return keys_left() == 0; })) << keys_left();
}

TEST_F(ReadAheadTest, AFlushInBetweenIsNoMatter) {
  FillList();
  for (int i = 0; i < 200; ++i) Pop(ListEnd::kHead, Element(i));
  driver_->store().FlushDatabase(0);
  driver_->Turn();
  FillList();
  for (int i = 0; i < 200; ++i) Pop(ListEnd::kHead, Element(i));
  EXPECT_TRUE(driver_->RunUntil([&] { return Settled(); }));
}

}  // namespace
}  // namespace firn
