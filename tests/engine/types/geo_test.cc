#include "engine/types/geo.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "engine/base/random.h"

namespace firn {
namespace {

constexpr GeoPoint kPalermo = {13.361389, 38.115556};
constexpr GeoPoint kCatania = {15.087269, 37.502669};

std::string Text(double distance) {
  char text[kMaxDistanceText];
  return {text, FormatGeoDistance(distance, text)};
}

double Uniform(Random* random, double min, double max) {
  return min + (max - min) * (static_cast<double>(random->Next() >> 11) / 9007199254740992.0);
}

GeoPoint RandomPoint(Random* random) {
  return {Uniform(random, -180, 180), Uniform(random, -85, 85)};
}

TEST(GeoTest, PutsPointsWhereRedisDoes) {
  EXPECT_EQ(GeoScore(kPalermo), 3479099956230698);
  EXPECT_EQ(GeoScore(kCatania), 3479447370796909);
  const auto text = GeoHashText(GeoPointOf(GeoScore(kPalermo)));
  EXPECT_EQ(std::string(text.data(), text.size()), "sqc8b49rny0");
  EXPECT_EQ(Text(GeoDistance(GeoPointOf(GeoScore(kPalermo)), GeoPointOf(GeoScore(kCatania)))),
            "166274.1516");
}

TEST(GeoTest, ScoresGiveTheirPointsBack) {
  Random random(1);
  for (int i = 0; i < 5000; ++i) {
    const GeoPoint point = RandomPoint(&random);
    const GeoPoint back = GeoPointOf(GeoScore(point));
    ASSERT_NEAR(back.longitude, point.longitude, 360.0 / (1 << 26));
    ASSERT_NEAR(back.latitude, point.latitude, 171.0 / (1 << 26));
    ASSERT_EQ(GeoScore(back), GeoScore(point));
  }
}

TEST(GeoTest, AnyScoreIsAPoint) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (double score : {0.0, -1.0, 0.5, 1e15, 1e19, 1e30, -1e30, kInfinity, -kInfinity}) {
    EXPECT_TRUE(IsGeoPoint(GeoPointOf(score))) << score;
  }
}

TEST(GeoTest, DistancesHaveFourDigits) {
  EXPECT_EQ(Text(0), "0.0000");
  EXPECT_EQ(Text(0.00004), "0.0000");
  EXPECT_EQ(Text(0.775), "0.7750");
  EXPECT_EQ(Text(12.34567), "12.3457");
  EXPECT_EQ(Text(20015086.7965), "20015086.7965");
}

GeoShape RandomShape(Random* random) {
  GeoShape shape{.center = RandomPoint(random), .unit_metres = random->Below(2) == 0 ? 1.0 : 1000.0};
  const double metres = std::pow(10, Uniform(random, 0, 6)) / shape.unit_metres;
  shape.radius = metres;
  if (random->Below(2) == 0) {
    shape.kind = GeoShape::Kind::kBox;
    shape.width = metres;
    shape.height = metres * Uniform(random, 0.1, 5);
  }
  return shape;
}

TEST(GeoTest, TheFilterAgreesWithTheDistance) {
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    const GeoShape shape = RandomShape(&random);
    const double reach = shape.radius * shape.unit_metres / 100'000;
    GeoPoint point = shape.center;
    point.longitude = std::clamp(point.longitude + Uniform(&random, -reach, reach), -180.0, 180.0);
    point.latitude = std::clamp(point.latitude + Uniform(&random, -reach, reach), -85.0, 85.0);
    double metres = -1;
    const bool inside = GeoFilter(shape).Contains(point, &metres);
    const double distance = GeoDistance(shape.center, point);
    if (inside) {
      ASSERT_EQ(metres, distance);
    }
    if (shape.kind == GeoShape::Kind::kCircle) {
      ASSERT_EQ(inside, distance <= shape.radius * shape.unit_metres);
    } else {
      const double north = GeoDistance({0, shape.center.latitude}, {0, point.latitude});
      const double east = GeoDistance(point, {shape.center.longitude, point.latitude});
      ASSERT_EQ(inside, north <= shape.height * shape.unit_metres / 2 &&
                            east <= shape.width * shape.unit_metres / 2);
    }
  }
}

// Away from the poles and the date line, where Redis' squares leave some out.
TEST(GeoTest, TheSquaresCoverTheShape) {
  Random random(3);
  for (int i = 0; i < 20'000; ++i) {
    GeoShape shape = RandomShape(&random);
    shape.center = {Uniform(&random, -100, 100), Uniform(&random, -50, 50)};
    const double reach = shape.radius * shape.unit_metres / 100'000;
    const GeoPoint point =
        GeoPointOf(GeoScore({shape.center.longitude + Uniform(&random, -reach, reach),
                             shape.center.latitude + Uniform(&random, -reach, reach)}));
    double metres;
    if (!GeoFilter(shape).Contains(point, &metres)) continue;
    const double score = GeoScore(point);
    const GeoCover cover(shape);
    ASSERT_TRUE(std::ranges::any_of(
        cover.squares(),
        [&](const GeoScores& square) { return score >= square.min && score < square.max; }))
        << "shape " << i;
  }
}

}  // namespace
}  // namespace firn
