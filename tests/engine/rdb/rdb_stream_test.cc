// Streams in dumps: written, read back into a value, and damaged.
#include "engine/rdb/rdb_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/stream_groups.h"
#include "engine/types/stream_piece.h"
#include "tests/support/memory_page_space.h"
#include "tests/support/rdb_text_builder.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RdbTextBuilder;

constexpr StreamLimits kSmallNodes = {.node_max_bytes = 4096, .node_max_entries = 4};

// Puts what is read into a value.
class ValueBuilder : public RdbTextBuilder {
 public:
  explicit ValueBuilder(MemoryPageSpace* pages) : pages_(*pages) {}
  Status Stream(const StreamPiece& piece) override {
    EXPECT_TRUE(AddStreamPiece(&pages_, piece));
    return RdbTextBuilder::Stream(piece);
  }

 private:
  MemoryPageSpace& pages_;
};

void Append(StreamValue* stream, StreamId id, std::vector<std::string_view> fields) {
  stream->Append(id, fields, kSmallNodes);
}

// Entries with shared and own fields, deleted ones in all places, two groups.
void MakeStream(MemoryPageSpace* pages, int entries) {
  StreamValue stream(pages);
  for (int i = 0; i < entries; ++i) {
    const auto number = static_cast<uint64_t>(i);
    const std::string value = std::to_string(i * 1001);
    if (i % 5 == 3) {
      Append(&stream, {1000 + number * 37, number % 3}, {"name", "text" + value, "1", "-5"});
    } else {
      Append(&stream, {1000 + number * 37, number % 3}, {"a", value, "b", "x"});
    }
  }
  for (int i = 0; i < entries; i += 3) {
    const auto number = static_cast<uint64_t>(i);
    EXPECT_TRUE(stream.Remove({1000 + number * 37, number % 3}));
  }
  stream.SetMaxDeletedId({1000, 0});
  StreamGroups groups(pages);
  for (const char* name : {"g1", "another"}) {
    StreamGroups::Group group{.last_id = {1200, 0}, .entries_read = 3, .pending = 4};
    groups.CreateGroup(name, &group);
    for (const char* owner : {"alice", "bob", "idle"}) {
      StreamGroups::Consumer consumer{
          .seen_ms = 5000, .active_ms = 5000, .pending = owner[0] == 'i' ? 0u : 2u};
      groups.CreateConsumer(owner, &group, &consumer);
    }
    groups.Store(name, group);
    for (uint32_t i = 0; i < 4; ++i) {
      groups.Put(group,
                 {.id = {1000 + i * 37, i % 3},
                  .delivered_ms = 4000 + i,
                  .deliveries = i + 1,
                  .consumer = 1 + i % 2},
                 nullptr);
    }
  }
}

std::string Payload(MemoryPageSpace* pages) {
  RdbStringSink sink;
  RdbWriter writer(&sink, {.compress = false, .now_ms = 0});
  EXPECT_EQ(writer.CollectionPayload(ValueType::kStream, pages), RdbWriter::Written::kYes);
  std::string payload = sink.Take();
  payload.resize(payload.size() - 10);
  return payload;
}

std::string Read(const std::string& bytes) {
  RdbStringSource source(bytes);
  RdbTextBuilder builder;
  const Status status = RdbReader(&source, &builder).ReadValue();
  return status.ok() ? builder.text() : status.message();
}

TEST(RdbStreams, ComeBackAsTheyWere) {
  for (int entries : {1, 2, 3, 4, 7, 60, 3000}) {
    MemoryPageSpace pages;
    MakeStream(&pages, entries);
    const std::string payload = Payload(&pages);
    RdbStringSource source(payload);
    MemoryPageSpace copy;
    ValueBuilder builder(&copy);
    const Status status = RdbReader(&source, &builder).ReadValue();
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(Payload(&copy), payload);
    EXPECT_EQ(StreamValue(&copy).length(), StreamValue(&pages).length());
    StreamId first[2];
    EXPECT_TRUE(StreamValue(&copy).FirstId(&first[0]) && StreamValue(&pages).FirstId(&first[1]));
    EXPECT_EQ(first[0], first[1]);
  }
}

TEST(RdbStreams, NodesKeepTheSizeThatDeletedEntriesGaveThem) {
  for (size_t length = 0; length < 200; ++length) {
    for (size_t fields : {1u, 2u, 3u}) {
      MemoryPageSpace pages;
      StreamValue stream(&pages);
      const std::string value(length, 'v');
      for (uint64_t id = 1; id <= 4; ++id) {
        std::vector<std::string_view> texts;
        for (size_t i = 0; i < fields; ++i) texts.insert(texts.end(), {"f", value});
        stream.Append({id, 0}, texts, {});
      }
      stream.Remove({2, 0});
      if (length % 2 == 0) stream.Remove({4, 0});
      uint64_t bytes = 0;
      stream.ForEachPage([&](const StreamPage& page) { bytes = page.ListpackBytes(); });
      const std::string text = Read(Payload(&pages));
      const std::string expected = (length % 2 == 0 ? " 2 " : " 1 ") + std::to_string(bytes);
      EXPECT_NE(text.find(expected + " 4-0"), std::string::npos)
          << length << " " << fields << expected << "\n"
          << text;
    }
  }
}

TEST(RdbStreams, MayBeEmpty) {
  MemoryPageSpace pages;
  StreamValue(&pages).Create();
  const std::string text = Read(Payload(&pages));
  EXPECT_EQ(text, "key stream \n  state last=0-0 first=0-0 deleted=0-0 0\n");
}

TEST(RdbStreams, DamagedOnesAreAnErrorOrAValue) {
  MemoryPageSpace pages;
  MakeStream(&pages, 7);
  const std::string payload = Payload(&pages);
  for (size_t at = 0; at < payload.size(); ++at) {
    for (int byte = 0; byte < 256; byte += at % 8 == 0 ? 1 : 13) {
      std::string damaged = payload;
      damaged[at] = static_cast<char>(byte);
      RdbStringSource source(damaged);
      MemoryPageSpace copy;
      ValueBuilder builder(&copy);
      if (!RdbReader(&source, &builder).ReadValue().ok()) continue;
      EXPECT_EQ(builder.text().find("INVALID"), std::string::npos);
      // What was accepted can be used and dumped.
      if (copy.exists() && builder.text().starts_with("key stream")) Payload(&copy);
    }
    EXPECT_TRUE(Read(payload.substr(0, at)).starts_with("offset ")) << at;
  }
}

// --- listpacks

std::string Node(std::vector<int64_t> numbers) {
  ListpackBuilder block;
  for (int64_t number : numbers) block.AddInteger(number);
  std::string page;
  const Status status = StreamPageOfListpack({5, 5}, block.Finish(), &page);
  if (status.ok()) {
    EXPECT_TRUE(StreamPage::Validate(page));
  }
  return status.ok() ? "ok" : status.message();
}

TEST(RdbStreams, NodesAreChecked) {
  EXPECT_EQ(Node({1, 0, 1, 7, 0, 2, 0, 0, 8, 4}), "ok");
  EXPECT_EQ(Node({1, 1, 1, 7, 0, 3, 0, 0, 8, 4, 2, 1, 0, 8, 4}), "ok");
  EXPECT_TRUE(Node({}).starts_with("an end too early"));
  EXPECT_TRUE(Node({-1, 0, 1, 7, 0}).starts_with("an impossible count"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 1}).starts_with("a master entry without an end"));
  EXPECT_TRUE(Node({1, 0, 9, 7, 0}).starts_with("an end too early"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 0, 4, 0, 0, 8, 4}).starts_with("an entry of an unknown kind"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 0, 2, 0, 0, 8, 5}).starts_with("an entry with a wrong number"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 0, 2, -1, 0, 8, 4}).starts_with("an entry before its node"));
  EXPECT_TRUE(Node({2, 0, 1, 7, 0, 2, 1, 0, 8, 4, 2, 1, 0, 8, 4}).starts_with("entries out of"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 0, 3, 0, 0, 8, 4}).starts_with("a wrong number of entries"));
  EXPECT_TRUE(Node({1, 0, 1, 7, 0, 2, 0, 0, 8, 4, 1}).starts_with("more than its entries"));
}

}  // namespace
}  // namespace firn
