#include "tiering/log/splice_effect.h"

namespace firn::log {

void AppendSplicePart(uint32_t page, std::span<const Splice> splices, std::string* parts) {
  AppendVarint(parts, page);
  AppendVarint(parts, splices.size());
  for (const Splice& splice : splices) {
    AppendVarint(parts, splice.offset);
    AppendVarint(parts, splice.removed);
    AppendVarint(parts, splice.inserted.size());
    parts->append(splice.inserted);
  }
}

SpliceEffectReader::SpliceEffectReader(std::string_view payload) : reader_(payload) {
  reader_.Fixed<uint8_t>();
  value_id_ = reader_.Fixed<uint64_t>();
}

bool SpliceEffectReader::Next() {
  if (!ok() || reader_.remaining() == 0) return false;
  uint64_t page = reader_.Varint();
  uint64_t count = reader_.Varint();
  ok_ = page <= UINT32_MAX && count <= reader_.remaining();
  page_ = static_cast<uint32_t>(page);
  splices_.clear();
  for (uint64_t i = 0; ok() && i < count; ++i) {
    uint64_t offset = reader_.Varint();
    uint64_t removed = reader_.Varint();
    std::string_view inserted = reader_.Bytes(reader_.Varint());
    ok_ = offset <= UINT32_MAX && removed <= UINT32_MAX;
    splices_.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(removed), inserted});
  }
  return ok();
}

}  // namespace firn::log
