// RestoredValue: a value out of a dump, collected in RAM, on its way into the store.
//
//   RestoredValue value;
//   value.Begin(ValueType::kSet);
//   value.Add({.name = "member"});
//   if (!value.IsDistinct()) ...             // a member came twice
//   value.Create(db, key, limits, now_ms);   // the key becomes this value
//
// A value that is too large for that is added in parts: Extend, Clear, and so on.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/byte_blocks.h"
#include "engine/rdb/rdb_reader.h"
#include "engine/types/hash_value.h"
#include "engine/types/list_value.h"
#include "engine/types/set_value.h"
#include "engine/types/stream_piece.h"
#include "engine/types/zset_value.h"
#include "tiering/collection.h"
#include "tiering/store.h"

namespace firn::server {

// What OBJECT ENCODING shows of collections depends on these.
struct ValueLimits {
  ListLimits list;
  HashLimits hash;
  SetLimits set;
  ZsetLimits zset;
};

class RestoredValue {
 public:
  struct Element {
    std::string_view name = {};   // element, member, field; the string itself
    std::string_view value = {};  // of a field
    double score = 0;
    int64_t expiry_ms = -1;  // of a field
  };

  // Forgets what was collected before.
  void Begin(ValueType type);
  // Copies the bytes.
  void Add(const Element& element);
  // Of a stream.
  void Add(const StreamPiece& piece);
  // Forgets the elements, but stays of the type.
  void Clear();

  ValueType type() const { return type_; }
  size_t count() const { return elements_.size() + pieces_.size(); }
  // What the elements take, roughly.
  uint64_t bytes() const { return bytes_; }
  // Whether no member or field comes twice.
  bool IsDistinct() const;
  // Leaves out fields that have expired.
  void DropExpired(int64_t now_ms);

  // Makes an absent key this value, without an expiry. REQUIRES: the key is planned with kReplace
  // at least, and absent; IsDistinct, DropExpired; at least one element.
  void Create(Database& db, const HashedKey& key, const ValueLimits& limits) const;
  // Makes it in pages that have no value yet. REQUIRES: no string; IsDistinct, DropExpired; at
  // least one element.
  struct Making {
    HashSecret secret;
    int64_t now_ms = 0;
    const ValueLimits& limits;
  };
  void CreateIn(PageSpace* pages, const Making& making) const;
  // Adds elements to the collection that the key holds, or makes it, until all of them are added,
  // or one's page is missing; `*part.first` tells how far it came. REQUIRES: planned with kUpdate;
  // a collection of this type, or absent; DropExpired.
  enum class Extended : uint8_t { kAll, kMissing, kTwice };
  struct Part {
    size_t* first = nullptr;  // number of the first element
    size_t end = 0;
  };
  Extended Extend(Database& db, const HashedKey& key, const ValueLimits& limits,
                  const Part& part) const;

 private:
  void CreateHash(PageSpace* pages, const Making& making) const;

  ValueType type_ = ValueType::kString;
  std::vector<Element> elements_;
  std::vector<StreamPiece> pieces_;
  uint64_t bytes_ = 0;
  ByteBlocks blocks_;  // the bytes of the elements
};

// Makes elements of what a dump's collections and strings consist of.
class ElementBuilder : public RdbBuilder {
 public:
  Status String(std::string_view value) final { return Add({.name = value}); }
  Status ListElement(std::string_view element) final { return Add({.name = element}); }
  Status SetMember(std::string_view member) final { return Add({.name = member}); }
  Status ZsetMember(std::string_view member, double score) final {
    return Add({.name = member, .score = score});
  }
  Status HashField(std::string_view field, std::string_view value, int64_t expiry_ms) final {
    return Add({.name = field, .value = value, .expiry_ms = expiry_ms});
  }

 protected:
  virtual Status Add(const RestoredValue::Element& element) = 0;
};

}  // namespace firn::server
