#include "tiering/io/read_buffers.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "tiering/io/file.h"

namespace firn::io {
namespace {

TEST(ReadBuffersTest, GivesAlignedMemoryOfTheSizeAskedFor) {
  ReadBuffers buffers;
  for (uint32_t size : {1u, 4096u, 16'384u, 16'385u, 100'000u, 131'072u, 131'073u, 1'000'000u}) {
    for (int round = 0; round < 2; ++round) {
      char* buffer = buffers.Take(kDirectAlignment, size);
      ASSERT_NE(buffer, nullptr);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer) % kDirectAlignment, 0u);
      std::memset(buffer, 1, size);
      buffers.GiveBack(buffer);
    }
  }
}

TEST(ReadBuffersTest, GivesWhatWasGivenBackToWhoNeedsAboutAsMuch) {
  ReadBuffers buffers;
  char* buffer = buffers.Take(kDirectAlignment, 40'000);
  buffers.GiveBack(buffer);
  char* larger = buffers.Take(kDirectAlignment, 60'000);
  EXPECT_NE(larger, buffer);
  EXPECT_EQ(buffers.Take(kDirectAlignment, 45'000), buffer);
  buffers.GiveBack(buffer);
  buffers.GiveBack(larger);
  buffers.GiveBack(nullptr);
}

TEST(ReadBuffersTest, KeepsABoundedAmountAndNothingOnceCleared) {
  ReadBuffers buffers;
  std::vector<char*> taken;
  for (int i = 0; i < 200; ++i) taken.push_back(buffers.Take(kDirectAlignment, 65'536));
  for (char* buffer : taken) buffers.GiveBack(buffer);
  EXPECT_LE(buffers.kept_bytes(), 4u << 20);
  EXPECT_GT(buffers.kept_bytes(), 3u << 20);
  buffers.Clear();
  EXPECT_EQ(buffers.kept_bytes(), 0u);
}

}  // namespace
}  // namespace firn::io
