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
  Status Stream(const StreamPiece& piece) override;
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

inline Status RdbTextBuilder::Stream(const StreamPiece& piece) {
  auto id = [](StreamId i) { return std::to_string(i.ms) + "-" + std::to_string(i.seq); };
  auto number = [](auto n) { return " " + std::to_string(n); };
  const std::string name(piece.bytes);
  switch (piece.kind) {
    case StreamPiece::Kind::kNode: {
      if (!StreamPage::Validate(piece.bytes)) return Line("  INVALID PAGE");
      const StreamPage page(piece.bytes);
      std::string line = "  node " + id(page.master()) + number(page.count()) +
                         number(page.deleted()) + number(page.ListpackBytes()) + " " +
                         id(page.LastId());
      for (StreamPage::Cursor cursor = page.begin(); cursor.valid(); cursor.Next()) {
        line += "\n    " + id(cursor.id()) + (cursor.own_fields() ? " own" : "");
        cursor.ForEachField([&](std::string_view field, std::string_view value) {
          line += " " + std::string(field) + "=" + std::string(value);
        });
      }
      return Line(line);
    }
    case StreamPiece::Kind::kState:
      return Line("  state last=" + id(piece.id) + " first=" + id(piece.first_id) +
                  " deleted=" + id(piece.max_deleted_id) + number(piece.entries_added));
    case StreamPiece::Kind::kGroup:
      return Line("  group " + name + " " + id(piece.id) + number(piece.entries_read) +
                  number(piece.pending) + number(piece.consumers));
    case StreamPiece::Kind::kConsumer:
      return Line("  consumer " + name + number(piece.seen_ms) + number(piece.active_ms) +
                  number(piece.pending));
    case StreamPiece::Kind::kPending:
      return Line("  pending " + id(piece.id) + number(piece.seen_ms) + number(piece.deliveries) +
                  number(piece.consumer));
  }
  return {};
}

}  // namespace firn::test
