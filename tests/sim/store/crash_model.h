// CrashModel: what the commands of a workload did to every key, so that a state found after a crash
// can be told to be that after some command, or not to be one that ever was.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stream_model.h"

namespace firn::test {

// Of the strings of a set, in any order.
class SetFingerprint {
 public:
  void Add(std::string_view text);
  void Remove(std::string_view text);
  uint64_t value() const { return (sum_ ^ 0x5e75) | 1; }  // never that of an absent key

 private:
  uint64_t sum_ = 0;
};

// The strings of a set, with a fingerprint that follows them at no cost.
class ModelSet {
 public:
  void Insert(const std::string& text);
  void Erase(const std::string& text);
  const std::set<std::string>& strings() const { return strings_; }
  uint64_t fingerprint() const { return fingerprint_.value(); }

 private:
  std::set<std::string> strings_;
  SetFingerprint fingerprint_;
};

// A value with its expiry: bytes, a set or a stream.
struct ModelValue {
  std::string bytes = {};
  int64_t expiry_ms = -1;
  std::shared_ptr<ModelSet> set = nullptr;  // of this one value alone
  std::shared_ptr<const ModelStream> stream = nullptr;
};

// What was found of all keys, by slot.
struct FoundState {
  struct Value {
    uint64_t fingerprint = 0;  // 0: absent
    int64_t expiry_ms = -1;
    std::string bytes = {};  // these only if asked for
    std::shared_ptr<ModelSet> set = nullptr;
    std::shared_ptr<const ModelStream> stream = nullptr;
  };
  std::vector<Value> values;
  int64_t now_ms = 0;  // when they were read
};

// The commands from `first` to `last` all leave the state that was found. Where commands undo others
// there are several such ranges: this is the last.
struct PrefixRange {
  uint32_t first = 0;
  uint32_t last = 0;
};

class CrashModel {
 public:
  CrashModel(uint32_t databases, std::vector<std::string> keys);

  // A model of the same keys that begins, with command 0, with what was found. With the contents of
  // the values if these were read.
  CrashModel StartAt(const FoundState& found) const;

  uint32_t databases() const { return databases_; }
  const std::vector<std::string>& keys() const { return keys_; }
  size_t Slot(uint32_t db, size_t key) const { return db * keys_.size() + key; }

  // --- recording: what happens after Begin belongs to one command, that is all or nothing

  uint32_t Begin() { return ++op_; }
  uint32_t op() const { return op_; }
  void Set(size_t slot, std::optional<ModelValue> value);
  void Swap(uint32_t a, uint32_t b);
  void Flush(uint32_t db);
  const std::optional<ModelValue>& now(size_t slot) const { return now_[slot]; }

  // --- judging

  static uint64_t Fingerprint(std::string_view bytes);
  // Says what is wrong, "" if nothing: some prefix that includes the commands up to `least` leaves
  // exactly what was found.
  std::string FindPrefix(const FoundState& found, uint32_t least, PrefixRange* range) const;

 private:
  struct Version {
    uint32_t op;
    uint64_t fingerprint;  // 0: absent
    int64_t expiry_ms;
  };
  std::string Describe(const FoundState& found, uint32_t least, uint32_t best) const;
  bool Matches(const Version& version, const FoundState::Value& value, int64_t now_ms) const;

  const uint32_t databases_;
  const std::vector<std::string> keys_;
  uint32_t op_ = 0;
  std::vector<std::optional<ModelValue>> now_;
  std::vector<std::vector<Version>> history_;
};

}  // namespace firn::test
