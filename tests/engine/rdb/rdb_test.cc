// Dumps written and read back: every form of every type, and what damage does to them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/rdb/crc64.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/rdb/rdb_writer.h"
#include "engine/types/hash_value.h"
#include "engine/types/list_value.h"
#include "engine/types/set_value.h"
#include "engine/types/zset_value.h"
#include "tests/support/memory_page_space.h"
#include "tests/support/rdb_text_builder.h"

namespace firn {
namespace {

using test::MemoryPageSpace;
using test::RdbTextBuilder;

constexpr HashSecret kSecret = {1, 2};
constexpr int64_t kNow = 1'000'000;

// --- values

using Strings = std::vector<std::string>;

void MakeList(MemoryPageSpace* pages, const Strings& elements) {
  for (const std::string& element : elements) {
    const std::string_view view = element;
    ASSERT_TRUE(ListValue(pages, {}).Push(ListEnd::kTail, {&view, 1}));
  }
}

void MakeSet(MemoryPageSpace* pages, const Strings& members) {
  SetValue set(pages, kSecret);
  const SetLimits limits;
  for (const std::string& member : members) {
    SetValue::Place place;
    set.Announce({.first = member}, limits);
    ASSERT_TRUE(set.Find(member, &place));
    set.Add(place, member, limits);
  }
}

void MakeZset(MemoryPageSpace* pages, const std::vector<ZsetElement>& elements) {
  ZsetValue zset(pages, kSecret);
  for (const ZsetElement& element : elements) zset.Add(element, {}, {});
}

struct TestField {
  std::string name;
  std::string value;
  int64_t expiry_ms = -1;
};

void MakeHash(MemoryPageSpace* pages, const std::vector<TestField>& fields) {
  HashValue hash(pages, kSecret, 0);
  for (const TestField& field : fields) {
    HashValue::Field found;
    ASSERT_NE(hash.Find(field.name, &found), HashValue::Lookup::kMissing);
    hash.Set(found, {.name = field.name, .value = field.value, .expiry_ms = field.expiry_ms}, {});
  }
}

Strings Numbered(const std::string& prefix, int count) {
  Strings strings;
  for (int i = 0; i < count; ++i) strings.push_back(prefix + std::to_string(i));
  return strings;
}

// --- dumping and reading

std::string Payload(ValueType type, MemoryPageSpace* pages, bool compress = true) {
  RdbStringSink sink;
  RdbWriter writer(&sink, {.compress = compress, .now_ms = kNow});
  EXPECT_EQ(writer.CollectionPayload(type, pages), RdbWriter::Written::kYes);
  return sink.Take();
}

std::string StringPayload(std::string_view value) {
  RdbStringSink sink;
  RdbWriter(&sink, {}).StringPayload(value);
  return sink.Take();
}

// The text of what a payload holds, or the error.
std::string ReadPayload(const std::string& payload) {
  const auto body = RdbReader::CheckPayload(payload);
  if (!body) return "footer";
  RdbStringSource source(*body);
  RdbTextBuilder builder;
  const Status status = RdbReader(&source, &builder).ReadValue();
  return status.ok() ? builder.text() : status.message();
}

// A value in the raw, without its footer.
std::string ReadRaw(const std::string& bytes) {
  RdbStringSource source(bytes);
  RdbTextBuilder builder;
  const Status status = RdbReader(&source, &builder).ReadValue();
  return status.ok() ? builder.text() : status.message();
}

std::string ReadFile(const std::string& bytes, RdbReadOptions options = {}) {
  RdbStringSource source(bytes);
  RdbTextBuilder builder;
  const Status status = RdbReader(&source, &builder, options).ReadFile();
  return status.ok() ? builder.text() : status.message();
}

Strings Lines(const std::string& text) {
  Strings lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

Strings SortedLines(const std::string& text) {
  Strings lines = Lines(text);
  std::sort(lines.begin(), lines.end());
  return lines;
}

// Bytes of a value of some type whose one string is `block`.
std::string Block(RdbType type, const std::string& block) {
  std::string bytes(1, static_cast<char>(type));
  EXPECT_LT(block.size(), 64u);
  bytes += static_cast<char>(block.size());
  return bytes + block;
}

TEST(Crc64, GivesTheChecksumOfTheStandardText) {
  EXPECT_EQ(Crc64(0, "123456789"), 0xe9c6d914c4b8d9caull);
  EXPECT_EQ(Crc64(Crc64(0, "1234"), "56789"), 0xe9c6d914c4b8d9caull);
}

TEST(Crc64, ZerosCountAsIfTheyWereThere) {
  for (uint64_t zeros : {0, 1, 7, 1000}) {
    EXPECT_EQ(Crc64Zeros(Crc64(0, "abc"), zeros),
              Crc64(0, std::string("abc") + std::string(zeros, '\0')));
  }
}

// --- strings

TEST(RdbStrings, ComeBackAsTheyWere) {
  for (const std::string& value :
       {std::string(), std::string("x"), std::string("12"), std::string("-129"),
        std::string("70000"), std::string("-2147483648"), std::string("2147483648"),
        std::string("012"), std::string(1000, 'z'), std::string(100'000, 'y'),
        std::string(63, '\0')}) {
    EXPECT_EQ(ReadPayload(StringPayload(value)), "key string \n  string " + value + "\n");
  }
}

TEST(RdbStrings, IntegersAndRepetitionsAreShort) {
  // Type, form, value, version, checksum.
  EXPECT_EQ(StringPayload("12").size(), 1 + 2 + 10u);
  EXPECT_EQ(StringPayload("-300").size(), 1 + 3 + 10u);
  EXPECT_EQ(StringPayload("100000").size(), 1 + 5 + 10u);
  EXPECT_LT(StringPayload(std::string(10'000, 'a')).size(), 300u);
}

TEST(RdbStrings, OnesThatCompressAreFoundAmongOthers) {
  constexpr size_t kBytes = 1000;
  constexpr size_t kShort = 60;
  std::mt19937_64 random(1);
  RdbStringSink sink;
  RdbWriter writer(&sink, {});
  const auto add = [&](bool compresses) {
    std::string value(kBytes, 'x');
    if (!compresses) std::ranges::generate(value, [&] { return static_cast<char>(random()); });
    const uint64_t before = sink.bytes();
    writer.StringKey({.key = "key"}, value);
    return sink.bytes() - before < kShort;
  };
  // Each of a few among many,
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(add(i % 20 == 0), i % 20 == 0) << i;
  // and soon after nothing else has come for long.
  for (int i = 0; i < 1000; ++i) EXPECT_FALSE(add(false));
  int found = 0;
  for (int i = 0; i < 100; ++i) found += add(true) ? 1 : 0;
  EXPECT_GE(found, 84);
}

TEST(RdbStrings, PayloadIsThatOfRedis) {
  // SET k 10; DUMP k, in Redis 7.0.
  EXPECT_EQ(StringPayload("10").substr(0, 5), std::string("\x00\xc0\x0a\x0a\x00", 5));
}

// --- collections

TEST(RdbCollections, ListsComeBackInEveryForm) {
  for (const Strings& elements :
       {Strings{"a"}, Strings{"1", "-5000", "abc", std::string(100, 'x'), std::string(5000, 'y')},
        Numbered("element", 5000), Strings{std::string(2 << 20, 'q'), "z", ""},
        Numbered(std::string(300, 'l'), 5000)}) {
    MemoryPageSpace pages;
    MakeList(&pages, elements);
    std::string expected = "key list \n";
    for (const std::string& element : elements) expected += "  element " + element + "\n";
    EXPECT_TRUE(ReadPayload(Payload(ValueType::kList, &pages)) == expected);
    EXPECT_TRUE(ReadPayload(Payload(ValueType::kList, &pages, false)) == expected);
  }
}

TEST(RdbCollections, SmallListIsOneNodeThatRedisWrites) {
  MemoryPageSpace pages;
  MakeList(&pages, {"a", "1"});
  const std::string listpack(
      "\x0c\x00\x00\x00\x02\x00\x81"
      "a\x02\x01\x01\xff",
      12);
  EXPECT_EQ(Payload(ValueType::kList, &pages).substr(0, 16),
            std::string("\x12\x01\x02\x0c", 4) + listpack);
}

TEST(RdbCollections, SetsComeBackInEveryForm) {
  for (const Strings& members : {Strings{"3", "-1", "70000"}, Strings{"5000000000", "1"},
                                 Strings{"a", "1", "b"}, Numbered("", 600), Numbered("m", 5000)}) {
    MemoryPageSpace pages;
    MakeSet(&pages, members);
    Strings expected = {"key set "};
    for (const std::string& member : members) expected.push_back("  member " + member);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(SortedLines(ReadPayload(Payload(ValueType::kSet, &pages))), expected);
  }
}

TEST(RdbCollections, SmallSetOfIntegersIsAnIntsetThatRedisWrites) {
  MemoryPageSpace pages;
  MakeSet(&pages, {"2", "1"});
  EXPECT_EQ(Payload(ValueType::kSet, &pages).substr(0, 14),
            std::string("\x0b\x0c\x02\x00\x00\x00\x02\x00\x00\x00\x01\x00\x02\x00", 14));
}

TEST(RdbCollections, ZsetsComeBackInEveryForm) {
  const double inf = std::numeric_limits<double>::infinity();
  const Strings names = Numbered("member", 3000);
  std::vector<ZsetElement> many;
  for (size_t i = 0; i < names.size(); ++i) many.push_back({names[i], static_cast<double>(i) / 3});
  for (const std::vector<ZsetElement>& elements : {std::vector<ZsetElement>{{"a", 1},
                                                                            {"b", 0.1},
                                                                            {"c", -inf},
                                                                            {"d", inf},
                                                                            {"e", -0.0},
                                                                            {"f", 1e300},
                                                                            {"g", -3e18},
                                                                            {"12", 12}},
                                                   many}) {
    MemoryPageSpace pages;
    MakeZset(&pages, elements);
    Strings expected = {"key zset "};
    for (const ZsetElement& element : elements) {
      // A listpack keeps no sign of zero.
      const double score = element.score == 0 ? 0 : element.score;
      expected.push_back("  " + FormatDouble(score) + " " + std::string(element.member));
    }
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(SortedLines(ReadPayload(Payload(ValueType::kZset, &pages))), expected);
  }
}

TEST(RdbCollections, HashesComeBackInEveryForm) {
  std::vector<TestField> many;
  for (const std::string& name : Numbered("field", 3000)) many.push_back({name, name + "!"});
  std::vector<TestField> expiring = many;
  for (size_t i = 0; i < expiring.size(); i += 3) {
    expiring[i].expiry_ms = kNow + 1 + static_cast<int64_t>(i);
  }
  for (const std::vector<TestField>& fields :
       {std::vector<TestField>{{"a", "1"}, {"b", std::string(60, 'x')}},
        std::vector<TestField>{{"a", "1", kNow + 5}, {"b", "2"}, {"c", "3", kNow + 1}}, many,
        expiring}) {
    MemoryPageSpace pages;
    MakeHash(&pages, fields);
    Strings expected = {"key hash "};
    for (const TestField& field : fields) {
      std::string line = "  field " + field.name + "=" + field.value;
      if (field.expiry_ms >= 0) line += " expiry=" + std::to_string(field.expiry_ms);
      expected.push_back(line);
    }
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(SortedLines(ReadPayload(Payload(ValueType::kHash, &pages))), expected);
  }
}

TEST(RdbCollections, ExpiredFieldsAreLeftOut) {
  MemoryPageSpace pages;
  MakeHash(&pages, {{"a", "1", kNow}, {"b", "2"}});
  const std::string payload = Payload(ValueType::kHash, &pages);
  EXPECT_EQ(ReadPayload(payload), "key hash \n  field b=2\n");
  // Nothing is left that an older version doesn't know.
  EXPECT_EQ(payload[payload.size() - 10], kRdbVersion);
  MemoryPageSpace gone;
  MakeHash(&gone, {{"a", "1", kNow}});
  RdbStringSink sink;
  RdbWriter writer(&sink, {.now_ms = kNow});
  EXPECT_EQ(writer.CollectionPayload(ValueType::kHash, &gone), RdbWriter::Written::kEmpty);
  EXPECT_EQ(sink.Take(), "");
}

TEST(RdbCollections, MissingPageIsTold) {
  MemoryPageSpace pages;
  MakeSet(&pages, Numbered("m", 5000));
  pages.DemoteAll();
  RdbStringSink sink;
  RdbWriter writer(&sink, {});
  EXPECT_EQ(writer.CollectionPayload(ValueType::kSet, &pages), RdbWriter::Written::kMissing);
  EXPECT_GT(pages.FetchWanted(), 0u);
}

// --- files

std::string SmallFile(bool field_expiry) {
  RdbStringSink sink;
  RdbWriter writer(&sink, {.now_ms = kNow});
  writer.Header();
  writer.Aux("redis-ver", "7.2.0");
  writer.Function("#!lua name=x\nreturn 1");
  writer.SelectDb(0);
  writer.ResizeDb({.keys = 6, .expiring = 1});
  writer.StringKey({.key = "s", .expiry_ms = 5000}, "value");
  writer.StringKey({.key = "f", .frequency = 7}, std::string(40, 'a'));
  MemoryPageSpace list, set, zset, hash;
  MakeList(&list, {"a", "b"});
  MakeSet(&set, {"1", "2"});
  MakeZset(&zset, {{"m", 1.5}});
  MakeHash(&hash, {{"x", "y", field_expiry ? kNow + 9 : -1}});
  writer.SelectDb(3);
  EXPECT_EQ(writer.CollectionKey({.key = "l"}, ValueType::kList, &list), RdbWriter::Written::kYes);
  writer.CollectionKey({.key = "t", .idle_seconds = 100}, ValueType::kSet, &set);
  writer.CollectionKey({.key = "z"}, ValueType::kZset, &zset);
  writer.CollectionKey({.key = "h"}, ValueType::kHash, &hash);
  writer.End();
  return sink.Take();
}

TEST(RdbFiles, HoldEverythingThatWasWritten) {
  EXPECT_EQ(ReadFile(SmallFile(false)),
            "aux redis-ver=7.2.0\nfunction #!lua name=x\nreturn 1\ndb 0\nsize 6 1\n"
            "key string s expiry=5000\n  string value\nkey string f freq=7\n  string " +
                std::string(40, 'a') +
                "\ndb 3\nkey list l\n  element a\n  element b\nkey set t idle=100\n"
                "  member 1\n  member 2\nkey zset z\n  1.5 m\nkey hash h\n  field x=y\n");
}

TEST(RdbFiles, GetALaterVersionOnlyIfItIsNeeded) {
  EXPECT_TRUE(SmallFile(false).starts_with("REDIS0010"));
  const std::string file = SmallFile(true);
  EXPECT_TRUE(file.starts_with("REDIS0012"));
  EXPECT_TRUE(ReadFile(file).ends_with("field x=y expiry=1000009\n")) << ReadFile(file);
}

TEST(RdbFiles, WithoutAChecksumAreAccepted) {
  RdbStringSink sink;
  RdbWriter writer(&sink, {.checksum = false});
  writer.Header();
  writer.End();
  EXPECT_EQ(ReadFile(sink.Take()), "");
}

TEST(RdbFiles, WrongChecksumIsAnErrorUnlessItIsNotAskedFor) {
  std::string file = SmallFile(false);
  file.back() ^= 1;
  EXPECT_EQ(ReadFile(file),
            "offset " + std::to_string(file.size()) + ": CRC error: the checksum is wrong");
  EXPECT_TRUE(ReadFile(file, {.checksum = false}).starts_with("aux"));
}

TEST(RdbFiles, OfOtherKindsOrLaterVersionsAreRefused) {
  EXPECT_EQ(ReadFile("*1\r\n$4\r\nPING\r\n"), "offset 9: this is no dump of Redis");
  EXPECT_EQ(ReadFile("REDIS0099\xff"), "offset 9: the dump has version 99, the latest known is 12");
  EXPECT_EQ(ReadFile(""), "offset 0: the end comes too early");
}

TEST(RdbFiles, EveryFlippedByteIsFound) {
  const std::string file = SmallFile(true);
  for (size_t at = 0; at < file.size(); ++at) {
    for (int flip : {1, 0x80, 0xff}) {
      std::string damaged = file;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      EXPECT_TRUE(ReadFile(damaged).starts_with("offset ")) << at << " " << flip;
      // Whatever comes out, without the checksum, must come in order.
      ReadFile(damaged, {.checksum = false});
    }
  }
}

TEST(RdbFiles, EveryTruncationIsFound) {
  const std::string file = SmallFile(true);
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_TRUE(ReadFile(file.substr(0, size)).starts_with("offset ")) << size;
  }
}

TEST(RdbFiles, ModulesAreRefusedByName) {
  // "helloflag" is 9 letters; the lower ten bits are its encoding.
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint64_t id = 0;
  for (char letter : std::string_view("hellotype")) id = id << 6 | kLetters.find(letter);
  id = id << 10 | 2;
  std::string number(8, '\0');
  StoreBig64(number.data(), id);
  EXPECT_EQ(ReadFile("REDIS0010" + std::string("\x07\x01k\x81", 4) + number),
            "offset 21: a value of the module 'hellotype' (encoding 2) can't be loaded");
}

TEST(RdbFiles, EmptyKeysAreSkipped) {
  std::string file = "REDIS0003";
  for (char type : {1, 2, 3, 4, 5, 14, 18}) file += std::string({type, 1, 'k', 0});
  file += '\xff';
  const std::string text = ReadFile(file);
  EXPECT_EQ(Lines(text).size(), 14u) << text;
  EXPECT_TRUE(text.ends_with("  empty\n"));
}

TEST(RdbPayloads, EmptyValuesAreRefused) {
  EXPECT_EQ(ReadRaw(std::string("\x02\x00", 2)), "offset 2: a value without elements");
}

TEST(RdbPayloads, EmptyNodesOfListsAreRefused) {
  EXPECT_EQ(ReadRaw(std::string("\x12\x01\x01\x00", 4)), "offset 4: an empty node of a list");
  EXPECT_EQ(ReadRaw(std::string("\x12\x01\x02\x00", 4)), "offset 4: an empty node of a list");
}

TEST(RdbPayloads, AWrongChecksumMayBeLeftUnseen) {
  std::string payload = StringPayload("text");
  payload.back() ^= 1;
  EXPECT_EQ(RdbReader::CheckPayload(payload), std::nullopt);
  EXPECT_NE(RdbReader::CheckPayload(payload, {.checksum = false}), std::nullopt);
  payload[payload.size() - 9] = 99;  // the version
  EXPECT_EQ(RdbReader::CheckPayload(payload, {.checksum = false}), std::nullopt);
}

TEST(RdbPayloads, WithAWrongFooterAreRefused) {
  const std::string payload = StringPayload("abc");
  for (size_t at = 0; at < payload.size(); ++at) {
    std::string damaged = payload;
    damaged[at] ^= 4;
    EXPECT_EQ(ReadPayload(damaged), "footer");
    EXPECT_EQ(ReadPayload(payload.substr(0, at)), "footer");
  }
}

TEST(RdbPayloads, DamagedValuesAreAnErrorOrAValue) {
  MemoryPageSpace list, set, zset, hash;
  MakeList(&list, {"a", "1000", std::string(200, 'c'), "300000"});
  MakeSet(&set, {"1", "2", "30000"});
  MakeZset(&zset, {{"m", 1.5}, {"n", 2}});
  MakeHash(&hash, {{"x", "y", kNow + 4}, {"v", "w"}});
  for (const std::string& payload :
       {Payload(ValueType::kList, &list, false), Payload(ValueType::kSet, &set),
        Payload(ValueType::kZset, &zset), Payload(ValueType::kHash, &hash),
        StringPayload(std::string(500, 'x'))}) {
    const std::string body = payload.substr(0, payload.size() - 10);
    for (size_t at = 0; at < body.size(); ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string damaged = body;
        damaged[at] = static_cast<char>(byte);
        ReadRaw(damaged);
      }
      EXPECT_TRUE(ReadRaw(body.substr(0, at)).starts_with("offset ")) << at;
    }
  }
}

TEST(RdbPayloads, ClaimedLengthsAllocateNothing) {
  const std::string huge = "\x81\x00\x00\xff\xff\xff\xff\xff\xff";
  const std::string length(std::string("\x81\x00\x00\xff\xff\xff\xff\xff\xff", 9));
  for (char type : {0, 1, 2, 3, 4, 5, 10, 11, 14, 18, 22}) {
    EXPECT_TRUE(ReadRaw(std::string(1, type) + length).starts_with("offset ")) << int{type};
  }
  // A compressed string of ten bytes that claims to be of a gigabyte.
  EXPECT_TRUE(ReadRaw(std::string("\x00\xc3\x0a\x80\x40\x00\x00\x00 0123456789", 19))
                  .starts_with("offset "));
}

// --- forms that only others write

TEST(RdbForms, ZiplistsAreRead) {
  // "a", 5 (immediate), 300, a string of 70 bytes would need a longer length.
  const std::string ziplist = std::string("\x16\x00\x00\x00\x11\x00\x00\x00\x04\x00", 10) +
                              std::string(
                                  "\x00\x01"
                                  "a",
                                  3) +
                              std::string("\x03\xf6", 2) +
                              std::string("\x02\xc0\x2c\x01", 4).substr(0, 4);
  // Four elements: a, 5, 300, -2.
  std::string full = ziplist + std::string("\x04\xfe\xfe", 3) + "\xff";
  StoreFixed(full.data(), static_cast<uint32_t>(full.size()));
  StoreFixed(full.data() + 4, static_cast<uint32_t>(full.size() - 4));
  EXPECT_EQ(ReadRaw(Block(RdbType::kListZiplist, full)),
            "key list \n  element a\n  element 5\n  element 300\n  element -2\n");
  EXPECT_EQ(ReadRaw(Block(RdbType::kHashZiplist, full)),
            "key hash \n  field a=5\n  field 300=-2\n");
  EXPECT_EQ(ReadRaw(Block(RdbType::kZsetZiplist, full)), "key zset \n  5 a\n  -2 300\n");
  EXPECT_EQ(ReadRaw(std::string("\x0e\x01", 2) + Block(RdbType::kString, full).substr(1)),
            "key list \n  element a\n  element 5\n  element 300\n  element -2\n");
  for (size_t at = 0; at < full.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string damaged = full;
      damaged[at] = static_cast<char>(byte);
      ReadRaw(Block(RdbType::kListZiplist, damaged));
    }
    EXPECT_TRUE(ReadRaw(Block(RdbType::kListZiplist, full.substr(0, at))).starts_with("offset "));
  }
}

TEST(RdbForms, ZipmapsAreRead) {
  const std::string zipmap(
      "\x02\x01"
      "a\x01\x02"
      "b__\x02"
      "cd\x00\x00\xff",
      14);
  EXPECT_EQ(ReadRaw(Block(RdbType::kHashZipmap, zipmap)), "key hash \n  field a=b\n  field cd=\n");
  for (size_t at = 0; at < zipmap.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string damaged = zipmap;
      damaged[at] = static_cast<char>(byte);
      ReadRaw(Block(RdbType::kHashZipmap, damaged));
    }
    EXPECT_TRUE(ReadRaw(Block(RdbType::kHashZipmap, zipmap.substr(0, at))).starts_with("offset "));
  }
}

TEST(RdbForms, PlainZsetsHaveScoresInDigits) {
  EXPECT_EQ(ReadRaw(std::string("\x03\x03\x01"
                                "a\x03"
                                "1.5\x01"
                                "b\xfe\x01"
                                "c\xff",
                                14)),
            "key zset \n  1.5 a\n  inf b\n  -inf c\n");
  EXPECT_EQ(ReadRaw(std::string("\x03\x01\x01"
                                "a\xfd",
                                5)),
            "offset 5: a score that is no number");
  EXPECT_EQ(ReadRaw(std::string("\x03\x01\x01"
                                "a\x02"
                                "1x",
                                7)),
            "offset 7: a score that is no number");
}

TEST(RdbForms, ListpacksOfOtherTypesAreRead) {
  ListpackBuilder set;
  set.Add("a");
  set.Add("-70000");
  EXPECT_EQ(ReadRaw(Block(RdbType::kSetListpack, std::string(set.Finish()))),
            "key set \n  member a\n  member -70000\n");
  ListpackBuilder hash;
  for (const char* element : {"f", "v", "1000", "g", "w", "0"}) hash.Add(element);
  const std::string block(hash.Finish());
  EXPECT_EQ(ReadRaw(Block(RdbType::kHashListpackExPreGa, block)),
            "key hash \n  field f=v expiry=1000\n  field g=w\n");
  std::string with_earliest(1, static_cast<char>(RdbType::kHashListpackEx));
  AppendFixed(&with_earliest, uint64_t{1000});
  EXPECT_EQ(ReadRaw(with_earliest + Block(RdbType::kString, block).substr(1)),
            "key hash \n  field f=v expiry=1000\n  field g=w\n");
  EXPECT_EQ(ReadRaw(std::string("\x16\x01\x0a\x01"
                                "f\x01v",
                                7)),
            "key hash \n  field f=v expiry=10\n");
}

TEST(RdbForms, DoubledMembersAndBadOrderAreErrors) {
  ListpackBuilder set;
  set.Add("a");
  set.Add("a");
  const std::string block(set.Finish());
  EXPECT_TRUE(ReadRaw(Block(RdbType::kSetListpack, block)).ends_with("twice: a"));
  EXPECT_EQ(ReadRaw(Block(RdbType::kHashListpack, std::string(block)).substr(0, 5)),
            "offset 2: a string of 13 bytes, but only 3 are left");
  EXPECT_TRUE(ReadRaw(Block(RdbType::kSetIntset,
                            std::string("\x02\x00\x00\x00\x02\x00\x00\x00\x02\x00\x01\x00", 12)))
                  .ends_with("the intset is not in order, at its byte 10 of 12"));
}

}  // namespace
}  // namespace firn
