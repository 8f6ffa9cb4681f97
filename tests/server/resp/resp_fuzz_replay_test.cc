// The corpus of the RESP parser's fuzzer, and thousands of random changes to it, without a fuzzer.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "fuzz/resp_fuzz.h"

namespace firn::server {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(FIRN_TEST_DATA "/fuzz/resp_fuzz")) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> corpus;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return corpus;
}

void Feed(const std::string& input) {
  FuzzResp(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

TEST(RespFuzzReplayTest, CorpusIsParsedAlikeHoweverItIsCut) {
  std::vector<std::string> corpus = Corpus();
  ASSERT_GE(corpus.size(), 8u);
  for (std::string input : corpus) {
    for (int choice = 0; choice < 256 && !input.empty(); ++choice) {
      input[0] = static_cast<char>(choice);
      Feed(input);
    }
  }
}

TEST(RespFuzzReplayTest, ChangedInputsAreParsedAlikeHoweverTheyAreCut) {
  std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty());
  Random random(20260102);
  constexpr std::string_view kLikely = "*$\r\n-0123456789\"'\\";
  for (int i = 0; i < 20'000; ++i) {
    std::string input = corpus[random.Below(corpus.size())];
    for (uint64_t changes = 1 + random.Below(4); changes > 0 && !input.empty(); --changes) {
      size_t at = random.Below(input.size());
      switch (random.Below(5)) {
        case 0:
          input[at] = static_cast<char>(random.Next());
          break;
        case 1:
          input[at] = kLikely[random.Below(kLikely.size())];
          break;
        case 2:
          input.resize(at + 1);
          break;
        case 3:
          input.insert(at, input, 0, 1 + random.Below(64));
          break;
        case 4:
          input.erase(at, 1 + random.Below(4));
          break;
      }
    }
    Feed(input);
  }
}

}  // namespace
}  // namespace firn::server
