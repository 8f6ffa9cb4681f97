#include "server/net/output_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "server/resp/reply.h"

namespace firn::server {
namespace {

// Takes everything as a connection does, at most `parts` and `bytes` at a time.
std::string Drain(OutputBuffer* buffer, size_t parts = 64, uint64_t bytes = UINT64_MAX) {
  std::string out;
  while (true) {
    uint64_t size = 0;
    for (const iovec& part : buffer->Peek(parts, bytes)) {
      out.append(static_cast<const char*>(part.iov_base), part.iov_len);
      size += part.iov_len;
    }
    if (size == 0) return out;
    buffer->Consume(size);
  }
}

TEST(OutputBufferTest, BytesComeOutAsTheyWentIn) {
  OutputBuffer buffer;
  std::string expected;
  for (int i = 0; i < 10'000; ++i) {
    std::string piece = std::to_string(i * 7919) + std::string(static_cast<size_t>(i % 50), 'x');
    buffer.Append(piece);
    expected += piece;
  }
  EXPECT_EQ(buffer.pending_bytes(), expected.size());
  EXPECT_EQ(Drain(&buffer, 3, 5000), expected);
  EXPECT_TRUE(buffer.empty());
}

TEST(OutputBufferTest, ThePositionTellsWhetherAnythingWasAppended) {
  OutputBuffer buffer;
  buffer.Append("+OK\r\n");
  const OutputBuffer::Position before = buffer.position();
  buffer.Append("");
  uint64_t mark = buffer.Mark();
  EXPECT_NE(buffer.position(), before);  // nothing behind it would be sent
  buffer.Append("$1\r\nx\r\n");
  buffer.TruncateTo(mark);
  EXPECT_EQ(buffer.position(), before);
  buffer.Append("+");
  EXPECT_NE(buffer.position(), before);
}

TEST(OutputBufferTest, SmallRepliesShareAChunk) {
  OutputBuffer buffer;
  for (int i = 0; i < 100; ++i) buffer.Append("+OK\r\n");
  EXPECT_EQ(buffer.Peek(64, UINT64_MAX).size(), 1u);
}

TEST(OutputBufferTest, PagesAreSentWithoutACopyAndReleased) {
  Page* page = Page::CopyOf(std::string(100'000, 'v'), 100'000);
  {
    OutputBuffer buffer;
    buffer.Append("$100000\r\n");
    buffer.AppendPage(page);
    buffer.Append("\r\n");
    EXPECT_TRUE(page->IsShared());
    auto parts = buffer.Peek(64, UINT64_MAX);
    ASSERT_EQ(parts.size(), 3u);
    EXPECT_EQ(parts[1].iov_base, page->data());
    buffer.Consume(50'000);  // part of the page
    EXPECT_TRUE(page->IsShared());
    EXPECT_EQ(Drain(&buffer), std::string(50'009, 'v') + "\r\n");
    EXPECT_FALSE(page->IsShared());
    buffer.AppendPage(page);
  }
  EXPECT_FALSE(page->IsShared());  // a connection that closes lets go of it
  page->Release();
}

TEST(OutputBufferTest, WhatWasPeekedStaysWhileMoreIsAppended) {
  OutputBuffer buffer;
  buffer.Append("first");
  auto parts = buffer.Peek(64, UINT64_MAX);
  const void* where = parts[0].iov_base;
  for (int i = 0; i < 1000; ++i) buffer.Append(std::string(100, 'x'));
  EXPECT_EQ(std::string(static_cast<const char*>(where), 5), "first");
  EXPECT_EQ(buffer.Peek(1, 5)[0].iov_base, where);
}

TEST(OutputBufferTest, HeadersAreInsertedAtTheirMarks) {
  OutputBuffer buffer;
  buffer.Append("a");
  uint64_t outer = buffer.Mark();
  buffer.Append("b");
  uint64_t inner = buffer.Mark();
  buffer.Append("c");
  buffer.InsertAt(inner, "<2>");
  buffer.InsertAt(outer, "<1>");
  EXPECT_EQ(buffer.pending_bytes(), 9u);
  EXPECT_EQ(Drain(&buffer), "a<1>b<2>c");
}

TEST(OutputBufferTest, WhatFollowsAMarkWaitsForItsHeader) {
  OutputBuffer buffer;
  buffer.Append("before");
  uint64_t mark = buffer.Mark();
  buffer.Append("after");
  EXPECT_EQ(Drain(&buffer), "before");
  EXPECT_EQ(buffer.pending_bytes(), 5u);
  buffer.InsertAt(mark, "*1\r\n");
  EXPECT_EQ(Drain(&buffer), "*1\r\nafter");
  EXPECT_TRUE(buffer.empty());
}

TEST(OutputBufferTest, TruncatingDropsWhatFollowsTheMark) {
  OutputBuffer buffer;
  Page* page = Page::CopyOf("page", 4);
  buffer.Append("kept");
  uint64_t mark = buffer.Mark();
  buffer.Append("dropped");
  buffer.AppendPage(page);
  buffer.TruncateTo(mark);
  EXPECT_FALSE(page->IsShared());
  buffer.Append("!");
  EXPECT_EQ(Drain(&buffer), "kept!");
  page->Release();
}

TEST(OutputBufferTest, AnIdleBufferHoldsNothing) {
  OutputBuffer buffer;
  EXPECT_EQ(buffer.memory_bytes(), 0u);
  buffer.Append("+OK\r\n");
  EXPECT_LE(buffer.memory_bytes(), 1024u);
  for (int i = 0; i < 100; ++i) buffer.Append(std::string(1000, 'x'));
  EXPECT_GE(buffer.memory_bytes(), 100'000u);
  Drain(&buffer);
  EXPECT_LE(buffer.memory_bytes(), 16u * 1024);
  buffer.ReleaseSpare();
  EXPECT_EQ(buffer.memory_bytes(), 0u);
}

TEST(ReplyTest, TypesAreDowngradedForResp2) {
  OutputBuffer buffer;
  Reply reply(&buffer);
  auto both = [&](auto write) {
    reply.set_protocol(2);
    write();
    std::string two = Drain(&buffer);
    reply.set_protocol(3);
    write();
    return two + "|" + Drain(&buffer);
  };
  EXPECT_EQ(both([&] { reply.Null(); }), "$-1\r\n|_\r\n");
  EXPECT_EQ(both([&] { reply.NullArray(); }), "*-1\r\n|_\r\n");
  EXPECT_EQ(both([&] { reply.Bool(true); }), ":1\r\n|#t\r\n");
  EXPECT_EQ(both([&] { reply.MapHeader(2); }), "*4\r\n|%2\r\n");
  EXPECT_EQ(both([&] { reply.SetHeader(2); }), "*2\r\n|~2\r\n");
  EXPECT_EQ(both([&] { reply.Double(1.5); }), "$3\r\n1.5\r\n|,1.5\r\n");
  EXPECT_EQ(both([&] { reply.Verbatim("txt", "hi"); }), "$2\r\nhi\r\n|=6\r\ntxt:hi\r\n");
}

TEST(ReplyTest, LineEndsInErrorsBecomeSpaces) {
  OutputBuffer buffer;
  Reply reply(&buffer);
  reply.Error("ERR a\r\nb");
  EXPECT_EQ(Drain(&buffer), "-ERR a  b\r\n");
  EXPECT_EQ(reply.errors(), 1u);
}

TEST(ReplyTest, MutedRepliesAreDroppedButErrorsCounted) {
  OutputBuffer buffer;
  Reply reply(&buffer);
  reply.set_muted(true);
  reply.Ok();
  reply.Error("ERR x");
  uint64_t mark = reply.DeferHeader();
  reply.Bulk(std::string_view("y"));
  reply.ResolveHeader(mark, Reply::Collection::kArray, 1);
  EXPECT_TRUE(buffer.empty());
  EXPECT_EQ(reply.errors(), 1u);
}

TEST(ReplyTest, DeferredHeadersCountPairsOfMaps) {
  OutputBuffer buffer;
  Reply reply(&buffer);
  uint64_t mark = reply.DeferHeader();
  reply.Integer(1);
  reply.Integer(-2);
  reply.ResolveHeader(mark, Reply::Collection::kMap, 1);
  EXPECT_EQ(Drain(&buffer), "*2\r\n:1\r\n:-2\r\n");
}

}  // namespace
}  // namespace firn::server
