#include "engine/keyspace/entry.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

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
