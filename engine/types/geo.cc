#include "engine/types/geo.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace firn {
namespace {

constexpr double kRadiansPerDegree = M_PI / 180.0;
constexpr double kEarthRadius = 6372797.560856;  // metres; of a sphere like WGS 84
constexpr double kMercatorMax = 20037726.37;     // metres from the date line to Greenwich
constexpr int kMaxStep = 26;                     // bits of each coordinate

double Radians(double degrees) { return degrees * kRadiansPerDegree; }
double Degrees(double radians) { return radians / kRadiansPerDegree; }

// --- interleaved bits: the latitude's are the even ones

constexpr uint64_t kEvenBits = 0x5555555555555555;
constexpr uint64_t kOddBits = kEvenBits << 1;

uint64_t Spread(uint32_t bits) {
  uint64_t x = bits;
  x = (x | x << 16) & 0x0000ffff0000ffff;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
  x = (x | x << 2) & 0x3333333333333333;
  return (x | x << 1) & kEvenBits;
}

uint32_t Gather(uint64_t x) {
  x &= kEvenBits;
  x = (x | x >> 1) & 0x3333333333333333;
  x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
  x = (x | x >> 4) & 0x00ff00ff00ff00ff;
  x = (x | x >> 8) & 0x0000ffff0000ffff;
  return static_cast<uint32_t>(x | x >> 16);
}

// A square of the map: so many leading bits of both coordinates.
struct Square {
  uint64_t bits = 0;
  int step = 0;
  bool operator==(const Square&) const = default;
};

struct Bounds {
  GeoPoint min;
  GeoPoint max;
};

Square Encode(const GeoPoint& point, double max_latitude, int step) {
  double latitude = (point.latitude - -max_latitude) / (max_latitude - -max_latitude);
  double longitude = (point.longitude - -kMaxLongitude) / (kMaxLongitude - -kMaxLongitude);
  const auto cells = static_cast<double>(uint64_t{1} << step);
  latitude *= cells;
  longitude *= cells;
  return {.bits = Spread(static_cast<uint32_t>(latitude)) | Spread(static_cast<uint32_t>(longitude))
                                                                << 1,
          .step = step};
}

Bounds Decode(const Square& square) {
  constexpr double kLatitudes = kMaxLatitude - -kMaxLatitude;
  constexpr double kLongitudes = kMaxLongitude - -kMaxLongitude;
  const auto cells = static_cast<double>(uint64_t{1} << square.step);
  const uint32_t latitude = Gather(square.bits);
  const uint32_t longitude = Gather(square.bits >> 1);
  return {.min = {.longitude = -kMaxLongitude + (longitude * 1.0 / cells) * kLongitudes,
                  .latitude = -kMaxLatitude + (latitude * 1.0 / cells) * kLatitudes},
          .max = {.longitude = -kMaxLongitude + ((longitude + 1) * 1.0 / cells) * kLongitudes,
                  .latitude = -kMaxLatitude + ((latitude + 1) * 1.0 / cells) * kLatitudes}};
}

// One of the two coordinates goes one square up or down, around the edge of the map. `axis`: its
// bits.
uint64_t Step(const Square& square, uint64_t axis, int direction) {
  const uint64_t within = ~uint64_t{0} >> (64 - square.step * 2);
  const uint64_t others = ~axis & within;
  uint64_t moving = square.bits & axis;
  if (direction > 0) {
    moving += others + 1;
  } else {
    moving = (moving | others) - (others + 1);
  }
  return (moving & axis & within) | (square.bits & ~axis);
}

struct Direction {
  int east = 0;
  int north = 0;
};
Square Neighbour(const Square& square, const Direction& direction) {
  Square moved = square;
  if (direction.east != 0) moved.bits = Step(moved, kOddBits, direction.east);
  if (direction.north != 0) moved.bits = Step(moved, kEvenBits, direction.north);
  return moved;
}

// How many bits make squares of about the size of a search.
int EstimateStep(double metres, double latitude) {
  if (metres == 0) return kMaxStep;
  int step = 1;
  while (metres < kMercatorMax) {
    metres *= 2;
    ++step;
  }
  step -= 2;  // so that in most cases the square and its neighbours are enough
  // Squares are narrow near the poles.
  if (latitude > 66 || latitude < -66) {
    --step;
    if (latitude > 80 || latitude < -80) --step;
  }
  return std::clamp(step, 1, kMaxStep);
}

Bounds BoundsOf(const GeoShape& shape) {
  const bool circle = shape.kind == GeoShape::Kind::kCircle;
  const GeoPoint& center = shape.center;
  const double height = shape.unit_metres * (circle ? shape.radius : shape.height / 2);
  const double width = shape.unit_metres * (circle ? shape.radius : shape.width / 2);
  const double latitudes = Degrees(height / kEarthRadius);
  const double at_top =
      Degrees(width / kEarthRadius / std::cos(Radians(center.latitude + latitudes)));
  const double at_bottom =
      Degrees(width / kEarthRadius / std::cos(Radians(center.latitude - latitudes)));
  const double longitudes = center.latitude < 0 ? at_bottom : at_top;
  return {.min = {center.longitude - longitudes, center.latitude - latitudes},
          .max = {center.longitude + longitudes, center.latitude + latitudes}};
}

// Whether a square with its neighbours is too small for what is searched.
bool IsTooSmall(const Square& square, const Bounds& wanted) {
  const auto north = Decode(Neighbour(square, {.north = 1}));
  const auto south = Decode(Neighbour(square, {.north = -1}));
  const auto east = Decode(Neighbour(square, {.east = 1}));
  const auto west = Decode(Neighbour(square, {.east = -1}));
  return north.max.latitude < wanted.max.latitude || south.min.latitude > wanted.min.latitude ||
         east.max.longitude < wanted.max.longitude || west.min.longitude > wanted.min.longitude;
}

double LatitudeDistance(double a, double b) {
  return kEarthRadius * std::fabs(Radians(b) - Radians(a));
}

// Converts as the processor does, whatever the number is.
uint64_t ToBits(double score) {
  constexpr double kTwo63 = 9223372036854775808.0;
  if (score >= -kTwo63 && score < kTwo63) {
    return static_cast<uint64_t>(static_cast<int64_t>(score));
  }
  if (score >= kTwo63) return score < 2 * kTwo63 ? static_cast<uint64_t>(score) : 0;
  return uint64_t{1} << 63;
}

}  // namespace

double GeoScore(const GeoPoint& point) {
  return static_cast<double>(Encode(point, kMaxLatitude, kMaxStep).bits);
}

GeoPoint GeoPointOf(double score) {
  const Bounds bounds = Decode({.bits = ToBits(score), .step = kMaxStep});
  return {.longitude = std::clamp((bounds.min.longitude + bounds.max.longitude) / 2, -kMaxLongitude,
                                  kMaxLongitude),
          .latitude = std::clamp((bounds.min.latitude + bounds.max.latitude) / 2, -kMaxLatitude,
                                 kMaxLatitude)};
}

std::array<char, 11> GeoHashText(const GeoPoint& point) {
  constexpr char kLetters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
  const uint64_t bits = Encode(point, 90, kMaxStep).bits;
  std::array<char, 11> text;
  for (uint32_t i = 0; i < 10; ++i) text[i] = kLetters[bits >> (52 - (i + 1) * 5) & 31];
  text[10] = kLetters[0];
  return text;
}

double GeoDistance(const GeoPoint& a, const GeoPoint& b) {
  const double v = std::sin((Radians(b.longitude) - Radians(a.longitude)) / 2);
  if (v == 0.0) return LatitudeDistance(a.latitude, b.latitude);
  const double from = Radians(a.latitude);
  const double to = Radians(b.latitude);
  const double u = std::sin((to - from) / 2);
  const double haversine = u * u + std::cos(from) * std::cos(to) * v * v;
  return 2.0 * kEarthRadius * std::asin(std::sqrt(haversine));
}

// --- searching

GeoCover::GeoCover(const GeoShape& shape) {
  const Bounds wanted = BoundsOf(shape);
  const double size = shape.kind == GeoShape::Kind::kCircle
                          ? shape.radius
                          : std::sqrt((shape.width / 2) * (shape.width / 2) +
                                      (shape.height / 2) * (shape.height / 2));
  int step = EstimateStep(size * shape.unit_metres, shape.center.latitude);
  Square middle = Encode(shape.center, kMaxLatitude, step);
  if (step > 1 && IsTooSmall(middle, wanted)) {
    --step;
    middle = Encode(shape.center, kMaxLatitude, step);
  }
  // Neighbours that the shape does not reach into are left out.
  bool north = true, south = true, east = true, west = true;
  if (step >= 2) {
    const Bounds bounds = Decode(middle);
    south = bounds.min.latitude >= wanted.min.latitude;
    north = bounds.max.latitude <= wanted.max.latitude;
    west = bounds.min.longitude >= wanted.min.longitude;
    east = bounds.max.longitude <= wanted.max.longitude;
    // What cannot be compared is not left out.
    south |= std::isnan(wanted.min.latitude);
    north |= std::isnan(wanted.max.latitude);
    west |= std::isnan(wanted.min.longitude);
    east |= std::isnan(wanted.max.longitude);
  }
  constexpr Direction kOrder[] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},  {-1, 0},
                                  {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
  Square last = middle;
  for (size_t i = 0; i < std::size(kOrder); ++i) {
    const Direction& direction = kOrder[i];
    if ((direction.north > 0 && !north) || (direction.north < 0 && !south) ||
        (direction.east > 0 && !east) || (direction.east < 0 && !west)) {
      continue;
    }
    const Square square = Neighbour(middle, direction);
    // On a coarse map neighbours may be one and the same; as Redis, only what follows one another
    // is compared, and not with the middle.
    if (count_ > 1 && square == last) continue;
    const int shift = (kMaxStep - square.step) * 2;
    squares_[count_++] = {.min = static_cast<double>(square.bits << shift),
                          .max = static_cast<double>((square.bits + 1) << shift)};
    last = square;
  }
}

GeoFilter::GeoFilter(const GeoShape& shape)
    : shape_(shape),
      center_longitude_(Radians(shape.center.longitude)),
      center_latitude_(Radians(shape.center.latitude)),
      center_cosine_(std::cos(center_latitude_)) {
  // Rounding must not leave out what the exact comparison would let in.
  constexpr double kSlack = 1 + 1e-9;
  constexpr double kLeast = 1e-12;
  if (shape.kind == GeoShape::Kind::kCircle) {
    limit_ = shape.radius * shape.unit_metres;
  } else {
    half_width_ = shape.width * shape.unit_metres / 2;
    limit_ = shape.height * shape.unit_metres / 2;
  }
  latitude_limit_ = limit_ / kEarthRadius * kSlack + kLeast;
  const double half_angle = limit_ / kEarthRadius / 2;
  const double sine = std::sin(std::min(half_angle, M_PI / 2));
  haversine_limit_ = half_angle < 1.5 ? sine * sine * kSlack + kLeast * kLeast
                                      : std::numeric_limits<double>::max();
}

double GeoFilter::DistanceTo(const GeoPoint& point) const {
  const double v = std::sin((Radians(point.longitude) - center_longitude_) / 2);
  if (v == 0.0) return LatitudeDistance(shape_.center.latitude, point.latitude);
  const double to = Radians(point.latitude);
  const double u = std::sin((to - center_latitude_) / 2);
  const double haversine = u * u + center_cosine_ * std::cos(to) * v * v;
  if (shape_.kind == GeoShape::Kind::kCircle && haversine > haversine_limit_) {
    return std::numeric_limits<double>::infinity();
  }
  return 2.0 * kEarthRadius * std::asin(std::sqrt(haversine));
}

bool GeoFilter::Contains(const GeoPoint& point, double* metres) const {
  if (std::fabs(Radians(point.latitude) - center_latitude_) > latitude_limit_) return false;
  if (shape_.kind == GeoShape::Kind::kCircle) {
    *metres = DistanceTo(point);
    return !(*metres > limit_);
  }
  if (LatitudeDistance(point.latitude, shape_.center.latitude) > limit_) return false;
  const GeoPoint beside = {shape_.center.longitude, point.latitude};
  if (GeoDistance(point, beside) > half_width_) return false;
  *metres = DistanceTo(point);
  return true;
}

size_t FormatGeoDistance(double distance, char (&text)[kMaxDistanceText]) {
  constexpr int64_t kScale = 10'000;
  const long long scaled = std::llrint(distance * kScale);
  char* at = text;
  uint64_t value = static_cast<uint64_t>(scaled);
  if (scaled < 0) {
    *at++ = '-';
    value = 0 - value;
  }
  at = std::to_chars(at, text + kMaxDistanceText, value / kScale).ptr;
  *at++ = '.';
  uint64_t fraction = value % kScale;
  for (int i = 3; i >= 0; --i, fraction /= 10) at[i] = static_cast<char>('0' + fraction % 10);
  return static_cast<size_t>(at + 4 - text);
}

}  // namespace firn
