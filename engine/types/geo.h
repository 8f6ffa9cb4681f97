// Points on the earth as scores of sorted sets: 52 bits that interleave a latitude and a longitude,
// so that what is near is mostly near in the order of scores too. All results are those of Redis
// 7.2, to the last bit: pure functions.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace firn {

struct GeoPoint {  // in degrees
  double longitude = 0;
  double latitude = 0;
};
// The latitudes that a square map shows.
inline constexpr double kMaxLatitude = 85.05112878;
inline constexpr double kMaxLongitude = 180;
inline bool IsGeoPoint(const GeoPoint& point) {
  return point.longitude >= -kMaxLongitude && point.longitude <= kMaxLongitude &&
         point.latitude >= -kMaxLatitude && point.latitude <= kMaxLatitude;
}

// REQUIRES: IsGeoPoint.
double GeoScore(const GeoPoint& point);
// The middle of the square that a score stands for; any score is one of some point.
GeoPoint GeoPointOf(double score);
// The usual geohash of a point, whose latitudes reach to the poles: 11 letters, the last of them
// zero.
std::array<char, 11> GeoHashText(const GeoPoint& point);
// Along a great circle, in metres.
double GeoDistance(const GeoPoint& a, const GeoPoint& b);

// What a search covers: a circle, or a box whose sides run along the meridians. Sizes are in the
// client's unit.
struct GeoShape {
  enum class Kind : uint8_t { kCircle, kBox };
  Kind kind = Kind::kCircle;
  GeoPoint center;
  double unit_metres = 1;
  double radius = 0;
  double width = 0;
  double height = 0;
};

// Scores in [min, max).
struct GeoScores {
  double min = 0;
  double max = 0;
};
// Squares that cover a shape, in the order in which Redis looks at them.
class GeoCover {
 public:
  explicit GeoCover(const GeoShape& shape);
  std::span<const GeoScores> squares() const { return {squares_.data(), count_}; }

 private:
  std::array<GeoScores, 9> squares_;
  size_t count_ = 0;
};

// Tells which points lie within a shape.
class GeoFilter {
 public:
  explicit GeoFilter(const GeoShape& shape);
  // `metres`: the distance from the centre, if it lies within.
  bool Contains(const GeoPoint& point, double* metres) const;

 private:
  double DistanceTo(const GeoPoint& point) const;

  GeoShape shape_;
  double center_longitude_;  // in radians
  double center_latitude_;
  double center_cosine_;
  // In metres. What is clearly outside by its latitude alone needs no trigonometry.
  double limit_;
  double half_width_ = 0;
  double latitude_limit_;  // in radians, a little more than the shape's
  double haversine_limit_;
};

// A distance with four digits behind the point.
inline constexpr size_t kMaxDistanceText = 32;
size_t FormatGeoDistance(double distance, char (&text)[kMaxDistanceText]);

}  // namespace firn
