#include "engine/keyspace/entry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/random.h"

namespace firn {
namespace {

using Kind = Entry::Kind;

std::string RandomBytes(Random* random, uint64_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random->Next());
  return bytes;
}

TEST(EntryTest, EveryShapeComesBackAsItWasBuilt) {
  Random random(1);
  const uint64_t sizes[] = {0, 1, 17, 64, 127, 128, 300, 16383, 16384, 16385, 100'000};
  for (uint64_t key_size : {0, 1, 17, 127, 128, 20'000}) {
    for (uint64_t value_size : sizes) {
      for (int64_t expiry_ms : {Entry::kNoExpiry, int64_t{0}, int64_t{1'700'000'000'123}}) {
        const std::string key = RandomBytes(&random, key_size);
        const std::string value = RandomBytes(&random, value_size);
        const uint64_t position = random.Below(uint64_t{1} << 40);
        const auto access = static_cast<uint32_t>(random.Below(1 << 24));
        Entry* entry = Entry::Create({.type = ValueType::kHash,
                                      .key = key,
                                      .value = value,
                                      .expiry_ms = expiry_ms,
                                      .access = access,
                                      .position = position,
                                      .flags = Entry::kDirty | Entry::kPinned});
        EXPECT_EQ(entry->kind(), Kind::kHot);
        EXPECT_EQ(entry->type(), ValueType::kHash);
        EXPECT_EQ(entry->key(), key);
        EXPECT_EQ(entry->value(), value);
        EXPECT_EQ(entry->StringLength(), value_size);
        EXPECT_EQ(entry->expiry_ms(), expiry_ms);
        EXPECT_EQ(entry->Has(Entry::kHasExpiry), expiry_ms != Entry::kNoExpiry);
        EXPECT_EQ(entry->Has(Entry::kPaged), value_size > Entry::kMaxInlineValueSize);
        EXPECT_EQ(entry->access(), access);
        EXPECT_EQ(entry->position(), position);
        EXPECT_TRUE(entry->Has(Entry::kDirty) && entry->Has(Entry::kPinned));
        EXPECT_FALSE(entry->Has(Entry::kRaw) || entry->Has(Entry::kBlind));
        EXPECT_GE(entry->MemoryBytes(), key_size + value_size + 10);
        Entry::Free(entry);
      }
    }
  }
}

TEST(EntryTest, IntegerIsKeptAsOneAndItsLengthIsThatOfItsDigits) {
  for (int64_t integer :
       {int64_t{0}, int64_t{-1}, int64_t{9}, int64_t{10}, int64_t{-12345},
        std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
    Entry* entry =
        Entry::Create({.key = "counter", .is_integer = true, .integer = integer, .expiry_ms = 77});
    EXPECT_TRUE(entry->Has(Entry::kInteger));
    EXPECT_EQ(entry->integer(), integer);
    EXPECT_EQ(entry->StringLength(), std::to_string(integer).size());
    entry->set_integer(5);
    EXPECT_EQ(entry->integer(), 5);
    EXPECT_EQ(entry->key(), "counter");
    EXPECT_EQ(entry->expiry_ms(), 77);
    Entry::Free(entry);
  }
}

TEST(EntryTest, StubsAndTombstonesHaveNoValue) {
  for (uint32_t size : {0u, 48u, 0xffffffffu}) {
    Entry* stub = Entry::Create({.kind = Kind::kStub,
                                 .key = "cold",
                                 .expiry_ms = 5,
                                 .position = 0xffffffffff,
                                 .stub_size = size});
    EXPECT_EQ(stub->kind(), Kind::kStub);
    EXPECT_EQ(stub->key(), "cold");
    EXPECT_EQ(stub->stub_size(), size);
    EXPECT_EQ(stub->position(), 0xffffffffffu);
    EXPECT_EQ(stub->expiry_ms(), 5);
    Entry::Free(stub);
  }
  Entry* tombstone =
      Entry::Create({.kind = Kind::kTombstone, .type = ValueType::kNone, .key = "x"});
  EXPECT_EQ(tombstone->kind(), Kind::kTombstone);
  EXPECT_EQ(tombstone->key(), "x");
  Entry::Free(tombstone);
}

TEST(EntryTest, HeaderFieldsChangeIndependently) {
  Entry* entry =
      Entry::Create({.type = ValueType::kStream, .key = "key", .value = "value", .expiry_ms = 1});
  entry->set_access(0xabcdef);
  entry->set_position(0x123456789a);
  entry->set_referenced(true);
  entry->set_expiry_ms(std::numeric_limits<int64_t>::max());
  entry->Set(Entry::kTransient);
  const Splice splice{0, 5, "VALUE"};
  EXPECT_TRUE(entry->SpliceInPlace({&splice, 1}, 5));
  EXPECT_EQ(entry->access(), 0xabcdefu);
  EXPECT_EQ(entry->position(), 0x123456789au);
  EXPECT_EQ(entry->expiry_ms(), std::numeric_limits<int64_t>::max());
  EXPECT_TRUE(entry->referenced());
  EXPECT_EQ(entry->kind(), Kind::kHot);
  EXPECT_EQ(entry->type(), ValueType::kStream);
  EXPECT_EQ(entry->key(), "key");
  EXPECT_EQ(entry->value(), "VALUE");
  entry->set_referenced(false);
  entry->Clear(Entry::kTransient);
  entry->set_access(0);
  EXPECT_FALSE(entry->referenced() || entry->Has(Entry::kTransient));
  EXPECT_EQ(entry->position(), 0x123456789au);
  Entry::Free(entry);
}

TEST(EntryTest, IsOverwrittenInPlaceByWhatTakesTheSameBlock) {
  Entry* entry = Entry::Create({.key = "key",
                                .value = "value",
                                .expiry_ms = 7,
                                .flags = Entry::kDirty | Entry::kTransient | Entry::kPinned});
  entry->set_referenced(true);
  const Entry::Spec spec{.key = "key",
                         .value = "VALUE",
                         .expiry_ms = 9,
                         .access = 5,
                         .position = 6,
                         .flags = Entry::kRaw};
  ASSERT_TRUE(entry->Overwrite(spec));
  EXPECT_EQ(entry->key(), "key");
  EXPECT_EQ(entry->value(), "VALUE");
  EXPECT_EQ(entry->expiry_ms(), 9);
  EXPECT_EQ(entry->access(), 5u);
  EXPECT_EQ(entry->position(), 6u);
  EXPECT_FALSE(entry->referenced());
  EXPECT_EQ(entry->flags(), Entry::kHasExpiry | Entry::kRaw | Entry::kPinned);
  Entry::Free(entry);

  entry = Entry::Create({.key = "key", .is_integer = true, .integer = 1});
  ASSERT_TRUE(entry->Overwrite({.key = "key", .is_integer = true, .integer = -2}));
  EXPECT_EQ(entry->integer(), -2);
  Entry::Free(entry);
}

TEST(EntryTest, IsNotOverwrittenByWhatTakesAnotherBlock) {
  const std::string large(Entry::kMaxInlineValueSize + 1, 'x');
  Entry* entries[] = {Entry::Create({.key = "key", .value = "value"}),
                      Entry::Create({.kind = Kind::kStub, .key = "key"}),
                      Entry::Create({.key = "key", .value = large}),
                      Entry::Create({.key = "key", .is_integer = true, .integer = 1})};
  const Entry::Spec others[] = {
      {.key = "key", .value = "longer value"},
      {.type = ValueType::kList, .key = "key", .value = "VALUE"},
      {.key = "key", .value = "VALUE", .expiry_ms = 1},
      {.key = "key", .value = large},
      {.kind = Kind::kTombstone, .key = "key"},
  };
  for (const Entry::Spec& other : others) {
    for (Entry* entry : entries) {
      EXPECT_FALSE(entry->Overwrite(other));
      EXPECT_FALSE(entry->Has(Entry::kHasExpiry));
    }
  }
  EXPECT_EQ(entries[0]->value(), "value");
  EXPECT_EQ(entries[2]->value(), large);
  EXPECT_EQ(entries[3]->integer(), 1);
  for (Entry* entry : entries) Entry::Free(entry);
}

TEST(EntryTest, TakesOverThePageGivenAndSwapsIt) {
  Page* page = Page::CopyOf("short", 100);
  Entry* entry = Entry::Create({.key = "key", .page = page});
  EXPECT_EQ(entry->page(), page);
  EXPECT_EQ(entry->value(), "short");
  page->Acquire();
  EXPECT_EQ(entry->exchange_page(Page::CopyOf("other", 5)), page);
  EXPECT_EQ(entry->value(), "other");
  page->Release();
  page->Release();
  Entry::Free(entry);
}

// What a store does with an edit: in place, or into another block. Tells which.
bool Edit(Entry** entry, std::string* expected, const std::vector<Splice>& splices) {
  uint64_t size = 0;
  EXPECT_TRUE(CheckSplices(splices, expected->size(), &size));
  std::string changed(size, '\0');
  CopySpliced(splices, *expected, changed.data());
  *expected = changed;
  if ((*entry)->SpliceInPlace(splices, size)) return true;
  Entry* spliced = (*entry)->Spliced(splices, size);
  Entry::Free(*entry);
  *entry = spliced;
  return false;
}

void ExpectIs(const Entry* entry, std::string_view key, std::string_view value) {
  ASSERT_EQ(entry->kind(), Kind::kHot);
  ASSERT_EQ(entry->key(), key);
  ASSERT_EQ(entry->value(), value);
  ASSERT_GE(entry->MemoryBytes(), entry->BlockSize());
}

TEST(EntryTest, AValueThatGrowsAndShrinksAnywhereIsWhatItShouldBe) {
  Random random(11);
  for (int64_t expiry_ms : {Entry::kNoExpiry, int64_t{1'700'000'000'000}}) {
    const std::string key = RandomBytes(&random, 1 + random.Below(40));
    std::string expected = RandomBytes(&random, 600);
    Entry* entry = Entry::Create(
        {.type = ValueType::kList, .key = key, .value = expected, .expiry_ms = expiry_ms});
    entry->set_referenced(true);
    for (int i = 0; i < 20'000; ++i) {
      // Grows and shrinks by turns, through all forms that an entry has.
      const bool grows = i / 1'000 % 2 == 0;
      std::vector<std::string> inserted(1 + random.Below(3));
      std::vector<Splice> splices;
      uint64_t at = 0;
      for (std::string& bytes : inserted) {
        bytes = RandomBytes(&random, random.Below(grows ? 60 : 20));
        const uint64_t left = expected.size() - at;
        at += random.Below(3) == 0 ? 0 : random.Below(left + 1);
        const uint64_t removed = std::min(random.Below(grows ? 20 : 70), expected.size() - at);
        splices.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(removed), bytes});
        at += removed;
      }
      Edit(&entry, &expected, splices);
      ExpectIs(entry, key, expected);
      ASSERT_EQ(entry->expiry_ms(), expiry_ms);
      ASSERT_EQ(entry->type(), ValueType::kList);
      ASSERT_TRUE(entry->referenced());
      if (random.Below(50) == 0) {
        Entry* copy = entry->CopyBlock();
        Entry::FreeCopiedBlock(entry);
        entry = copy;
        ExpectIs(entry, key, expected);
      }
      if (random.Below(200) == 0) {
        Entry* copy = entry->WithExpiry(expiry_ms);
        Entry::Free(entry);
        entry = copy;
        ExpectIs(entry, key, expected);
      }
    }
    Entry::Free(entry);
  }
}

// As an edit leaves it that took another block.
Entry* LooseList(std::string_view key, std::string_view value) {
  Entry* entry = Entry::Create({.type = ValueType::kList, .key = key, .value = value});
  const Splice same{0, 1, value.substr(0, 1)};
  Entry* loose = entry->Spliced({&same, 1}, value.size());
  Entry::Free(entry);
  return loose;
}

TEST(EntryTest, WhatIsAddedAtTheFrontMovesLittleWhileTheBlockHasRoom) {
  const std::string row(33, 'r');
  std::string expected(2'100, 'v');
  Entry* entry = LooseList("key", expected);
  // Where the middle of the value lies tells whether it was moved.
  uint32_t moved = 0;
  uint32_t blocks = 0;
  for (int i = 0; i < 10; ++i) {
    const char* middle = entry->value().data() + entry->value().size() - 1'000;
    if (!Edit(&entry, &expected, {{0, 2, "nn"}, {20, 0, row}})) {
      ++blocks;
    } else if (entry->value().data() + entry->value().size() - 1'000 != middle) {
      ++moved;
    }
    ExpectIs(entry, "key", expected);
  }
  EXPECT_LE(blocks, 1u);
  EXPECT_LE(moved, 1u);
  Entry::Free(entry);
}

TEST(EntryTest, WhatIsTakenFromTheEndMovesLittle) {
  std::string expected(2'600, 'v');
  Entry* entry = LooseList("key", expected);
  for (int i = 0; i < 40; ++i) {
    const char* middle = entry->value().data() + 1'000;
    const auto last = static_cast<uint32_t>(expected.size() - 32);
    if (Edit(&entry, &expected, {{0, 2, "nn"}, {70, 1, {}}, {last, 32, {}}})) {
      ASSERT_EQ(entry->value().data() + 999, middle);
    }
    ExpectIs(entry, "key", expected);
  }
  Entry::Free(entry);
}

#ifdef FIRN_JEMALLOC
TEST(EntryTest, RoomToMoveInTakesNoMemory) {
  for (uint64_t size = 400; size < 3'000; size += 7) {
    const std::string value(size, 'v');
    Entry* entry = Entry::Create({.type = ValueType::kList, .key = "key", .value = value});
    const Splice splice{0, 1, {}};
    Entry* spliced = entry->Spliced({&splice, 1}, size - 1);
    Entry* exact =
        Entry::Create({.type = ValueType::kList, .key = "key", .value = spliced->value()});
    EXPECT_EQ(spliced->MemoryBytes(), exact->MemoryBytes()) << size;
    for (Entry* each : {entry, spliced, exact}) Entry::Free(each);
  }
}
#endif

#ifdef FIRN_JEMALLOC
TEST(EntryTest, KeyOf17BytesAndValueOf64TakeASizeClassOf96) {
  Entry* entry =
      Entry::Create({.key = std::string(17, 'k'), .value = std::string(64, 'v'), .access = 1});
  EXPECT_EQ(entry->MemoryBytes(), 96u);
  Entry::Free(entry);
}
#endif

}  // namespace
}  // namespace firn
