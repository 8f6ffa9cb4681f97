// The way of a command's bytes in and out: taking requests apart and building replies. Times are
// those of one request or one reply.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "server/net/output_buffer.h"
#include "server/resp/parser.h"
#include "server/resp/reply.h"

namespace firn::server {
namespace {

std::string Request(const std::vector<std::string>& args) {
  std::string out = "*" + std::to_string(args.size()) + "\r\n";
  for (const std::string& arg : args) {
    out += "$" + std::to_string(arg.size()) + "\r\n" + arg + "\r\n";
  }
  return out;
}

void ParseAll(benchmark::State& state, const std::string& request) {
  RequestParser parser;
  size_t arguments = 0;
  for (auto _ : state) {
    if (parser.Parse(request, {}) != RequestParser::Outcome::kRequest) {
      state.SkipWithError("not a request");
      break;
    }
    arguments += parser.args().size();
  }
  benchmark::DoNotOptimize(arguments);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(request.size()));
}

void BM_ParseGet(benchmark::State& state) {
  ParseAll(state, Request({"GET", "key:0000000001234"}));
}
BENCHMARK(BM_ParseGet);

// The argument: bytes of the value.
void BM_ParseSet(benchmark::State& state) {
  ParseAll(state, Request({"SET", "key:0000000001234", std::string(state.range(0), 'v')}));
}
BENCHMARK(BM_ParseSet)->Arg(64)->Arg(4'096)->Arg(1 << 20);

void BM_ParseMset(benchmark::State& state) {
  std::vector<std::string> args = {"MSET"};
  for (int64_t i = 0; i < state.range(0); ++i) {
    args.push_back("key:" + std::to_string(i));
    args.emplace_back(16, 'v');
  }
  ParseAll(state, Request(args));
}
BENCHMARK(BM_ParseMset)->Arg(10)->Arg(1'000);

void BM_ParseInline(benchmark::State& state) { ParseAll(state, "GET key:0000000001234\r\n"); }
BENCHMARK(BM_ParseInline);

// Sixteen requests in one read, as a pipelining client sends them; the time is one request's.
void BM_ParsePipeline(benchmark::State& state) {
  constexpr int kPipeline = 16;
  std::string bytes;
  for (int i = 0; i < kPipeline; ++i) bytes += Request({"GET", "key:0000000001234"});
  RequestParser parser;
  while (state.KeepRunningBatch(kPipeline)) {
    std::string_view rest = bytes;
    while (!rest.empty()) {
      if (parser.Parse(rest, {}) != RequestParser::Outcome::kRequest) {
        state.SkipWithError("not a request");
        return;
      }
      rest.remove_prefix(parser.consumed());
    }
  }
}
BENCHMARK(BM_ParsePipeline);

// The output is taken away when it is as long as what one send takes.
constexpr uint64_t kSendBytes = 16 << 10;

template <typename Build>
void BuildAll(benchmark::State& state, int protocol, const Build& build) {
  OutputBuffer out;
  Reply reply(&out);
  reply.set_protocol(protocol);
  int64_t bytes = 0;
  for (auto _ : state) {
    build(&reply);
    if (out.pending_bytes() < kSendBytes) continue;
    bytes += static_cast<int64_t>(out.pending_bytes());
    out.Consume(out.pending_bytes());
  }
  state.SetBytesProcessed(bytes);
}

void BM_ReplyOk(benchmark::State& state) {
  BuildAll(state, 2, [](Reply* reply) { reply->Ok(); });
}
BENCHMARK(BM_ReplyOk);

void BM_ReplyInteger(benchmark::State& state) {
  int64_t value = 0;
  BuildAll(state, 2, [&](Reply* reply) { reply->Integer(value += 12'345); });
}
BENCHMARK(BM_ReplyInteger);

void BM_ReplyDouble(benchmark::State& state) {
  double value = 0;
  BuildAll(state, static_cast<int>(state.range(0)),
           [&](Reply* reply) { reply->Double(value += 0.1); });
}
BENCHMARK(BM_ReplyDouble)->ArgName("protocol")->Arg(2)->Arg(3);

// The argument: bytes of the value.
void BM_ReplyBulk(benchmark::State& state) {
  const std::string value(state.range(0), 'v');
  BuildAll(state, 2, [&](Reply* reply) { reply->Bulk(value); });
}
BENCHMARK(BM_ReplyBulk)->Arg(16)->Arg(64)->Arg(1'024)->Arg(16'384);

// The argument: elements of 16 bytes.
void BM_ReplyArray(benchmark::State& state) {
  const std::string value(16, 'v');
  BuildAll(state, 2, [&](Reply* reply) {
    reply->ArrayHeader(state.range(0));
    for (int64_t i = 0; i < state.range(0); ++i) reply->Bulk(value);
  });
}
BENCHMARK(BM_ReplyArray)->Arg(10)->Arg(1'000);

}  // namespace
}  // namespace firn::server
