#include "engine/rdb/rdb_writer.h"

#include <algorithm>
#include <cstdio>

#include "engine/base/check.h"
#include "engine/rdb/rdb_collection.h"
#include "engine/rdb/rdb_values.h"

namespace firn {
namespace {

std::string Magic(int version) {
  char magic[16];
  std::snprintf(magic, sizeof magic, "REDIS%04d", version);
  return magic;
}

}  // namespace

RdbWriter::RdbWriter(RdbSink* sink, const RdbWriteOptions& options)
    : sink_(*sink), options_(options), out_(std::make_unique<RdbPieces>(sink, options.compress)) {}

RdbWriter::~RdbWriter() = default;

// --- a file

void RdbWriter::Header(int version) {
  header_version_ = version;
  sink_.Append(Magic(version));
}

void RdbWriter::Aux(std::string_view name, std::string_view value) {
  out_->Opcode(RdbOpcode::kAux);
  out_->String(name);
  out_->String(value);
}

void RdbWriter::Function(std::string_view code) {
  out_->Opcode(RdbOpcode::kFunction2);
  out_->String(code);
}

void RdbWriter::SelectDb(uint32_t db) {
  out_->Opcode(RdbOpcode::kSelectDb);
  out_->Length(db);
}

void RdbWriter::ResizeDb(const Sizes& sizes) {
  out_->Opcode(RdbOpcode::kResizeDb);
  out_->Length(sizes.keys);
  out_->Length(sizes.expiring);
}

void RdbWriter::KeyPrefix(const Key& key) {
  if (key.expiry_ms >= 0) {
    out_->Opcode(RdbOpcode::kExpireMs);
    out_->Fixed(key.expiry_ms);
  }
  if (key.frequency) {
    out_->Opcode(RdbOpcode::kFreq);
    out_->Byte(*key.frequency);
  } else if (key.idle_seconds) {
    out_->Opcode(RdbOpcode::kIdle);
    out_->Length(*key.idle_seconds);
  }
}

void RdbWriter::StringKey(const Key& key, std::string_view value) {
  KeyPrefix(key);
  out_->Type(RdbType::kString);
  out_->String(key.key);
  out_->String(value);
}

RdbWriter::Written RdbWriter::CollectionKey(const Key& key, ValueType type, PageSpace* pages) {
  RdbCollection value(pages, type, options_.now_ms);
  if (!value.Choose()) return Written::kMissing;
  if (value.empty()) return Written::kEmpty;
  needed_version_ = std::max(needed_version_, value.version());
  KeyPrefix(key);
  out_->Type(value.form());
  out_->String(key.key);
  return value.Write(out_.get()) ? Written::kYes : Written::kMissing;
}

void RdbWriter::End() {
  if (needed_version_ > header_version_) {
    sink_.Amend({.offset = 0, .was = Magic(header_version_), .becomes = Magic(needed_version_)});
  }
  out_->Opcode(RdbOpcode::kEnd);
  out_->Fixed(options_.checksum ? sink_.crc() : uint64_t{0});
  sink_.Flush();
}

// --- DUMP

void RdbWriter::StringPayload(std::string_view value) {
  out_->Type(RdbType::kString);
  out_->String(value);
  EndPayload();
}

RdbWriter::Written RdbWriter::CollectionPayload(ValueType type, PageSpace* pages) {
  RdbCollection value(pages, type, options_.now_ms);
  if (!value.Choose()) return Written::kMissing;
  if (value.empty()) return Written::kEmpty;
  needed_version_ = std::max(needed_version_, value.version());
  out_->Type(value.form());
  if (!value.Write(out_.get())) return Written::kMissing;
  EndPayload();
  return Written::kYes;
}

void RdbWriter::EndPayload() {
  out_->Fixed(static_cast<uint16_t>(needed_version_));
  out_->Fixed(sink_.crc());
  sink_.Flush();
}

}  // namespace firn
