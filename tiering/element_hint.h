// ElementHint: where an element of a large hash, set or sorted set, or a place in a long string, is
// likely to be, for commands of a pipeline that are about to look it up.
//
// It is found out for several commands at once (Collection::Locate, then FetchEntry, FetchRows and
// FetchElement, in between which memory gets some time); the command that then runs doesn't look
// for the leaf again, unless some tree's shape has changed meanwhile.
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/types/counted_tree.h"

namespace firn {

class Entry;

struct ElementHint {
  uint64_t value_id = 0;
  PageNumber page = 0;  // 0: nothing to ask for
  uint64_t hash = 0;    // of the page's key
  // In a long string: nothing but this place in the page is asked for.
  bool in_string = false;
  uint32_t offset = 0;
  std::string_view element;  // whose hash leads there; the command's own bytes
  uint64_t shapes = 0;       // StoreImpl::tree_shapes_ as it was
  // Good until something is changed or moved.
  const Entry* entry = nullptr;
  LeafHint leaf;
};

}  // namespace firn
