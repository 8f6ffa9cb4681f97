#include "server/commands/object_encoding.h"

#include "engine/types/hash_value.h"
#include "engine/types/list_value.h"
#include "engine/types/set_value.h"
#include "engine/types/zset_value.h"

namespace firn::server {

std::string_view EncodingName(const Database::ObjectInfo& info) {
  if (!IsCollection(info.type)) return info.encoding;
  if (info.root.empty()) return {};
  switch (info.type) {
    case ValueType::kList:
      return ListEncoding(info.root);
    case ValueType::kHash:
      return HashEncoding(info.root);
    case ValueType::kSet:
      return SetEncodingName(info.root);
    case ValueType::kZset:
      return ZsetEncoding(info.root);
    case ValueType::kStream:
      return "stream";
    default:
      return {};
  }
}

}  // namespace firn::server
