// PageSpace: the pages of one collection, as the code of the data types sees them, whatever tier
// they are in. Page 0 is the root: it lives under the key. The others have numbers that are never
// used again within the value.
//
// A page that is not in RAM can't be read: Read answers with nothing and the space remembers that
// it was wanted. Who meets a missing page gives up before anything is changed or replied; the
// missing pages are fetched, all at once, and the command runs again. So the same code plans and
// runs.
//
// Executor thread, but for pages that no store has (detached_pages.h).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/page/page_edit.h"

namespace firn {

using PageNumber = uint32_t;
inline constexpr PageNumber kRootPage = 0;

struct LeafHint;

class PageSpace {
 public:
  virtual ~PageSpace() = default;

  // Whether the key exists. If not, only CreateRoot may be called.
  virtual bool exists() const = 0;
  // The root's bytes. REQUIRES: exists().
  virtual std::string_view Root() = 0;
  // A page's bytes, valid until the next change of any page of any value. Empty: not in RAM, and
  // remembered as missing. REQUIRES: the page exists.
  virtual std::string_view Read(PageNumber page) = 0;
  // As Read, but a page that is not in RAM is none of the caller's needs.
  virtual std::string_view Peek(PageNumber page) = 0;

  // Pages that will be read soon, in this order, from the one on that comes `near` places later.
  // They may be fetched meanwhile; nothing waits for that, and none of them is wanted now.
  virtual void ReadAhead(std::span<const PageNumber> /*pages*/, size_t /*near*/) {}
  // Where a key leads, as a search a moment ago has found and as it still is (counted_tree.h); null
  // if that is not known.
  struct Sought {
    int tree = 0;
    std::string_view key;
    bool ranked = false;  // the leaf's first rank is sought as well
  };
  virtual const LeafHint* FindHint(const Sought& /*sought*/) { return nullptr; }
  // The keyed hash (SipHash13) of an element, if these very bytes have been hashed for a hint.
  virtual bool KnownHash(std::string_view /*element*/, uint64_t* /*hash*/) { return false; }

  // --- changes; what a command does to one value between two calls of its owner is one record, or
  // one group of records, in the log
  virtual void CreateRoot(std::string_view bytes) = 0;
  virtual void ReplaceRoot(std::string_view bytes) = 0;
  // REQUIRES: resident. `edit` counts from the page's first byte.
  virtual void Edit(PageNumber page, const PageEdit& edit) = 0;
  virtual void Create(PageNumber page, std::string_view bytes) = 0;
  virtual void Drop(PageNumber page) = 0;
  // The key goes, and all its pages.
  virtual void DeleteValue() = 0;
  // For a value that begins to have pages besides its root: unique within the directory, for ever.
  virtual uint64_t NewValueId() = 0;
};

}  // namespace firn
