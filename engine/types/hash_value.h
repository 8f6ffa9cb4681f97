// HashValue: a hash on the pages of a PageSpace, with expiries of single fields. Fields are rows of
// a HashedTree. A page is kHashFew or kHash until a field of it gets an expiry, then kHashTtl.
//
// Expired fields are not seen by any call. They go when a page with them is written to, when
// DropExpired meets them, or with their key. The root's flag kFieldsExpire says that there may be
// expiries; a tree's `word` is then a time before which no field expires (0 right after a small
// value has become a tree: not known).
//
// Calls that answer kMissing or false need a page that is not in RAM and have changed nothing
// (page_space.h). A command with several fields first finds them all (Want), then changes them one
// by one; if it removes some, with FindAgain.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/types/hashed_tree.h"

namespace firn {

// When a hash is shown as a hashtable (hash-max-listpack-entries and -value).
struct HashLimits {
  uint64_t max_listpack_entries = 512;
  uint64_t max_listpack_value = 64;
};
// "listpack", "listpackex" (fields expire) or "hashtable".
const char* HashEncoding(std::string_view root);
// Whether there may be fields with an expiry; if not, there is none.
bool FieldsMayExpire(std::string_view root);
// Whether every field of a small hash has expired: the key counts as gone then. Of a larger one its
// root can't tell.
bool AllFieldsExpired(std::string_view root, int64_t now_ms);

class HashValue {
 public:
  static constexpr int64_t kNoExpiry = -1;

  // `now_ms`: fields that expire at this time or before have expired.
  HashValue(PageSpace* space, HashSecret secret, int64_t now_ms,
            HashedTree::HashFunction hash = SipHash13)
      : tree_(space, PackedKind::kHashFew, secret, hash), now_ms_(now_ms) {}

  bool exists() const { return tree_.exists(); }
  // Fields, with those that have expired and are still there. 0 if the value does not exist.
  uint64_t count() { return tree_.count(); }
  // A small value needs no page but its root: nothing can be missing.
  bool small() { return !exists() || tree_.small(); }
  bool IsLive(const PackedRow& row) const {
    return row.expiry_ms == kNoExpiry || row.expiry_ms > now_ms_;
  }

  // --- fields that have expired
  // Drops them from a small value, and returns how many. What every command does first, so that
  // the value is gone if none is left. A tree stays as it is.
  uint64_t DropExpiredIfSmall() {
    if (!exists() || (tree_.flags() & kFieldsExpire) == 0 || !tree_.small()) return 0;
    return DropFromLeaf({});
  }
  // Whether there may be some that have expired.
  bool MayHaveExpired();
  // Drops all of them. False: pages are missing.
  bool DropExpired(uint64_t* dropped);

  // --- fields
  enum class Lookup : uint8_t { kMissing, kAbsent, kPresent };
  struct Field {
    HashedTree::Place place;
    PackedRow row;      // if present; its views are valid until the next change
    bool live = false;  // present
  };
  Lookup Find(std::string_view name, Field* field);
  // False: a page is missing.
  bool Want(std::string_view name) {
    HashedTree::Place place;
    return tree_.Find(name, &place);
  }
  // In a command's second pass: whether it is (still) present.
  bool FindAgain(std::string_view name, Field* field);

  // Sets the value of a field that Find has looked for; makes the hash if there is none. Names and
  // values must not lie in a page. REQUIRES of this and the rest: no change since.
  struct Update {
    std::string_view name;
    std::string_view value;
    int64_t expiry_ms = kNoExpiry;
    bool keep_expiry = false;  // of a present field
  };
  void Set(const Field& field, const Update& update, const HashLimits& limits);
  // REQUIRES: live. The value may be gone afterwards.
  void Remove(const Field& field) { tree_.Remove(field.place); }
  // REQUIRES: live. kNoExpiry takes it off.
  void SetExpiry(const Field& field, int64_t expiry_ms);
  // Drops what has expired from the page of a field that was looked for in a tree; to be called
  // after the last change of a command. Returns how many fields.
  uint64_t DropExpiredNear(std::string_view name);
  // Redis takes so many fields at once for a sign of a large hash. REQUIRES: the value exists.
  void NoteFields(uint64_t fields, const HashLimits& limits);

  // --- all fields
  bool WantAll() { return tree_.WantAll(); }
  // visit(const PackedRow&), for live fields. REQUIRES: WantAll was true.
  template <typename Visitor>
  void ForEach(Visitor visit) {
    tree_.ForEach([&](const PackedRow& row) {
      if (IsLive(row)) visit(row);
    });
  }
  // As HashedTree::Scan; a hash that is no hashtable yet comes as one batch.
  bool Scan(uint64_t cursor, uint64_t count, HashedTree::ScanBatch* batch);
  HashedTree& tree() { return tree_; }

 private:
  friend const char* HashEncoding(std::string_view root);
  friend bool FieldsMayExpire(std::string_view root);
  friend bool AllFieldsExpired(std::string_view root, int64_t now_ms);
  static constexpr uint8_t kHashtable = 1;  // what OBJECT ENCODING shows, for ever
  static constexpr uint8_t kFieldsExpire = 2;

  uint64_t DropFromLeaf(const CountedTree::Leaf& leaf);
  void NoteExpiry(int64_t expiry_ms);
  void SetWord(int64_t word);

  HashedTree tree_;
  const int64_t now_ms_;
};

}  // namespace firn
