#include "engine/page/packed_page.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

std::string Scored(const std::vector<double>& scores) {
  PackedBuilder builder(PackedKind::kZset);
  for (size_t i = 0; i < scores.size(); ++i) {
    const std::string name = "m" + std::to_string(100'000 + i);
    builder.Add({.bytes = name, .score = scores[i]});
  }
  return builder.Finish();
}

void ExpectScoresAreFound(const std::vector<double>& scores) {
  const std::string bytes = Scored(scores);
  ASSERT_TRUE(PackedPage::Validate(bytes));
  const PackedPage page(bytes);
  std::vector<double> wanted = scores;
  for (double score : scores) {
    wanted.push_back(std::nextafter(score, -INFINITY));
    wanted.push_back(std::nextafter(score, INFINITY));
  }
  wanted.insert(wanted.end(), {-INFINITY, INFINITY, 0, -1, 1e300, -1e300});
  for (double score : wanted) {
    const auto low = std::lower_bound(scores.begin(), scores.end(), score) - scores.begin();
    const auto high = std::upper_bound(scores.begin(), scores.end(), score) - scores.begin();
    ASSERT_EQ(page.LowerBoundScore(score), low) << score;
    ASSERT_EQ(page.UpperBoundScore(score), high) << score;
  }
  for (uint32_t i = 0; i < page.rows(); ++i) {
    ASSERT_EQ(page.FindScored(scores[i], page.Row(i).bytes), i);
    ASSERT_EQ(page.FindScored(scores[i], "absent"), page.rows());
    ASSERT_EQ(page.LowerBound(scores[i], page.Row(i).bytes), i);
  }
}

TEST(PackedPageTest, ScoresAreFoundHoweverTheyAreSpread) {
  ExpectScoresAreFound({});
  ExpectScoresAreFound({1});
  ExpectScoresAreFound({5, 5});
  ExpectScoresAreFound({-INFINITY, 1, 2, INFINITY});
  ExpectScoresAreFound({-INFINITY, -INFINITY, -1e308, 0, 1e308, INFINITY});
  Random random(1);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> scores;
    const uint64_t rows = 1 + random.Below(160);
    for (uint64_t i = 0; i < rows; ++i) {
      const auto number = static_cast<double>(random.Below(round % 2 == 0 ? 20 : 100'000));
      scores.push_back(round % 3 == 0 ? std::exp(number / 200) : number);
    }
    std::sort(scores.begin(), scores.end());
    ExpectScoresAreFound(scores);
  }
}

TEST(PackedPageTest, TagsAreFoundInPagesOfAnySize) {
  for (uint32_t rows = 1; rows <= 70; ++rows) {
    PackedBuilder builder(PackedKind::kSet);
    std::vector<std::string> members;
    for (uint32_t i = 0; i < rows; ++i)
      members.push_back(std::string(i % 40, 'x') + std::to_string(i));
    for (uint32_t i = 0; i < rows; ++i) {
      builder.Add({.bytes = members[i], .tag = static_cast<uint8_t>(i % 3)});
    }
    const std::string bytes = builder.Finish();
    const PackedPage page(bytes);
    for (uint32_t i = 0; i < rows; ++i) {
      ASSERT_EQ(page.FindTagged(static_cast<uint8_t>(i % 3), members[i]), i);
      ASSERT_EQ(page.Row(i).bytes, members[i]);
      ASSERT_EQ(page.BytesFrom(i), page.Row(i).bytes.data());
      ASSERT_EQ(page.FindTagged(77, members[i]), rows);
    }
    ASSERT_EQ(page.BytesFrom(rows), nullptr);
  }
}

PackedRow RandomRow(Random* random, std::string* bytes, std::string* value) {
  bytes->assign(random->Below(10) == 0 ? 300 : random->Below(20), 'f');
  value->assign(random->Below(12) == 0 ? 254 + random->Below(4) : random->Below(30), 'v');
  *bytes += std::to_string(random->Below(1000));
  return {.bytes = *bytes,
          .value = *value,
          .tag = static_cast<uint8_t>(random->Below(256)),
          .hash = random->Next(),
          .score = static_cast<double>(random->Below(1000)),
          .expiry_ms = static_cast<int64_t>(random->Below(1000))};
}

TEST(PackedPageTest, RowsAreTakenOverAsIfAddedOneByOne) {
  Random random(2);
  for (PackedKind kind : {PackedKind::kList, PackedKind::kSet, PackedKind::kHash,
                          PackedKind::kHashTtl, PackedKind::kZset, PackedKind::kZsetIndex}) {
    PackedBuilder builder(kind);
    std::string bytes;
    std::string value;
    for (int i = 0; i < 60; ++i) builder.Add(RandomRow(&random, &bytes, &value));
    const std::string packed = builder.Finish();
    ASSERT_TRUE(PackedPage::Validate(packed));
    const PackedPage page(packed);
    PackedBuilder expected(kind);
    for (uint32_t i = 20; i < 50; ++i) expected.Add(page.Row(i));
    for (uint32_t i : {59u, 0u, 7u}) expected.Add(page.Row(i));
    PackedBuilder taken(kind);
    taken.AddRows(page, 20, 30);
    taken.AddRows(page, 60, 0);
    taken.PickRows(page, std::vector<uint32_t>{59, 0, 7});
    ASSERT_EQ(taken.rows(), expected.rows());
    ASSERT_EQ(taken.Finish(), expected.Finish());
    ASSERT_EQ(taken.size(), expected.size());
    ASSERT_TRUE(PackedPage::Validate(taken.Finish()));
  }
}

}  // namespace
}  // namespace firn
