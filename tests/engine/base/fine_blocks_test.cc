#include "engine/base/fine_blocks.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

constexpr size_t kSlabBytes = 32 * 1024;

struct Block {
  char* bytes = nullptr;
  size_t size = 0;
  uint8_t fill = 0;
};

class FineBlocksTest : public ::testing::Test {
 protected:
  Block Allocate(size_t size, uint8_t fill) {
    Block block{static_cast<char*>(blocks_.Allocate(size)), size, fill};
    std::memset(block.bytes, fill, size);
    return block;
  }
  void Free(const Block& block) {
    ExpectWhole(block);
    blocks_.Free(block.bytes, block.size);
  }
  static void ExpectWhole(const Block& block) {
    for (size_t i = 0; i < block.size; ++i) {
      ASSERT_EQ(static_cast<uint8_t>(block.bytes[i]), block.fill);
    }
  }

  void TearDown() override {
    blocks_.FreeSpares();
    EXPECT_EQ(blocks_.free_bytes(), 0u);
  }

  FineBlocks blocks_;
};

TEST_F(FineBlocksTest, HoldsWhatTheAllocatorWouldRoundByMore) {
  EXPECT_FALSE(FineBlocks::Holds(0));
  EXPECT_FALSE(FineBlocks::Holds(256));
  EXPECT_TRUE(FineBlocks::Holds(257));
  EXPECT_TRUE(FineBlocks::Holds(512));
  EXPECT_FALSE(FineBlocks::Holds(513));
  EXPECT_EQ(FineBlocks::RegionBytes(257), 272u);
  EXPECT_EQ(FineBlocks::RegionBytes(352), 352u);
  EXPECT_EQ(FineBlocks::RegionBytes(353), 368u);
  EXPECT_EQ(FineBlocks::RegionBytes(512), 512u);
}

TEST_F(FineBlocksTest, BlocksOfAllSizesKeepTheirBytes) {
  Random random(1);
  std::vector<Block> held;
  for (int i = 0; i < 50'000; ++i) {
    const bool grows = i < 20'000 ? random.Below(3) > 0 : random.Below(3) == 0;
    if (grows || held.empty()) {
      held.push_back(Allocate(257 + random.Below(256), static_cast<uint8_t>(random.Next())));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(held.back().bytes) % 16, 0u);
    } else {
      std::swap(held[random.Below(held.size())], held.back());
      Free(held.back());
      held.pop_back();
    }
  }
  for (const Block& block : held) Free(block);
  // At most an empty slab of each size is kept.
  EXPECT_LE(blocks_.free_bytes(), 16 * kSlabBytes);
}

TEST_F(FineBlocksTest, ASlabIsUsedAllButForARegion) {
  for (size_t size : {272, 352, 368, 512}) {
    // More than one slab, so that the first one isn't alone.
    std::vector<Block> held;
    for (int i = 0; i < 200; ++i) held.push_back(Allocate(size, 7));
    const SlabUse first = blocks_.UseOf(held[0].bytes, size);
    EXPECT_EQ(first.region_bytes, size);
    EXPECT_EQ(first.used, first.regions);
    EXPECT_GT((first.regions + 1) * size + 64, kSlabBytes);
    for (const Block& block : held) Free(block);
  }
}

TEST_F(FineBlocksTest, BlocksComeFromTheFullestSlabAndTheEmptiestDrains) {
  constexpr size_t kSize = 400;
  std::vector<Block> held;
  for (int i = 0; i < 8 * 81; ++i) held.push_back(Allocate(kSize, 7));
  // Of the first slab a few blocks stay, of the others most.
  std::vector<Block> few, most;
  const auto slab_of = [](const Block& block) {
    return reinterpret_cast<uintptr_t>(block.bytes) / kSlabBytes;
  };
  const uintptr_t first = slab_of(held[0]);
  int number = 0;
  for (const Block& block : held) {
    const bool in_first = slab_of(block) == first;
    if (in_first ? number++ % 8 != 0 : number++ % 8 == 0) {
      Free(block);
    } else {
      (in_first ? few : most).push_back(block);
    }
  }
  for (const Block& block : few) {
    const SlabUse use = blocks_.UseOf(block.bytes, kSize);
    EXPECT_LT(use.used * 4, use.regions);
    const Block moved = Allocate(kSize, 7);
    EXPECT_NE(slab_of(moved), first);
    most.push_back(moved);
    Free(block);
  }
  // What has been moved is in holes of the others: the first slab is gone.
  EXPECT_LT(blocks_.free_bytes(), 2 * kSlabBytes);
  for (const Block& block : most) Free(block);
}

TEST_F(FineBlocksTest, ThreadsShareThem) {
  std::vector<std::thread> threads;
  for (uint64_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([this, seed] {
      Random random(seed);
      std::vector<Block> held;
      for (int i = 0; i < 20'000; ++i) {
        if (held.size() < 100) {
          held.push_back(Allocate(257 + random.Below(256), static_cast<uint8_t>(seed)));
        } else {
          std::swap(held[random.Below(held.size())], held.back());
          Free(held.back());
          held.pop_back();
        }
      }
      for (const Block& block : held) Free(block);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(blocks_.free_bytes(), 16 * kSlabBytes);
}

}  // namespace
}  // namespace firn
