// The payload of an effect on the pages of a collection (EffectCode::kSplices): building it, and
// taking it apart with every check that untrusted bytes need. Pure functions on bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/coding.h"
#include "engine/page/page_edit.h"

namespace firn::log {

// Adds what changes in one page. The payload is the code, the value id and these parts.
void AppendSplicePart(uint32_t page, std::span<const Splice> splices, std::string* parts);

class SpliceEffectReader {
 public:
  // `payload` begins with the code.
  explicit SpliceEffectReader(std::string_view payload);

  uint64_t value_id() const { return value_id_; }
  // The next part; false at the end or at bytes that make no sense: see ok().
  bool Next();
  uint32_t page() const { return page_; }
  std::span<const Splice> splices() const { return splices_; }
  bool ok() const { return ok_ && reader_.ok(); }

 private:
  ByteReader reader_;
  uint64_t value_id_ = 0;
  uint32_t page_ = 0;
  std::vector<Splice> splices_;
  bool ok_ = true;
};

}  // namespace firn::log
