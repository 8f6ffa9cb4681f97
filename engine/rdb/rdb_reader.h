// RdbReader: reads dumps of Redis 2.8 to 8.0, whole files and payloads of DUMP, and checks every
// byte of them. What it finds it gives to an RdbBuilder, element by element, so that memory does
// not grow with the size of a value; of the packed forms (ziplists, listpacks and so on), which
// Redis keeps small, one block at a time is in RAM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/base/status.h"
#include "engine/keyspace/entry.h"
#include "engine/rdb/listpack.h"
#include "engine/rdb/rdb_format.h"
#include "engine/rdb/rdb_input.h"
#include "engine/rdb/rdb_source.h"
#include "engine/types/stream_piece.h"

namespace firn {

struct RdbKey {
  std::string_view key;
  ValueType type = ValueType::kString;
  std::optional<int64_t> expiry_ms = {};  // may lie in the past, or be negative
  std::optional<uint8_t> frequency = {};
  std::optional<uint64_t> idle_seconds = {};
};

// Receives what a dump holds. Views are valid during the call. What is refused ends the reading:
// the reader's status then is the builder's, with the offset. A builder must refuse
//   - with kCorruption a member or field that has come before in the same value;
//   - keys that have come before in the same database, if it wants to.
class RdbBuilder {
 public:
  virtual ~RdbBuilder() = default;

  // --- of files
  virtual Status Aux(std::string_view /*name*/, std::string_view /*value*/) { return {}; }
  virtual Status SelectDb(uint64_t db) = 0;
  // How many keys the database is said to have, and how many of them expire.
  virtual Status ResizeDb(uint64_t /*keys*/, uint64_t /*expiring*/) { return {}; }
  // The code of a library of functions.
  virtual Status Function(std::string_view code) = 0;

  // --- keys. Payloads of DUMP have one, with an empty name.
  virtual Status BeginKey(const RdbKey& key) = 0;
  // Once, or any number of one of these. Scores are not NaN.
  virtual Status String(std::string_view value) = 0;
  virtual Status ListElement(std::string_view element) = 0;
  virtual Status SetMember(std::string_view member) = 0;
  virtual Status ZsetMember(std::string_view member, double score) = 0;
  // `expiry_ms` is -1 if the field does not expire; it may lie in the past.
  virtual Status HashField(std::string_view field, std::string_view value, int64_t expiry_ms) = 0;
  virtual Status Stream(const StreamPiece& piece) = 0;
  virtual Status EndKey() = 0;
  // Instead of EndKey: the value has no elements, as some versions of Redis wrote them. There is
  // no such key.
  virtual Status SkipEmptyKey() = 0;
};

struct RdbReadOptions {
  bool checksum = true;  // is checked, if the file has one
};

class RdbReader {
 public:
  RdbReader(RdbSource* source, RdbBuilder* builder, RdbReadOptions options = {})
      : input_(source), builder_(*builder), options_(options) {}

  // A whole file, up to its end mark and the checksum; what follows is not looked at. The message
  // of an error begins with the offset: "offset 123: ...".
  Status ReadFile();
  // What CheckPayload has given. An empty value is an error.
  Status ReadValue();
  // Bytes read so far: after a file, its size.
  uint64_t offset() const { return input_.offset(); }

  // Checks the end of what DUMP gives, version and checksum, and cuts it off. Nothing if it is
  // wrong.
  struct PayloadOptions {
    bool checksum = true;  // false: a wrong one is none, for tests
  };
  static std::optional<std::string_view> CheckPayload(std::string_view payload,
                                                      PayloadOptions options);
  static std::optional<std::string_view> CheckPayload(std::string_view payload) {
    return CheckPayload(payload, PayloadOptions());
  }
  // Whether bytes begin as a dump does.
  static bool IsDump(std::string_view bytes) { return bytes.starts_with("REDIS"); }

 private:
  bool Header();
  bool Body();
  bool Opcode(RdbOpcode opcode, RdbKey* key);
  bool End();
  bool Key(RdbType type, RdbKey key);
  bool Value(RdbType type);
  bool List();
  bool Quicklist(bool second);
  bool Set();
  bool Zset(bool binary);
  bool Hash();
  bool HashWithExpiries(bool relative);
  bool Module(RdbType type);
  bool Packed(RdbType type);
  template <typename BlockReader>
  bool PackedList();
  template <typename BlockReader>
  bool PackedSet();
  template <typename BlockReader>
  bool PackedZset();
  template <typename BlockReader>
  bool PackedHash(bool expiries);
  template <typename BlockReader>
  bool EndBlock(const BlockReader& reader);
  bool Expiry(uint64_t expiry_ms, int64_t* checked);
  bool Tell(const Status& status);
  bool FailInBlock(std::string_view reason, uint64_t at);

  RdbInput input_;
  RdbBuilder& builder_;
  const RdbReadOptions options_;
  int version_ = 0;
  bool ended_ = false;
  uint64_t elements_ = 0;  // of the present value
  std::string name_;
  std::string first_;
  std::string second_;
};

}  // namespace firn
