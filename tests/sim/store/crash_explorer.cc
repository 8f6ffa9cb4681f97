#include "crash_explorer.h"

namespace firn::test {
namespace {

constexpr int64_t kWallMs = 1'700'000'000'000;
// What CheckConsistency says of pages that belong to no key.
constexpr const char* kLostPages = "belong to no key";
// A disk on which much happens while a read is under way.
constexpr int64_t kSlowReadMicros = 100'000;
// The spares and the reserve of a log take half of it.
constexpr uint64_t kSmallDiskBytes = 8 << 20;
// In each database, so that they don't all fit on such a disk.
constexpr uint32_t kKeysToEvict = 80;

// The clock of a machine that starts again may be anywhere.
int64_t WallAfter(Random* random) {
  static constexpr int64_t kOffsets[] = {0, 0, 20'000, -3'600'000};
  return kWallMs + kOffsets[random->Below(4)];
}

}  // namespace

StoreOptions CrashExplorer::Options(uint64_t seed) const {
  StoreOptions options = SmallStore(options_.policy, seed);
  static constexpr uint64_t kMapBytes[] = {1, 20'000, 60'000, 200'000};
  if (options_.small_maps) options.index_memory_bytes = kMapBytes[seed / 2 % std::size(kMapBytes)];
  options.eviction = options_.eviction;
  if (options_.eviction != EvictionPolicy::kNone) options.max_disk_bytes = kSmallDiskBytes;
  return options;
}

WorkloadOptions CrashExplorer::Workload(uint64_t seed, uint32_t commands) const {
  WorkloadOptions options{.seed = seed,
                          .commands = commands,
                          .collections = options_.collections,
                          .streams = options_.streams,
                          .builds = options_.builds,
                          .long_strings = options_.long_strings,
                          .reads_first = options_.count_pages,
                          .small_maps = options_.small_maps,
                          .eviction = options_.eviction};
  if (options_.eviction != EvictionPolicy::kNone) options.keys = kKeysToEvict;
  return options;
}

std::string CrashExplorer::RunWorkload() {
  if (!disk_.CreateDirectories(kDirectory).ok() || !disk_.SyncDirectory("/").ok()) {
    return "no directory";
  }
  first_event_ = disk_.event_count();
  WorkloadOptions workload = Workload(options_.seed, options_.commands);
  workload.faults = !options_.faults.empty() || options_.capacity_bytes != 0;
  workload.overwrites = options_.overwrites;
  workload_ = std::make_unique<CrashWorkload>(workload);
  CrashWorld world(
      &disk_, Options(options_.seed),
      {.seed = options_.seed,
       .wall_start_ms = kWallMs,
       .bug = options_.bug,
       .repeatable = true,
       .read_micros_max = options_.seed % 4 == 1 || options_.overwrites ? kSlowReadMicros : 300,
       .wrappers = &options_.wrappers});
  if (Status status = world.Open(); !status.ok()) return "open: " + status.message();
  for (const io::SimFault& fault : options_.faults) disk_.Inject(fault);
  if (options_.capacity_bytes != 0) disk_.SetCapacity(options_.capacity_bytes);
  std::string wrong = workload_->Run(&world);
  disk_.ClearFaults();
  disk_.SetCapacity(1ull << 40);
  stats_ = world.store().Stats();
  return wrong;
}

std::string CrashExplorer::Run() {
  if (std::string wrong = RunWorkload(); !wrong.empty()) {
    return "seed " + std::to_string(options_.seed) + ", while running: " + wrong;
  }
  CrashEnumerator enumerator(
      &disk_, {.seed = options_.seed, .points_max = options_.points, .first_event = first_event_});
  std::string failure = enumerator.Run(
      [&](io::SimDisk* image, const CrashPoint& point) { return Check(image, point); });
  points_ = enumerator.points();
  return failure;
}

std::string CrashExplorer::Check(io::SimDisk* image, const CrashPoint& point) {
  Random random(point.seed);
  uint32_t least = workload_->MustHave(point.event, options_.policy, !point.process_death);
  uint64_t again = random.Below(6);
  CrashWorld world(image, Options(point.seed | 1),
                   {.seed = point.seed,
                    .wall_start_ms = WallAfter(&random),
                    .bug = options_.bug,
                    .note_mapped_interval = again < 2 ? 4u : 0u,
                    .wrappers = &options_.wrappers});
  if (Status status = world.Open(); !status.ok()) return "open: " + status.message();
  Life life{.begun = image->inherited_events(), .opened = image->event_count()};
  FoundState found;
  std::string wrong = world.ReadState(workload_->model(), again < 2, &found);
  if (!wrong.empty()) return wrong;
  PrefixRange range;
  wrong = workload_->model().FindPrefix(found, least, &range);
  if (wrong.empty() && !point.process_death && options_.policy == SyncPolicy::kEverySecond) {
    wrong = workload_->CheckLoss(point.event, range.last);
  }
  if (wrong.empty() && again < 2) wrong = CheckAgain(&world, point, life, least, found);
  if (wrong.empty() && again == 2) wrong = CheckStop(&world, point, found);
  if (wrong.empty() && again == 3) {
    wrong = world.CheckWhole(workload_->model());
    if (options_.count_pages && world.log().find(kLostPages) != std::string::npos) {
      wrong += "pages were left behind";
    }
  }
  return wrong.empty() ? "" : wrong + "\n" + world.log();
}

std::string CrashExplorer::CheckStop(CrashWorld* world, const CrashPoint& point,
                                     const FoundState& found) {
  if (Status status = world->driver().Close(); !status.ok()) return "close: " + status.message();
  auto image = world->disk().CrashImage(world->disk().event_count(), {}, 1);
  CrashWorld stopped(image.get(), Options(point.seed | 1),
                     {.seed = point.seed,
                      .wall_start_ms = world->loop().WallMillis(),
                      .bug = options_.bug,
                      .note_mapped_interval = 0,
                      .wrappers = &options_.wrappers});
  if (Status status = stopped.Open(); !status.ok()) return "after a stop: " + status.message();
  CrashModel model = workload_->model().StartAt(found);
  FoundState state;
  std::string wrong = stopped.ReadState(model, false, &state);
  PrefixRange range;
  if (wrong.empty()) wrong = model.FindPrefix(state, 0, &range);
  if (wrong.empty() && point.seed % 4 == 0) wrong = stopped.CheckWhole(model);
  return wrong.empty() ? "" : "after a stop: " + wrong + "\n" + stopped.log();
}

std::string CrashExplorer::CheckAgain(CrashWorld* world, const CrashPoint& point, Life life,
                                      uint32_t least, const FoundState& found) {
  Random random(point.seed + 1);
  CrashWorkload more(Workload(point.seed, 30), workload_->model().StartAt(found));
  if (std::string wrong = more.Run(world); !wrong.empty()) return "going on: " + wrong;
  // In the recovery, or in what came after it.
  uint64_t end = world->disk().event_count();
  uint64_t event = random.Below(2) == 0 ? life.begun + random.Below(life.opened - life.begun + 1)
                                        : life.opened + random.Below(end - life.opened + 1);
  CrashPoint second{.event = event, .policy = {}, .seed = random.Next()};
  second.process_death = random.Below(4) == 0;
  using Kind = io::CrashPolicy::Kind;
  static constexpr Kind kKinds[] = {Kind::kNone, Kind::kAll, Kind::kRandomSectors, Kind::kTornWrite,
                                    Kind::kGarbage};
  second.policy.kind = kKinds[random.Below(std::size(kKinds))];
  auto image = second.Image(world->disk());
  CrashWorld recovered(image.get(), Options(second.seed | 1),
                       {.seed = second.seed,
                        .wall_start_ms = world->loop().WallMillis(),
                        .bug = options_.bug,
                        .note_mapped_interval = 0,
                        .wrappers = &options_.wrappers});
  std::string where = "after a second crash at " + second.ToString() + " (opened at " +
                      std::to_string(life.opened) + "): ";
  if (Status status = recovered.Open(); !status.ok()) return where + "open: " + status.message();
  FoundState state;
  std::string wrong = recovered.ReadState(more.model(), false, &state);
  if (!wrong.empty()) return where + wrong;
  PrefixRange range;
  bool power = !second.process_death;
  if (event < life.opened && point.process_death && power) {
    // What the death left was not all synced, and nobody has seen it yet.
    uint32_t synced = workload_->MustHave(point.event, options_.policy, true);
    wrong = workload_->model().FindPrefix(state, std::min(synced, least), &range);
  } else {
    uint32_t must = event < life.opened ? 0 : more.MustHave(event, options_.policy, power);
    wrong = more.model().FindPrefix(state, must, &range);
  }
  if (wrong.empty() && random.Below(4) == 0) wrong = recovered.CheckWhole(more.model());
  return wrong.empty() ? "" : where + wrong + "\n" + recovered.log();
}

}  // namespace firn::test
