// docs/log-format.md shows a segment in hex. This is the program that writes it, and the proof that
// the page and the program agree.
#include <gtest/gtest.h>

#include <cctype>
#include <cstdio>
#include <fstream>
#include <string>

#include "support/memory_file.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/record.h"
#include "tiering/log/segment.h"

namespace firn::log {
namespace {

constexpr int64_t kNewYear = 1'767'225'600'000;  // 2026-01-01 00:00 UTC

std::string Write() {
  SegmentHeader header = {};
  header.segment_id = 1;
  header.as_of_lsn = 1;
  header.created_ms = kNewYear;
  header.directory_id = 0x0123456789abcdef;
  header.epoch = 1;
  header.capacity = 1 << 20;
  header.stream = static_cast<uint8_t>(Stream::kFresh);
  std::string bytes(kSegmentHeaderSize, '\0');
  EncodeSegmentHeader(header, bytes.data());

  // SET snow fresh PX 60000; APPEND snow ly; and after a sync a stamp.
  const RecordSpec specs[] = {{.kind = RecordKind::kImage,
                               .flags = kFlagNewKey,
                               .type = kDiskString,
                               .keyspace = 1,
                               .expiry_ms = kNewYear + 60'005,
                               .key = "snow",
                               .payload = "fresh"},
                              {.kind = RecordKind::kEffect,
                               .type = kDiskString,
                               .keyspace = 1,
                               .key = "snow",
                               .payload_prefix = "\x01",
                               .payload = "ly"},
                              {.kind = RecordKind::kStamp}};
  const uint64_t durable_lsns[] = {0, 0, 2};
  RecordContext context = {.epoch = 1};
  for (size_t i = 0; i < std::size(specs); ++i) {
    size_t at = bytes.size();
    bytes.resize(at + PaddedSize(EncodedSize(specs[i])));
    context.lsn = i + 1;
    context.durable_lsn = durable_lsns[i];
    context.wall_ms = kNewYear + 5 + static_cast<int64_t>(i);
    context.previous_crc = EncodeRecord(specs[i], context, bytes.data() + at);
  }
  return bytes;
}

// As `hexdump -C` without the text: 16 bytes a line; lines of zeros are left out.
std::string Dump(const std::string& bytes) {
  std::string dump;
  for (size_t at = 0; at < bytes.size(); at += 16) {
    std::string_view line = std::string_view(bytes).substr(at, 16);
    if (line.find_first_not_of('\0') == std::string_view::npos) continue;
    char text[32];
    std::snprintf(text, sizeof text, "%08zx", at);
    dump += text;
    for (size_t i = 0; i < line.size(); ++i) {
      std::snprintf(text, sizeof text, "%s%02x", i % 8 == 0 ? "  " : " ",
                    static_cast<uint8_t>(line[i]));
      dump += text;
    }
    dump += '\n';
  }
  return dump;
}

// The lines of the page that begin with an offset of eight hex digits and two spaces.
std::string DumpInDocs() {
  std::ifstream page(FIRN_TEST_DATA "/../../docs/log-format.md");
  std::string dump;
  for (std::string line; std::getline(page, line);) {
    if (line.size() < 10 || line.substr(8, 2) != "  ") continue;
    if (line.find_first_not_of("0123456789abcdef") != 8) continue;
    dump += line + '\n';
  }
  return dump;
}

TEST(WorkedExampleTest, PageShowsWhatIsWritten) { EXPECT_EQ(DumpInDocs(), Dump(Write())); }

TEST(WorkedExampleTest, IsReadBack) {
  std::string bytes = Write();
  uint64_t size = bytes.size();
  LogReader reader(
      {{.id = 1, .file = std::make_shared<test::MemoryFile>(bytes), .end_offset = size}},
      kSegmentHeaderSize, {});
  RecordView record;
  ASSERT_EQ(reader.Next(&record), LogReader::Outcome::kRecord);
  EXPECT_EQ(record.key, "snow");
  EXPECT_EQ(record.payload, "fresh");
  EXPECT_EQ(record.expiry_ms, kNewYear + 60'005);
  ASSERT_EQ(reader.Next(&record), LogReader::Outcome::kRecord);
  EXPECT_EQ(record.payload, "\x01ly");
  ASSERT_EQ(reader.Next(&record), LogReader::Outcome::kRecord);
  EXPECT_EQ(record.kind, RecordKind::kStamp);
  EXPECT_EQ(record.durable_lsn, 2u);
  EXPECT_EQ(reader.Next(&record), LogReader::Outcome::kEnd);
}

}  // namespace
}  // namespace firn::log
