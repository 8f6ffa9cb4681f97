#include "engine/rdb/rdb_reader.h"

#include <charconv>

#include "engine/base/coding.h"
#include "engine/rdb/crc64.h"
#include "engine/rdb/rdb_stream.h"

namespace firn {
namespace {

constexpr size_t kMagicBytes = 9;
constexpr size_t kFooterBytes = 10;

// Nothing for types that aren't values.
std::optional<ValueType> TypeOf(RdbType type) {
  switch (type) {
    case RdbType::kString:
      return ValueType::kString;
    case RdbType::kList:
    case RdbType::kListZiplist:
    case RdbType::kListQuicklist:
    case RdbType::kListQuicklist2:
      return ValueType::kList;
    case RdbType::kSet:
    case RdbType::kSetIntset:
    case RdbType::kSetListpack:
      return ValueType::kSet;
    case RdbType::kZset:
    case RdbType::kZset2:
    case RdbType::kZsetZiplist:
    case RdbType::kZsetListpack:
      return ValueType::kZset;
    case RdbType::kHash:
    case RdbType::kHashZipmap:
    case RdbType::kHashZiplist:
    case RdbType::kHashListpack:
    case RdbType::kHashMetadataPreGa:
    case RdbType::kHashListpackExPreGa:
    case RdbType::kHashMetadata:
    case RdbType::kHashListpackEx:
      return ValueType::kHash;
    case RdbType::kStreamListpacks:
    case RdbType::kStreamListpacks2:
    case RdbType::kStreamListpacks3:
    case RdbType::kModulePreGa:
    case RdbType::kModule2:
      return ValueType::kStream;
  }
  return std::nullopt;
}

// A 64-bit number has nine letters of six bits, and ten bits of a version.
std::string ModuleName(uint64_t id) {
  constexpr std::string_view kLetters =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string name;
  for (int shift = 58; shift >= 10; shift -= 6) name += kLetters[id >> shift & 63];
  return name + "' (encoding " + std::to_string(id & 1023) + ")";
}

}  // namespace

std::optional<std::string_view> RdbReader::CheckPayload(std::string_view payload,
                                                        PayloadOptions options) {
  if (payload.size() < kFooterBytes) return std::nullopt;
  const size_t crc_at = payload.size() - sizeof(uint64_t);
  const auto version = LoadFixed<uint16_t>(payload.data() + crc_at - sizeof(uint16_t));
  if (version > kMaxRdbVersion) return std::nullopt;
  const auto crc = LoadFixed<uint64_t>(payload.data() + crc_at);
  if (options.checksum && Crc64(0, payload.substr(0, crc_at)) != crc) return std::nullopt;
  return payload.substr(0, payload.size() - kFooterBytes);
}

bool RdbReader::Tell(const Status& status) { return status.ok() || input_.Fail(status); }

// --- files

Status RdbReader::ReadFile() {
  if (Header() && Body()) End();
  return input_.status();
}

bool RdbReader::Header() {
  char magic[kMagicBytes];
  if (!input_.Bytes(magic, sizeof magic)) return false;
  const char* digits = magic + 5;
  const char* end = magic + kMagicBytes;
  if (!IsDump({magic, sizeof magic}) || std::from_chars(digits, end, version_).ptr != end ||
      version_ < 1) {
    return input_.Fail("this is no dump of Redis");
  }
  if (version_ > kMaxRdbVersion) {
    return input_.Fail("the dump has version " + std::to_string(version_) +
                       ", the latest known is " + std::to_string(kMaxRdbVersion));
  }
  return true;
}

bool RdbReader::Body() {
  RdbKey key;
  while (input_.ok() && !ended_) {
    const uint8_t type = input_.Byte();
    if (!input_.ok()) break;
    if (type >= kFirstRdbOpcode) {
      Opcode(static_cast<RdbOpcode>(type), &key);
    } else {
      Key(static_cast<RdbType>(type), key);
      key = {};
    }
  }
  return input_.ok();
}

bool RdbReader::Opcode(RdbOpcode opcode, RdbKey* key) {
  switch (opcode) {
    case RdbOpcode::kExpireSeconds:
      key->expiry_ms = int64_t{input_.Fixed<int32_t>()} * 1000;
      return true;
    case RdbOpcode::kExpireMs:
      key->expiry_ms = input_.Fixed<int64_t>();
      return true;
    case RdbOpcode::kFreq:
      key->frequency = input_.Byte();
      return true;
    case RdbOpcode::kIdle:
      key->idle_seconds = input_.Length();
      return true;
    case RdbOpcode::kEnd:
      ended_ = true;
      return true;
    case RdbOpcode::kSelectDb: {
      const uint64_t db = input_.Length();
      return input_.ok() && Tell(builder_.SelectDb(db));
    }
    case RdbOpcode::kResizeDb: {
      const uint64_t keys = input_.Length();
      const uint64_t expiring = input_.Length();
      return input_.ok() && Tell(builder_.ResizeDb(keys, expiring));
    }
    case RdbOpcode::kSlotInfo:
      for (int i = 0; i < 3; ++i) input_.Length();
      return true;
    case RdbOpcode::kAux:
      return input_.String(&first_) && input_.String(&second_) &&
             Tell(builder_.Aux(first_, second_));
    case RdbOpcode::kFunction2:
      return input_.String(&first_) && Tell(builder_.Function(first_));
    case RdbOpcode::kFunctionPreGa:
      return input_.Fail("functions of a release candidate of Redis 7.0 can't be loaded");
    case RdbOpcode::kModuleAux: {
      const uint64_t id = input_.Length();
      return input_.ok() &&
             input_.Fail("data of the module '" + ModuleName(id) + " can't be loaded");
    }
  }
  return input_.Fail("an unknown opcode");
}

bool RdbReader::End() {
  if (version_ < kRdbVersionChecksum) {
    // So that a damaged version is no way around the checksum.
    const uint64_t left = input_.remaining();
    if (left == 0 || left == RdbSource::kUnknown) return true;
    return input_.Fail("something follows the end");
  }
  const uint64_t crc = input_.crc();
  const auto expected = input_.Fixed<uint64_t>();
  // 0: the file was written without one.
  if (!input_.ok() || !options_.checksum || expected == 0 || expected == crc) return input_.ok();
  return input_.Fail("CRC error: the checksum is wrong");
}

// --- values

Status RdbReader::ReadValue() {
  const auto type = static_cast<RdbType>(input_.Byte());
  const std::optional<ValueType> value_type = TypeOf(type);
  if (!value_type) input_.Fail("a value of an unknown type");
  if (!input_.ok() || !Tell(builder_.BeginKey({.key = {}, .type = *value_type})) || !Value(type)) {
    return input_.status();
  }
  if (input_.remaining() > 0) {
    input_.Fail("something follows the value");
  } else if (elements_ == 0) {
    input_.Fail("a value without elements");
  } else {
    Tell(builder_.EndKey());
  }
  return input_.status();
}

bool RdbReader::Key(RdbType type, RdbKey key) {
  const std::optional<ValueType> value_type = TypeOf(type);
  if (!value_type) return input_.Fail("a value of an unknown type");
  if (!input_.String(&name_)) return false;
  key.key = name_;
  key.type = *value_type;
  if (!Tell(builder_.BeginKey(key)) || !Value(type)) return false;
  return Tell(elements_ == 0 ? builder_.SkipEmptyKey() : builder_.EndKey());
}

bool RdbReader::Value(RdbType type) {
  elements_ = 0;
  switch (type) {
    case RdbType::kString:
      ++elements_;
      return input_.String(&first_) && Tell(builder_.String(first_));
    case RdbType::kList:
      return List();
    case RdbType::kListQuicklist:
      return Quicklist(false);
    case RdbType::kListQuicklist2:
      return Quicklist(true);
    case RdbType::kSet:
      return Set();
    case RdbType::kZset:
      return Zset(false);
    case RdbType::kZset2:
      return Zset(true);
    case RdbType::kHash:
      return Hash();
    case RdbType::kHashMetadataPreGa:
      return HashWithExpiries(false);
    case RdbType::kHashMetadata:
      return HashWithExpiries(true);
    case RdbType::kModulePreGa:
    case RdbType::kModule2:
      return Module(type);
    case RdbType::kStreamListpacks:
    case RdbType::kStreamListpacks2:
    case RdbType::kStreamListpacks3:
      // A stream may be empty.
      ++elements_;
      return RdbStreamReader(&input_, &builder_, type).Read();
    default:
      return Packed(type);
  }
}

bool RdbReader::List() {
  uint64_t left = input_.Count(1);
  for (; left > 0 && input_.String(&first_); --left, ++elements_) {
    if (!Tell(builder_.ListElement(first_))) break;
  }
  return input_.ok();
}

bool RdbReader::Quicklist(bool second) {
  uint64_t left = input_.Count(1);
  for (; left > 0 && input_.ok(); --left) {
    const uint64_t container =
        second ? input_.Length() : static_cast<uint64_t>(RdbListNode::kPacked);
    if (!input_.String(&first_)) break;
    if (first_.empty()) {
      input_.Fail("an empty node of a list");
    } else if (container == static_cast<uint64_t>(RdbListNode::kPlain)) {
      ++elements_;
      Tell(builder_.ListElement(first_));
    } else if (container != static_cast<uint64_t>(RdbListNode::kPacked)) {
      input_.Fail("a node of a list of an unknown kind");
    } else {
      second ? PackedList<ListpackReader>() : PackedList<ZiplistReader>();
    }
  }
  return input_.ok();
}

bool RdbReader::Set() {
  uint64_t left = input_.Count(1);
  for (; left > 0 && input_.String(&first_); --left, ++elements_) {
    if (!Tell(builder_.SetMember(first_))) break;
  }
  return input_.ok();
}

bool RdbReader::Zset(bool binary) {
  uint64_t left = input_.Count(binary ? 1 + sizeof(double) : 2);
  for (; left > 0 && input_.String(&first_); --left, ++elements_) {
    const double score = binary ? input_.Fixed<double>() : input_.TextDouble();
    if (!input_.ok()) break;
    if (score != score) return input_.Fail("a score that is no number");
    if (!Tell(builder_.ZsetMember(first_, score))) break;
  }
  return input_.ok();
}

bool RdbReader::Hash() {
  uint64_t left = input_.Count(2);
  for (; left > 0 && input_.String(&first_) && input_.String(&second_); --left, ++elements_) {
    if (!Tell(builder_.HashField(first_, second_, -1))) break;
  }
  return input_.ok();
}

// The expiry of a field is 0 if there is none; else the time, or, if `relative`, the time since the
// earliest one, which precedes all, plus one.
bool RdbReader::HashWithExpiries(bool relative) {
  const uint64_t earliest = relative ? input_.Fixed<uint64_t>() : 0;
  int64_t expiry_ms;
  if (!Expiry(earliest, &expiry_ms)) return false;
  uint64_t left = input_.Count(3);
  for (; left > 0 && input_.ok(); --left, ++elements_) {
    const uint64_t expiry = input_.Length();
    expiry_ms = -1;
    if (expiry != 0) {
      if (!Expiry(expiry, &expiry_ms)) return false;
      if (relative && !Expiry(earliest + expiry - 1, &expiry_ms)) return false;
    }
    if (!input_.String(&first_) || !input_.String(&second_)) break;
    if (!Tell(builder_.HashField(first_, second_, expiry_ms))) break;
  }
  return input_.ok();
}

bool RdbReader::Expiry(uint64_t expiry_ms, int64_t* checked) {
  constexpr uint64_t kMost = (uint64_t{1} << 48) - 1;
  if (expiry_ms > kMost) return input_.Fail("a field with an impossible expiry");
  *checked = static_cast<int64_t>(expiry_ms);
  return true;
}

bool RdbReader::Module(RdbType type) {
  const uint64_t id = type == RdbType::kModule2 ? input_.Length() : 0;
  if (!input_.ok()) return false;
  if (type == RdbType::kModulePreGa) {
    return input_.Fail("a value of a module of Redis 4.0's release candidates can't be loaded");
  }
  return input_.Fail("a value of the module '" + ModuleName(id) + " can't be loaded");
}

// --- packed forms

bool RdbReader::Packed(RdbType type) {
  if (type == RdbType::kHashListpackEx) {
    int64_t earliest;
    if (!Expiry(input_.Fixed<uint64_t>(), &earliest)) return false;
  }
  if (!input_.String(&first_)) return false;
  switch (type) {
    case RdbType::kListZiplist:
      return PackedList<ZiplistReader>();
    case RdbType::kSetIntset:
      return PackedSet<IntsetReader>();
    case RdbType::kSetListpack:
      return PackedSet<ListpackReader>();
    case RdbType::kZsetZiplist:
      return PackedZset<ZiplistReader>();
    case RdbType::kZsetListpack:
      return PackedZset<ListpackReader>();
    case RdbType::kHashZipmap:
      return PackedHash<ZipmapReader>(false);
    case RdbType::kHashZiplist:
      return PackedHash<ZiplistReader>(false);
    case RdbType::kHashListpack:
      return PackedHash<ListpackReader>(false);
    default:
      return PackedHash<ListpackReader>(true);
  }
}

// The offset of the failure is that of the block's end; `at` says where in the block.
bool RdbReader::FailInBlock(std::string_view reason, uint64_t at) {
  return input_.Fail(std::string(reason) + ", at its byte " + std::to_string(at) + " of " +
                     std::to_string(first_.size()));
}

template <typename BlockReader>
bool RdbReader::EndBlock(const BlockReader& reader) {
  if (reader.status().ok()) return input_.ok();
  return FailInBlock(reader.status().message(), reader.offset());
}

template <typename BlockReader>
bool RdbReader::PackedList() {
  BlockReader reader(first_);
  PackedElement element;
  for (; reader.Next(&element); ++elements_) {
    if (!Tell(builder_.ListElement(element.bytes()))) return false;
  }
  return EndBlock(reader);
}

template <typename BlockReader>
bool RdbReader::PackedSet() {
  BlockReader reader(first_);
  PackedElement element;
  for (; reader.Next(&element); ++elements_) {
    if (!Tell(builder_.SetMember(element.bytes()))) return false;
  }
  return EndBlock(reader);
}

template <typename BlockReader>
bool RdbReader::PackedZset() {
  BlockReader reader(first_);
  PackedElement member;
  PackedElement element;
  for (; reader.Next(&member); ++elements_) {
    if (!reader.Next(&element)) {
      if (!EndBlock(reader)) return false;
      return FailInBlock("a member without a score", reader.offset());
    }
    double score = 0;
    if (element.is_integer()) {
      score = static_cast<double>(element.integer());
    } else if (!ParseDouble(element.bytes(), &score) || score != score) {
      return FailInBlock("a score that is no number", reader.offset());
    }
    if (!Tell(builder_.ZsetMember(member.bytes(), score))) return false;
  }
  return EndBlock(reader);
}

template <typename BlockReader>
bool RdbReader::PackedHash(bool expiries) {
  BlockReader reader(first_);
  PackedElement field;
  PackedElement value;
  PackedElement expiry;
  for (; reader.Next(&field); ++elements_) {
    if (!reader.Next(&value) || (expiries && !reader.Next(&expiry))) {
      if (!EndBlock(reader)) return false;
      return FailInBlock("a field without a value", reader.offset());
    }
    int64_t expiry_ms = -1;
    if (expiries) {
      if (!expiry.is_integer()) {
        return FailInBlock("a field with an impossible expiry", reader.offset());
      }
      if (expiry.integer() != 0 && !Expiry(static_cast<uint64_t>(expiry.integer()), &expiry_ms)) {
        return false;
      }
    }
    if (!Tell(builder_.HashField(field.bytes(), value.bytes(), expiry_ms))) return false;
  }
  return EndBlock(reader);
}

}  // namespace firn
