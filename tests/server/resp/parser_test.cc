#include "server/resp/parser.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "fuzz/resp_fuzz.h"

namespace firn::server {
namespace {

using Outcome = RequestParser::Outcome;
using Requests = std::vector<std::vector<std::string>>;

Requests Parse(std::string_view stream, const ParserLimits& limits = {}) {
  ParsedStream parsed = ParseInPieces(stream, stream.size() + 1, limits);
  EXPECT_EQ(parsed.error, "");
  return parsed.requests;
}

std::string ErrorOf(std::string_view stream, const ParserLimits& limits = {}) {
  return ParseInPieces(stream, stream.size() + 1, limits).error;
}

std::string Bulk(std::string_view bytes) {
  return "$" + std::to_string(bytes.size()) + "\r\n" + std::string(bytes) + "\r\n";
}

TEST(RequestParserTest, ArraysOfBulkStringsAreRequests) {
  EXPECT_EQ(Parse("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n"),
            (Requests{{"GET", "k"}, {"PING"}}));
  EXPECT_EQ(Parse("*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n"), (Requests{{"", "\r\n"}}));
}

TEST(RequestParserTest, ArgumentsAreViewsIntoTheBytes) {
  const std::string bytes = "*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n";
  RequestParser parser;
  ASSERT_EQ(parser.Parse(bytes, {}), Outcome::kRequest);
  EXPECT_EQ(parser.args()[1].data(), bytes.data() + 18);
  EXPECT_EQ(parser.consumed(), bytes.size());
  std::vector<std::string_view> mine;
  parser.SwapArgs(&mine);
  EXPECT_EQ(mine[1], "hello");
}

TEST(RequestParserTest, InlineLinesAreRequests) {
  EXPECT_EQ(Parse("PING\r\nSET  k \"a\\x41\\n\"\n\r\n"),
            (Requests{{"PING"}, {"SET", "k", "aA\n"}, {}}));
  EXPECT_EQ(Parse("SET k 'it\\'s'\r\n"), (Requests{{"SET", "k", "it's"}}));
}

TEST(RequestParserTest, EmptyAndNegativeArraysAreEmptyRequests) {
  EXPECT_EQ(Parse("*0\r\n*-5\r\nPING\r\n"), (Requests{{}, {}, {"PING"}}));
}

TEST(RequestParserTest, OddLengthsAreReadAsElsewhere) {
  EXPECT_NE(ErrorOf("*1\r\n$0000000004\r\nPING\r\n"), "");
  EXPECT_NE(ErrorOf("*1\r\n$04\r\nPING\r\n"), "");
  EXPECT_NE(ErrorOf("*01\r\n$4\r\nPING\r\n"), "");
  EXPECT_NE(ErrorOf("*1\r\n$4x\r\nPING\r\n"), "");
  EXPECT_NE(ErrorOf("*1\r\n$99999999999\r\nPING\r\n"), "");
  EXPECT_NE(ErrorOf("*1\r\n+PING\r\n"), "");
  EXPECT_NE(ErrorOf("*2\r\n$4\r\nPING\r\n:1\r\n"), "");
  // The byte behind the CR isn't looked at.
  EXPECT_EQ(Parse("*1\rx$4\rxPING\r\n"), (Requests{{"PING"}}));
  EXPECT_EQ(Parse("*1\r\n$4\r\nPINGxx"), (Requests{{"PING"}}));
}

TEST(RequestParserTest, ShortRequestsAreBoundedAsLongOnes) {
  const std::string request = "*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n";
  const uint64_t needs = 13 + 2 * RequestParser::kArgumentOverhead;
  RequestParser parser;
  EXPECT_EQ(parser.Parse(request, {.max_request_bytes = needs}), Outcome::kRequest);
  EXPECT_EQ(parser.Parse(request, {.max_request_bytes = needs - 1}), Outcome::kTooLarge);
  EXPECT_EQ(parser.consumed(), request.size());
  EXPECT_EQ(parser.Parse(request, {.max_bulk_bytes = 10}), Outcome::kRequest);
  EXPECT_EQ(parser.Parse(request, {.max_bulk_bytes = 9}), Outcome::kError);
}

TEST(RequestParserTest, RequestsOfAnySizeAreTaken) {
  for (size_t count : {1, 63, 64, 65, 1000}) {
    std::vector<std::string> words(count, "word");
    std::string stream = "*" + std::to_string(count) + "\r\n";
    for (const std::string& word : words) stream += Bulk(word);
    EXPECT_EQ(Parse(stream + stream), (Requests{words, words}));
  }
}

TEST(RequestParserTest, HowTheStreamIsCutDoesNotMatter) {
  const std::string stream = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + Bulk(std::string(300, '\r')) +
                             "GET k\r\n*0\r\n*1\r\n$4\r\nQUIT\r\n";
  const ParsedStream whole = ParseInPieces(stream, stream.size(), {});
  ASSERT_EQ(whole.requests.size(), 4u);
  for (size_t piece = 1; piece < stream.size(); ++piece) {
    EXPECT_EQ(ParseInPieces(stream, piece, {}), whole) << piece;
  }
}

TEST(RequestParserTest, EveryPrefixWaitsForMore) {
  const std::string stream = "*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n";
  for (size_t size = 1; size < stream.size(); ++size) {
    RequestParser parser;
    EXPECT_EQ(parser.Parse(std::string_view(stream).substr(0, size), {}), Outcome::kNeedMore);
    EXPECT_EQ(parser.consumed(), 0u);
    EXPECT_EQ(parser.Parse(stream, {}), Outcome::kRequest);
  }
}

TEST(RequestParserTest, AskedForTheRoomOfALongArgument) {
  RequestParser parser;
  const std::string head = "*2\r\n$4\r\nECHO\r\n$100000\r\n";
  ASSERT_EQ(parser.Parse(head + "abc", {}), Outcome::kNeedMore);
  EXPECT_EQ(parser.needed(), head.size() + 100000 + 2);
}

TEST(RequestParserTest, BadCountsAndLengthsAreErrors) {
  const std::string count = "Protocol error: invalid multibulk length";
  for (const char* text : {"*abc\r\n", "*\r\n", "*+1\r\n", "*01\r\n", "*1 \r\n", "*2147483648\r\n",
                           "*99999999999999999999\r\n", "*-\r\n"}) {
    EXPECT_EQ(ErrorOf(text), count) << text;
  }
  const std::string bulk = "Protocol error: invalid bulk length";
  for (const char* text : {"*1\r\n$-1\r\n", "*1\r\n$\r\n", "*1\r\n$x\r\n", "*1\r\n$01\r\n",
                           "*1\r\n$536870913\r\n", "*1\r\n$9223372036854775808\r\n"}) {
    EXPECT_EQ(ErrorOf(text), bulk) << text;
  }
  EXPECT_EQ(ErrorOf("*1\r\nfoo\r\n"), "Protocol error: expected '$', got 'f'");
  EXPECT_EQ(ErrorOf("*1\r\n\r\n"), "Protocol error: expected '$', got '\r'");
  EXPECT_EQ(ErrorOf("SET k \"abc\r\n"), "Protocol error: unbalanced quotes in request");
  EXPECT_EQ(ErrorOf("SET k 'a'b\r\n"), "Protocol error: unbalanced quotes in request");
}

TEST(RequestParserTest, EndlessLinesAreErrors) {
  const std::string digits(70'000, '1');
  EXPECT_EQ(ErrorOf("*" + digits), "Protocol error: too big mbulk count string");
  EXPECT_EQ(ErrorOf("*1\r\n$" + digits), "Protocol error: too big bulk count string");
  EXPECT_EQ(ErrorOf(digits), "Protocol error: too big inline request");
}

TEST(RequestParserTest, UnauthenticatedClientsGetLittle) {
  const ParserLimits limits{.authenticated = false};
  EXPECT_EQ(ErrorOf("*11\r\n", limits), "Protocol error: unauthenticated multibulk length");
  EXPECT_EQ(ErrorOf("*2\r\n$4\r\nAUTH\r\n$16385\r\n", limits),
            "Protocol error: unauthenticated bulk length");
  EXPECT_EQ(Parse("*2\r\n$4\r\nAUTH\r\n" + Bulk(std::string(16384, 'p')), limits).size(), 1u);
}

TEST(RequestParserTest, RequestsAboveTheLimitAreReadPast) {
  const ParserLimits limits{.max_request_bytes = 1000};
  const std::string large = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + Bulk(std::string(5000, 'v'));
  const std::string stream = "PING\r\n" + large + "PING\r\n";
  const Requests expected{{"PING"}, {}, {"PING"}};
  for (size_t piece : {1, 2, 7, 100, 4096, 10'000}) {
    EXPECT_EQ(ParseInPieces(stream, piece, limits).requests, expected) << piece;
  }
}

TEST(RequestParserTest, BytesThatAreReadPastAreNotKept) {
  const ParserLimits limits{.max_request_bytes = 1000};
  RequestParser parser;
  const std::string head = "*2\r\n$4\r\nECHO\r\n$1000000\r\n";
  ASSERT_EQ(parser.Parse(head + std::string(100, 'x'), limits), Outcome::kNeedMore);
  EXPECT_EQ(parser.consumed(), head.size() + 100);
  EXPECT_EQ(parser.needed(), 0u);
  for (int left = 1'000'000 - 100; left > 0;) {
    std::string bytes(static_cast<size_t>(std::min(left, 4000)), 'x');
    left -= static_cast<int>(bytes.size());
    ASSERT_EQ(parser.Parse(bytes, limits), Outcome::kNeedMore);
    EXPECT_EQ(parser.consumed(), bytes.size());
  }
  EXPECT_EQ(parser.Parse("\r\n", limits), Outcome::kTooLarge);
}

TEST(RequestParserTest, ManySmallArgumentsCountTowardsTheLimit) {
  const ParserLimits limits{.max_request_bytes = 1000};
  std::string stream = "*1000\r\n";
  for (int i = 0; i < 1000; ++i) stream += Bulk("");
  EXPECT_EQ(Parse(stream + "PING\r\n", limits), (Requests{{}, {"PING"}}));
}

TEST(RequestParserTest, ACountAloneTakesNoMemory) {
  RequestParser parser;
  EXPECT_EQ(parser.Parse("*2147483647\r\n$1\r\n", {}), Outcome::kNeedMore);
}

TEST(RequestParserTest, RestartForgetsAHalfReadRequest) {
  RequestParser parser;
  ASSERT_EQ(parser.Parse("*2\r\n$3\r\nGET\r\n$1\r\n", {}), Outcome::kNeedMore);
  parser.Restart();
  ASSERT_EQ(parser.Parse("*1\r\n$4\r\nPING\r\n", {}), Outcome::kRequest);
  EXPECT_EQ(parser.args().size(), 1u);
}

}  // namespace
}  // namespace firn::server
