// ModelStream: what a stream with its groups holds, for the models of crash tests.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "engine/types/stream_groups.h"

namespace firn::test {

struct ModelStream {
  struct Group {
    StreamGroups::Group row;
    std::map<std::string, StreamGroups::Consumer> consumers;
    std::map<StreamId, PendingEntry> pending;
  };

  std::map<StreamId, std::string> entries;  // of one field
  StreamId last_id;
  StreamId max_deleted_id;
  uint64_t entries_added = 0;
  std::map<std::string, Group> groups;

  // Of all of it; never that of an absent key.
  uint64_t fingerprint() const;
  // False if pages are missing. REQUIRES: the value exists.
  static bool Read(PageSpace* pages, ModelStream* stream);
};

}  // namespace firn::test
