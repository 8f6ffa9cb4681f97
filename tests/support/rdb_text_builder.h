// An RdbBuilder that writes down what it is told, for tests of dumps.
#pragma once

#include <set>
#include <string>

#include "engine/rdb/rdb_reader.h"
#include "engine/types/string_ops.h"

namespace firn::test {

// One line for each thing: "key list a expiry=5", "  element x".
class RdbTextBuilder : public RdbBuilder {
 public:
  Status Aux(std::string_view name, std::string_view value) override {
    return Line("aux " + std::string(name) + "=" + std::string(value));
  }
  Status SelectDb(uint64_t db) override { return Line("db " + std::to_string(db)); }
  Status ResizeDb(uint64_t keys, uint64_t expiring) override {
    return Line("size " + std::to_string(keys) + " " + std::to_string(expiring));
  }
  Status Function(std::string_view code) override { return Line("function " + std::string(code)); }
  Status BeginKey(const RdbKey& key) override {
    constexpr std::string_view kNames[] = {"none", "string", "list",  "set",
                                           "zset", "hash",   "stream"};
    std::string line =
        "key " + std::string(kNames[static_cast<size_t>(key.type)]) + " " + std::string(key.key);
    if (key.expiry_ms) line += " expiry=" + std::to_string(*key.expiry_ms);
    if (key.frequency) line += " freq=" + std::to_string(*key.frequency);
    if (key.idle_seconds) line += " idle=" + std::to_string(*key.idle_seconds);
    names_.clear();
    return Line(line);
  }
  Status String(std::string_view value) override { return Line("  string " + std::string(value)); }
  Status ListElement(std::string_view element) override {
    return Line("  element " + std::string(element));
  }
  Status SetMember(std::string_view member) override {
    return Unique(member, "  member " + std::string(member));
  }
  Status ZsetMember(std::string_view member, double score) override {
    return Unique(member, "  " + FormatDouble(score) + " " + std::string(member));
  }
  Status HashField(std::string_view field, std::string_view value, int64_t expiry_ms) override {
    std::string line = "  field " + std::string(field) + "=" + std::string(value);
    if (expiry_ms >= 0) line += " expiry=" + std::to_string(expiry_ms);
    return Unique(field, line);
  }
  Status EndKey() override { return {}; }
  Status SkipEmptyKey() override { return Line("  empty"); }

  const std::string& text() const { return text_; }

 private:
  Status Line(const std::string& line) {
    text_ += line + "\n";
    return {};
  }
  Status Unique(std::string_view name, const std::string& line) {
    if (!names_.emplace(name).second) return Status::Corruption("twice: " + std::string(name));
    return Line(line);
  }

  std::string text_;
  std::set<std::string, std::less<>> names_;
};

}  // namespace firn::test
