// The fuzzer's corpus, and thousands of random changes to it, without a fuzzer.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "fuzz/record_fuzz.h"

namespace firn::log {
namespace {

std::vector<std::string> Corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(FIRN_TEST_DATA "/fuzz/record_fuzz")) {
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
  FuzzRecord(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

TEST(RecordFuzzReplayTest, CorpusIsDecodedWithoutACrash) {
  std::vector<std::string> corpus = Corpus();
  ASSERT_GE(corpus.size(), 9u);
  for (const std::string& input : corpus) Feed(input);
}

TEST(RecordFuzzReplayTest, ChangedInputsAreDecodedWithoutACrash) {
  std::vector<std::string> corpus = Corpus();
  ASSERT_FALSE(corpus.empty());
  Random random(20260101);
  for (int i = 0; i < 20'000; ++i) {
    std::string input = corpus[random.Below(corpus.size())];
    for (uint64_t changes = 1 + random.Below(4); changes > 0 && !input.empty(); --changes) {
      size_t at = random.Below(input.size());
      switch (random.Below(4)) {
        case 0:
          input[at] = static_cast<char>(random.Next());
          break;
        case 1:
          input[at] = static_cast<char>(input[at] ^ (1 << random.Below(8)));
          break;
        case 2:
          input.resize(at + 1);
          break;
        case 3:
          input.insert(at, input, 0, 1 + random.Below(64));
          break;
      }
    }
    Feed(input);
  }
}

}  // namespace
}  // namespace firn::log
