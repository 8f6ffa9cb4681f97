// CrashEnumerator: walks the crash points of a recorded SimDisk. One pass visits events in rising
// order (cheapest for the disk) and tries one way of crashing at each; passes follow until the
// points or the time are used up, each with other ways and, where there are more events than
// points, other events. Equal seeds visit equal points, but for the time limit.
//
//   test::CrashEnumerator enumerator(&disk, {.seed = 1, .points_max = 2000});
//   std::string failure = enumerator.Run([&](io::SimDisk* image, const test::CrashPoint& point) {
//     ... recover on *image; return "" or what is wrong ...
//   });
//   EXPECT_EQ(failure, "");
//
// A failure names its crash point; with that text in the environment variable FIRN_CRASH_POINT, Run
// visits this point only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>

#include "engine/base/random.h"
#include "tiering/io/sim_disk.h"

namespace firn::test {

struct CrashPoint {
  uint64_t event = 0;          // how many events had happened
  bool process_death = false;  // the power stayed on: `policy` has no meaning
  io::CrashPolicy policy;
  uint64_t seed = 0;

  // "event:way:sector size:seed"
  std::string ToString() const {
    std::string way = process_death ? "death" : io::CrashPolicyName(policy.kind);
    return std::to_string(event) + ":" + way + ":" + std::to_string(policy.sector_size) + ":" +
           std::to_string(seed);
  }
  std::unique_ptr<io::SimDisk> Image(const io::SimDisk& disk) const {
    return process_death ? disk.ProcessDeathImage(event) : disk.CrashImage(event, policy, seed);
  }
};

struct CrashEnumeratorOptions {
  uint64_t seed = 1;
  uint64_t points_max = 1000;
  std::chrono::milliseconds time_max = std::chrono::minutes(5);
  uint64_t first_event = 0;
  bool process_deaths = true;
  bool power_cuts = true;
  bool garbage = true;  // of power cuts
};

class CrashEnumerator {
 public:
  // Answers what is wrong with the recovery of `image`, "" if nothing.
  using Check = std::function<std::string(io::SimDisk* image, const CrashPoint& point)>;

  CrashEnumerator(const io::SimDisk* disk, CrashEnumeratorOptions options)
      : disk_(disk), options_(options), random_(options.seed) {}

  // Stops at the first failure, prints and returns it with its crash point; "" if there is none.
  std::string Run(const Check& check) {
    if (const char* only = std::getenv("FIRN_CRASH_POINT"); only != nullptr) {
      return Try(Parse(only), check);
    }
    auto end = std::chrono::steady_clock::now() + options_.time_max;
    uint64_t events = disk_->event_count() + 1 - options_.first_event;
    while (points_ < options_.points_max) {
      uint64_t wanted = std::min(options_.points_max - points_, events);
      // As many events, evenly spread, each drawn from its stretch.
      for (uint64_t i = 0; i < wanted; ++i) {
        uint64_t begin = events * i / wanted;
        uint64_t stretch = events * (i + 1) / wanted - begin;
        uint64_t event = options_.first_event + begin + random_.Below(stretch);
        if (std::string failure = Try(Draw(event), check); !failure.empty()) return failure;
        if (std::chrono::steady_clock::now() >= end) return "";
      }
    }
    return "";
  }

  uint64_t points() const { return points_; }

 private:
  using Kind = io::CrashPolicy::Kind;

  CrashPoint Draw(uint64_t event) {
    CrashPoint point{.event = event, .policy = {}, .seed = random_.Next()};
    if (!options_.power_cuts || (options_.process_deaths && random_.Below(6) == 0)) {
      point.process_death = true;
      return point;
    }
    static constexpr Kind kKinds[] = {Kind::kNone,      Kind::kAll,           Kind::kEpoch,
                                      Kind::kEpoch,     Kind::kRandomSectors, Kind::kRandomSectors,
                                      Kind::kTornWrite, Kind::kTornWrite,     Kind::kGarbage};
    point.policy.kind = kKinds[random_.Below(options_.garbage ? 9 : 8)];
    point.policy.sector_size = random_.Below(3) == 0 ? 4096 : 512;
    return point;
  }

  static CrashPoint Parse(const std::string& text) {
    CrashPoint point;
    char way[16] = "";
    unsigned long long event = 0, sector_size = 512, seed = 0;
    std::sscanf(text.c_str(), "%llu:%15[a-z]:%llu:%llu", &event, way, &sector_size, &seed);
    point.event = event;
    point.policy.sector_size = sector_size;
    point.seed = seed;
    point.process_death = std::string(way) == "death";
    for (Kind kind : {Kind::kNone, Kind::kAll, Kind::kEpoch, Kind::kRandomSectors, Kind::kTornWrite,
                      Kind::kGarbage}) {
      if (std::string(way) == io::CrashPolicyName(kind)) point.policy.kind = kind;
    }
    return point;
  }

  std::string Try(const CrashPoint& point, const Check& check) {
    ++points_;
    std::unique_ptr<io::SimDisk> image = point.Image(*disk_);
    std::string wrong = check(image.get(), point);
    if (wrong.empty()) return "";
    std::string failure = "crash point " + point.ToString() + " (seed " +
                          std::to_string(options_.seed) + ", of " +
                          std::to_string(disk_->event_count()) +
                          " events; next: " + disk_->DescribeEvent(point.event) + "): " + wrong;
    std::fprintf(stderr, "%s\n", failure.c_str());
    return failure;
  }

  const io::SimDisk* const disk_;
  const CrashEnumeratorOptions options_;
  Random random_;
  uint64_t points_ = 0;
};

}  // namespace firn::test
