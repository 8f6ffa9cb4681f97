// libFuzzer target for the parser of clients' requests. Run by tests/fuzz/run.
#include "fuzz/resp_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  firn::server::FuzzResp(data, size);
  return 0;
}
