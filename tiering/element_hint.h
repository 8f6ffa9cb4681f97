// ElementHint: where an element of a large hash, set or sorted set, or a place in a long string, is
// likely to be, for commands of a pipeline that are about to look it up.
//
// It is found out for several commands at once (Collection::FetchAhead): what each step reads is
// asked of memory a step before, so that memory answers many commands' questions at the same time.
// The command that then runs doesn't look for the leaf again, unless some tree's shape has changed
// meanwhile.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "engine/types/counted_tree.h"

namespace firn {

class Entry;

// What a command is about to look for in its key's value.
struct ElementQuery {
  std::string_view element;  // the command's own bytes
  // Of a sorted set: the element's rank is sought, or it is about to get this score.
  bool ranked = false;
  bool scored = false;
  double score = 0;
};

struct ElementHint {
  // A page, and for a leaf what the look-up of a key will find.
  struct Place {
    PageNumber page = 0;  // 0: nothing is known
    float share = 0;      // how far into its leaf the key is, a guess
    uint64_t hash = 0;    // of the page's key, unless the entry is known
    // Good until something is changed or moved.
    const Entry* entry = nullptr;
    LeafHint leaf;
  };
  // kFirst: the element's leaf, in a sorted set that of the index. kOwn: the leaf of a sorted set's
  // element, kTarget: the leaf where it belongs with the score that it is about to get.
  enum Which : uint8_t { kFirst, kTarget, kOwn };

  // Whether the command that runs has use for it,
  bool any() const { return has_page() || hashed; }
  // and whether there is a page to ask for.
  bool has_page() const { return places[kFirst].page != 0; }
  void Clear() {
    hashed = false;
    for (Place& place : places) {
      place.page = 0;
      place.entry = nullptr;
      place.leaf.depth = 0;
    }
  }

  bool hashed = false;    // the first place's leaf has the hash of the query's element as its key
  uint64_t value_id = 0;  // 0: a small value, which is no tree
  uint64_t shapes = 0;    // StoreImpl::tree_shapes_ as it was
  uint64_t changes = 0;   // StoreImpl::tree_changes_ as it was
  ElementQuery query;
  // Of a sorted set, good as long as an entry is: the root, and the element's score.
  const Entry* root = nullptr;
  const char* score = nullptr;
  // In a long string: nothing but this place in the page is asked for.
  bool in_string = false;
  bool in_zset = false;
  bool asked = false;  // memory has been asked for all of it, as the page is known
  uint32_t offset = 0;
  std::array<Place, 3> places;
};

}  // namespace firn
