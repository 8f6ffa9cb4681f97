// Collection: the pages of one list, hash, set or sorted set, for the command that runs (a
// PageSpace on the store). Lives on the stack of a command's handler:
//
//   Collection pages(context.database(), key, ValueType::kHash);
//   if (pages.wrong_type()) return ReplyWrongType(...);
//   HashValue hash(&pages);
//   if (!hash.Find(field, &found)) return;  // pages are missing: nothing replied, nothing changed;
//                                           // they are fetched and the command runs again
//
// All changes between construction and destruction (or Commit) become one record in the log, or one
// group: whole or absent after a crash. A command that changes several values wraps them in
// Store::BeginGroup and EndGroup. A collection that has become empty must be deleted with
// DeleteValue. Two objects for one key must not live at the same time.
//
// Executor thread.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/siphash.h"
#include "engine/keyspace/table.h"
#include "engine/types/page_space.h"
#include "engine/types/root_format.h"
#include "tiering/element_hint.h"
#include "tiering/store.h"

namespace firn {

struct Keyspace;

class Collection final : public PageSpace {
 public:
  struct Options {
    bool touch = true;  // as Database::LookupOptions
    bool count_hit = true;
  };
  // Looks the key up: one that has expired is deleted first. REQUIRES: planned with kRead or
  // kUpdate, or with kReplace if `type` is about to overwrite it (DeleteValue, then CreateRoot).
  Collection(Database& database, const HashedKey& key, ValueType type, Options options);
  Collection(Database& database, const HashedKey& key, ValueType type)
      : Collection(database, key, type, Options()) {}
  ~Collection() override;
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  // The key holds a value of another type.
  bool wrong_type() const { return wrong_type_; }
  int64_t expiry_ms() const { return expiry_ms_; }
  // For the hashes of fields and members.
  const HashSecret& secret() const;
  int64_t now_ms() const;
  // Logs what was changed so far; the object may be used on.
  void Commit();

  // --- for commands of a pipeline that are about to look an element up (element_hint.h), or a
  // place in a long string. Locate, or LocateByte, is called once the key's entry has come from
  // memory, and sets a hint that was cleared, if it can; FetchAhead then is given those that are
  // set. Nothing may change between the two.
  static void Locate(const Database& database, const HashedKey& key, const ElementQuery& query,
                     ElementHint* hint);
  static void LocateByte(const Database& database, const HashedKey& key, uint64_t offset,
                         ElementHint* hint);
  static void FetchAhead(const Database& database, std::span<ElementHint* const> hints);
  // As Locate, for a command that works at an end of a list: asks for what it touches there, if the
  // list is small.
  enum class End : uint8_t { kHead, kTail };
  static void FetchEnd(const Database& database, const HashedKey& key, End end);

  bool exists() const override { return exists_; }
  std::string_view Root() override {
    CHECK_MSG(root_bytes_.data() != nullptr, "a collection was used that had not been planned");
    return root_bytes_;
  }
  std::string_view Read(PageNumber page) override;
  std::string_view Peek(PageNumber page) override;
  void ReadAhead(std::span<const PageNumber> pages, size_t near) override;
  const LeafHint* FindHint(const Sought& sought) override;
  bool KnownHash(std::string_view element, uint64_t* hash) override;
  void CreateRoot(std::string_view bytes) override;
  void ReplaceRoot(std::string_view bytes) override;
  void Edit(PageNumber page, const PageEdit& edit) override;
  void Create(PageNumber page, std::string_view bytes) override;
  void Drop(PageNumber page) override;
  void DeleteValue() override;
  uint64_t NewValueId() override;

 private:
  std::string_view Bytes(PageNumber page);
  Entry* Find(PageNumber page);
  uint64_t value_id() { return RootView(Root()).value_id(); }
  void SetRoot(Entry* root);
  void BeginGroup();
  void ChangeRoot(const PageEdit& edit);
  void AddPart(PageNumber page, std::span<const firn::Splice> splices, std::string* parts);
  void LogChanges();
  // Before the page changes; `entry` is null when it is made.
  void TellWatchers(PageNumber page, const Entry* entry);

  StoreImpl& store_;
  Keyspace& keyspace_;
  const HashedKey key_;
  const ValueType type_;
  Entry* root_ = nullptr;
  std::string_view root_bytes_;  // null if there is no root in RAM
  // Pages that were read last, by their numbers, good as long as no page moves: a command reads a
  // page several times.
  struct ReadPage {
    PageNumber page = 0;
    std::string_view bytes;
  };
  std::array<ReadPage, 4> read_;
  uint64_t read_moves_ = 0;  // StoreImpl::page_moves as it was
  bool exists_ = false;
  bool wrong_type_ = false;
  int64_t expiry_ms_ = -1;

  // What has changed since the last Commit.
  bool dirty_ = false;
  bool in_group_ = false;
  bool root_image_ = false;      // the root is logged whole, with these flags
  bool root_was_clean_ = false;  // before
  uint8_t root_flags_ = 0;
  std::string root_parts_;  // of an effect record (log_format.h, kSplices)
  std::string page_parts_;
  std::vector<PageNumber> touched_;  // pages that were clean before
};

}  // namespace firn
