#include "engine/page/page.h"

#include <gtest/gtest.h>

#include <string>

namespace firn {
namespace {

TEST(PageTest, HoldsACopyOfTheBytesGiven) {
  std::string bytes(100, 'x');
  Page* page = Page::CopyOf(bytes, 200);
  bytes.assign(100, 'y');
  EXPECT_EQ(page->bytes(), std::string(100, 'x'));
  EXPECT_EQ(page->size(), 100u);
  EXPECT_EQ(page->capacity(), 200u);
  EXPECT_FALSE(page->IsShared());
  EXPECT_GE(page->MemoryBytes(), 200u);
  page->Release();
}

TEST(PageTest, EmptyPageIsFine) {
  Page* page = Page::CopyOf({}, 0);
  EXPECT_EQ(page->bytes(), "");
  page = Page::MakeUnique(page, 3, 3);
  EXPECT_EQ(page->bytes(), std::string(3, '\0'));
  page->Release();
}

TEST(PageTest, MakeUniqueKeepsAnUnsharedPageWithRoom) {
  Page* page = Page::CopyOf("abc", 10);
  Page* same = Page::MakeUnique(page, 5, 8);
  EXPECT_EQ(same, page);
  EXPECT_EQ(same->bytes(), std::string_view("abc\0\0", 5));
  EXPECT_EQ(same->capacity(), 10u);
  same->Release();
}

TEST(PageTest, BytesThatCameBackAfterShrinkingAreZero) {
  Page* page = Page::CopyOf("abcdef", 6);
  page = Page::MakeUnique(page, 2, 2);
  EXPECT_EQ(page->bytes(), "ab");
  page = Page::MakeUnique(page, 4, 4);
  EXPECT_EQ(page->bytes(), std::string_view("ab\0\0", 4));
  page->Release();
}

TEST(PageTest, MakeUniqueGrowsAPageThatIsTooSmall) {
  Page* page = Page::CopyOf("abc", 3);
  page = Page::MakeUnique(page, 100'000, 1'000'000);
  EXPECT_EQ(page->capacity(), 1'000'000u);
  EXPECT_EQ(page->bytes(), "abc" + std::string(99'997, '\0'));
  page->Release();
}

TEST(PageTest, MakeUniqueCopiesASharedPageAndLeavesTheOtherHolderAlone) {
  Page* page = Page::CopyOf("abc", 100);
  page->Acquire();
  EXPECT_TRUE(page->IsShared());
  Page* copy = Page::MakeUnique(page, 4, 4);
  ASSERT_NE(copy, page);
  copy->data()[0] = 'X';
  EXPECT_EQ(copy->bytes(), std::string_view("Xbc\0", 4));
  EXPECT_EQ(page->bytes(), "abc");
  EXPECT_FALSE(page->IsShared());
  page->Release();
  copy->Release();
}

}  // namespace
}  // namespace firn
