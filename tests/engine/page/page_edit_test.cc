#include "engine/page/page_edit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

std::string RandomBytes(Random* random, uint64_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random->Next());
  return bytes;
}

TEST(PageEditTest, SplicesInPlaceMakeWhatSplicesWhileCopyingDoWhereverTheResultBegins) {
  Random random(5);
  constexpr uint64_t kRoom = 300;
  for (int i = 0; i < 20'000; ++i) {
    const std::string old = RandomBytes(&random, random.Below(200));
    std::vector<std::string> inserted(random.Below(5));
    std::vector<Splice> splices;
    uint64_t at = 0;
    for (std::string& bytes : inserted) {
      bytes = RandomBytes(&random, random.Below(3) == 0 ? 0 : random.Below(40));
      at += random.Below(old.size() - at + 1);
      const uint64_t removed = std::min(random.Below(40), old.size() - at);
      splices.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(removed), bytes});
      at += removed;
    }
    uint64_t size = 0;
    ASSERT_TRUE(CheckSplices(splices, old.size(), &size));
    std::string expected(size, '\0');
    CopySpliced(splices, old, expected.data());

    std::string buffer(kRoom + std::max<uint64_t>(size, old.size()) + kRoom, '.');
    std::copy(old.begin(), old.end(), buffer.begin() + kRoom);
    const int64_t shift = static_cast<int64_t>(random.Below(2 * kRoom)) - int64_t{kRoom};
    ApplySplices(splices, buffer.data() + kRoom, old.size(), shift);
    ASSERT_EQ(buffer.substr(static_cast<size_t>(int64_t{kRoom} + shift), size), expected);

    const Growth growth = GrowthOf(splices, old.size());
    ASSERT_EQ(growth.before + growth.behind,
              static_cast<int64_t>(size) - static_cast<int64_t>(old.size()));
  }
}

TEST(PageEditTest, GrowthIsToldBeforeAndBehindTheLargestPieceThatStays) {
  const Splice push_front[] = {{2, 2, "nn"}, {6, 0, "l"}, {20, 0, "element"}};
  EXPECT_EQ(GrowthOf(push_front, 100).before, 8);
  EXPECT_EQ(GrowthOf(push_front, 100).behind, 0);
  const Splice pop_back[] = {{2, 2, "nn"}, {19, 1, {}}, {90, 10, {}}};
  EXPECT_EQ(GrowthOf(pop_back, 100).before, -1);
  EXPECT_EQ(GrowthOf(pop_back, 100).behind, -10);
  EXPECT_EQ(GrowthOf({}, 100).before, 0);
}

}  // namespace
}  // namespace firn
