// The pieces of a dump below keys: numbers, lengths, strings; and how a collection is written.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/rdb/rdb_format.h"
#include "engine/rdb/rdb_sink.h"

namespace firn {

// Appends pieces to a sink. Cheap to make but for its buffer.
class RdbPieces {
 public:
  RdbPieces(RdbSink* sink, bool compress) : sink_(*sink), compress_(compress) {}

  void Byte(uint8_t byte) { sink_.Append({reinterpret_cast<const char*>(&byte), 1}); }
  void Type(RdbType type) { Byte(static_cast<uint8_t>(type)); }
  void Opcode(RdbOpcode opcode) { Byte(static_cast<uint8_t>(opcode)); }
  template <typename T>
  void Fixed(T value) {
    sink_.Append({reinterpret_cast<const char*>(&value), sizeof value});
  }
  void Length(uint64_t length);
  // As an integer, compressed, or as it is: the shortest that Redis would choose.
  void String(std::string_view bytes);
  void Raw(std::string_view bytes) { sink_.Append(bytes); }

 private:
  bool IntegerString(std::string_view bytes);
  bool CompressedString(std::string_view bytes);
  bool Compress(std::string_view bytes, size_t room, unsigned* size);

  RdbSink& sink_;
  const bool compress_;
  std::string compressed_;
  // Trying costs more than all else that is done for a value, so where nothing gets shorter few are
  // tried. In a row:
  uint32_t failures_ = 0;
  uint32_t left_out_ = 0;
};

}  // namespace firn
