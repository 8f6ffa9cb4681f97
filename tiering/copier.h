// Copier: makes the copies of big collections, and mixes long strings (value_copy.h).
//
// First the reaper's note is logged, so that a crash leaves no half copy behind. Then the pages
// follow in the order of their numbers, those on disk through planned reads. The copy
// watches which pages of the source change; what was copied before is copied again, and each slice
// takes twice of what has changed since the last one, so that the copy catches up with any writer.
// In one group with the new key's root the note goes.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/page_space.h"
#include "tiering/value_copy.h"

namespace firn {

struct Keyspace;
class StoreImpl;

class Copier {
 public:
  explicit Copier(StoreImpl* store) : store_(*store) {}
  ~Copier() { Stop(); }

  // Whether a value of so many page numbers is copied in slices.
  static bool IsBig(std::string_view root);
  // All keyspaces are those of keys. REQUIRES: IsBig(root).
  std::shared_ptr<ValueCopy> Begin(Keyspace& source, std::string_view root, Keyspace& target);
  bool IsCopyOf(const ValueCopy& copy, const Keyspace& source, std::string_view root,
                const Keyspace& target) const;
  // It is the source as it is now.
  static bool IsComplete(const ValueCopy& copy);
  // The bytes of its root; its note is deleted. REQUIRES: IsComplete; `root` is the source's; a
  // group is open in which the root is written.
  std::string Finish(ValueCopy* copy, std::string_view root);

  // --- strings that are mixed of others of the same database; their pages are written to it
  std::shared_ptr<ValueCopy> BeginMix(Keyspace& keyspace, StringMix mix);
  // Tells a mix how its sources are now; false if it is none of these: their long strings are
  // others.
  bool UpdateMix(ValueCopy* copy, const Keyspace& keyspace, const StringMix& now);
  // As Finish.
  std::string FinishMix(ValueCopy* copy);

  // Does a slice of one copy; true if it would go on at once.
  bool Step();
  bool busy() const { return !copies_.empty(); }
  // Gives all copies up, before the store is closed.
  void Stop();

 private:
  friend class ValueCopy;
  enum class Outcome : uint8_t {
    kDone,
    kWaits,  // to be woken by the ticket
    kLater,  // in one of the next iterations
    kFailed,
  };
  struct Slice {
    std::vector<PageNumber> pages;
    uint64_t bytes = 0;
  };
  bool Advance(ValueCopy* copy);
  Outcome CopySome(ValueCopy* copy, Slice* slice);
  Outcome Plan(ValueCopy* copy, std::span<const PageNumber> pages);
  Outcome CopyPages(ValueCopy* copy, std::span<const PageNumber> pages, uint64_t* bytes);
  bool LogHasRoom() const;  // for one page
  Outcome CheckRoom(ValueCopy* copy, uint64_t bytes);
  uint64_t CopyPage(ValueCopy* copy, PageNumber page);
  uint64_t MixPage(ValueCopy* copy, PageNumber page);
  std::shared_ptr<ValueCopy> Add(std::shared_ptr<ValueCopy> copy);
  void NotePages(ValueCopy* copy, PageNumber end);
  void Answer(ValueCopy* copy);
  // The handle goes.
  void Forget(ValueCopy* copy);
  // Nothing more is done for it.
  void Release(ValueCopy* copy);

  StoreImpl& store_;
  std::vector<ValueCopy*> copies_;
  size_t turn_ = 0;
};

}  // namespace firn
