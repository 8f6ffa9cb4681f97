// libFuzzer target for everything that decodes the log. Run by tests/fuzz/run.
#include "fuzz/record_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  firn::log::FuzzRecord(data, size);
  return 0;
}
