#include "tiering/index_meta.h"

#include <gtest/gtest.h>

#include <string>

namespace firn {
namespace {

IndexMeta Sample() {
  return {.replay_position = {.segment_id = 0x1234567890, .offset = 0xabcdef0},
          .replay_lsn = 77,
          .replay_crc = 0xdeadbeef,
          .wall_ms = 1'700'000'000'123,
          .counts_lsn = 76,
          .counts_exact = false,
          .next_keyspace_id = 9,
          .keyspaces = {{.id = 1, .db = 0, .keys = 5, .expiring = 2},
                        {.id = 8, .db = 15, .keys = 1ull << 40, .expiring = 0}}};
}

TEST(IndexMetaTest, ComesBackWithEveryField) {
  auto meta = DecodeIndexMeta(EncodeIndexMeta(Sample()));
  ASSERT_TRUE(meta.has_value()) << meta.error().message();
  const IndexMeta want = Sample();
  EXPECT_EQ(meta->replay_position, want.replay_position);
  EXPECT_EQ(meta->replay_lsn, want.replay_lsn);
  EXPECT_EQ(meta->replay_crc, want.replay_crc);
  EXPECT_EQ(meta->wall_ms, want.wall_ms);
  EXPECT_EQ(meta->counts_lsn, want.counts_lsn);
  EXPECT_EQ(meta->counts_exact, want.counts_exact);
  EXPECT_EQ(meta->next_keyspace_id, want.next_keyspace_id);
  ASSERT_EQ(meta->keyspaces.size(), 2u);
  EXPECT_EQ(meta->keyspaces[1].id, 8u);
  EXPECT_EQ(meta->keyspaces[1].db, 15u);
  EXPECT_EQ(meta->keyspaces[1].keys, 1ull << 40);
  EXPECT_EQ(meta->keyspaces[0].expiring, 2u);
}

TEST(IndexMetaTest, ManyKeyspacesComeBack) {
  IndexMeta meta;
  for (uint32_t i = 0; i < 1000; ++i) meta.keyspaces.push_back({.id = i + 1, .db = i});
  auto decoded = DecodeIndexMeta(EncodeIndexMeta(meta));
  ASSERT_TRUE(decoded.has_value());
  ASSERT_EQ(decoded->keyspaces.size(), 1000u);
  EXPECT_EQ(decoded->keyspaces[999].id, 1000u);
}

TEST(IndexMetaTest, EveryTruncationIsRefused) {
  const std::string bytes = EncodeIndexMeta(Sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    auto meta = DecodeIndexMeta(std::string_view(bytes).substr(0, size));
    ASSERT_FALSE(meta.has_value()) << size;
    EXPECT_EQ(meta.error().code(), StatusCode::kCorruption);
  }
}

TEST(IndexMetaTest, TrailingBytesAndOtherVersionsAreRefused) {
  std::string bytes = EncodeIndexMeta(Sample());
  EXPECT_FALSE(DecodeIndexMeta(bytes + '\0').has_value());
  for (int version : {0, 2, 255}) {
    bytes[0] = static_cast<char>(version);
    EXPECT_FALSE(DecodeIndexMeta(bytes).has_value()) << version;
  }
}

// The bytes have no checksum of their own: what is decoded may differ, but it encodes to as many
// bytes as were given, so that nothing was read or made up beyond them.
TEST(IndexMetaTest, MutatedBytesAreRefusedOrDecodedWithinTheirLength) {
  const std::string bytes = EncodeIndexMeta(Sample());
  for (size_t at = 0; at < bytes.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string mutated = bytes;
      mutated[at] = static_cast<char>(value);
      auto meta = DecodeIndexMeta(mutated);
      if (!meta) continue;
      ASSERT_EQ(EncodeIndexMeta(*meta).size(), bytes.size()) << at;
    }
  }
}

TEST(IndexMetaTest, AHugeCountOfKeyspacesIsRefusedWithoutReservingForIt) {
  IndexMeta empty;
  std::string bytes = EncodeIndexMeta(empty);
  bytes.pop_back();
  for (const char* count : {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\x3f"}) {
    EXPECT_FALSE(DecodeIndexMeta(bytes + count).has_value());
  }
}

TEST(KeyspaceNamesTest, ComeBack) {
  const KeyspaceNames names = {.next_id = 12, .id_of_db = {1, 0, 0, 11}};
  auto decoded = DecodeKeyspaceNames(EncodeKeyspaceNames(names));
  ASSERT_TRUE(decoded.has_value());
  EXPECT_EQ(decoded->next_id, 12u);
  EXPECT_EQ(decoded->id_of_db, names.id_of_db);
  EXPECT_TRUE(DecodeKeyspaceNames(EncodeKeyspaceNames({}))->id_of_db.empty());
}

TEST(KeyspaceNamesTest, TruncatedAndLongerBytesAreRefused) {
  const std::string bytes = EncodeKeyspaceNames({.next_id = 12, .id_of_db = {1, 0, 0, 11}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeKeyspaceNames(std::string_view(bytes).substr(0, size)).has_value()) << size;
  }
  EXPECT_FALSE(DecodeKeyspaceNames(bytes + '\0').has_value());
  EXPECT_FALSE(DecodeKeyspaceNames(bytes.substr(0, 4) + "\xff\xff\xff\xff\x0f").has_value());
}

}  // namespace
}  // namespace firn
