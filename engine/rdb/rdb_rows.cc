#include "engine/rdb/rdb_rows.h"

#include "engine/base/check.h"
#include "engine/types/hash_value.h"
#include "engine/types/root_format.h"
#include "engine/types/set_value.h"

namespace firn {
namespace {

RdbType FormOf(ValueType type) {
  switch (type) {
    case ValueType::kList:
      return RdbType::kList;
    case ValueType::kSet:
      return RdbType::kSet;
    case ValueType::kZset:
      return RdbType::kZset2;
    default:
      CHECK(type == ValueType::kHash);
      return RdbType::kHash;
  }
}

}  // namespace

bool RdbRows::Fits(ValueType type, std::string_view root) {
  switch (type) {
    case ValueType::kList:
    case ValueType::kZset:
      return true;
    case ValueType::kSet:
      return static_cast<SetEncoding>(RootView(root).flags()) != SetEncoding::kIntset;
    case ValueType::kHash:
      return !FieldsMayExpire(root);
    default:
      return false;
  }
}

RdbRows::RdbRows(RdbSink* sink, const Options& options)
    : sink_(*sink), out_(sink, options.compress), type_(options.type) {
  out_.Type(FormOf(type_));
  out_.Length(options.count);
}

void RdbRows::Add(const PackedRow& row) {
  out_.String(row.bytes);
  if (type_ == ValueType::kZset) out_.Fixed(row.score);
  if (type_ == ValueType::kHash) out_.String(row.value);
}

void RdbRows::End() {
  out_.Fixed(static_cast<uint16_t>(kRdbVersion));
  out_.Fixed(sink_.crc());
  sink_.Flush();
}

}  // namespace firn
