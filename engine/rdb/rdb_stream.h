// Streams in dumps of Redis. A stream is its nodes, each a master id and a listpack, then what is
// known of the whole, then the groups:
//
//   nodes | (string of 16 bytes: master id, string: listpack) ... |
//   entries | last id | first id | greatest id deleted | entries added |      ids: two lengths
//   groups | (name | last id | entries read |
//             pending | (16 bytes: id | u64 time of the delivery | deliveries) ... |
//             consumers | (name | u64 seen | u64 active |
//                          pending | (16 bytes: id) ...) ...) ...
//
// kStreamListpacks has neither the first id and what follows it, nor entries read; it and
// kStreamListpacks2 have no `active`. A listpack has one master entry, then the others:
//
//   entries | deleted ones | fields | name ... | 0
//   flags: 1 deleted, 2 the master's fields | id's ms - master's | seq - master's |
//   [fields | (name | value) ...] or value ... | elements of the entry before this one
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/rdb/listpack.h"
#include "engine/rdb/rdb_format.h"
#include "engine/rdb/rdb_input.h"
#include "engine/rdb/rdb_values.h"
#include "engine/types/page_space.h"
#include "engine/types/stream_piece.h"

namespace firn {

class RdbBuilder;

// Writes a stream as kStreamListpacks2, which redis-server 7.0 reads. Deleted entries, which are
// gone, are written as others of the same size in all, so that nodes fill up as they would have.
// False: a page is not in RAM.
bool WriteRdbStream(PageSpace* pages, RdbPieces* out);

// Reads one stream and checks all of it: every element of the listpacks, that ids ascend, that each
// pending entry has just one owner. Of the groups, one at a time is in RAM.
class RdbStreamReader {
 public:
  RdbStreamReader(RdbInput* input, RdbBuilder* builder, RdbType type)
      : input_(*input), builder_(*builder), type_(type) {}
  // False: the input tells why.
  bool Read();

 private:
  struct Pending {
    StreamId id;
    int64_t delivered_ms = 0;
    uint64_t deliveries = 0;
    uint32_t consumer = kNobody;
  };
  struct Consumer {
    std::string name;
    int64_t seen_ms = 0;
    int64_t active_ms = 0;
    uint64_t pending = 0;
  };
  static constexpr uint32_t kNobody = UINT32_MAX;

  bool Node();
  bool State();
  bool Group(uint32_t number);
  bool GroupPending();
  bool ReadConsumer(uint32_t number);
  bool TellGroup(const StreamPiece& group);
  bool CheckNames(std::vector<std::string_view> names);
  int64_t EstimateReads(StreamId id) const;
  StreamId LengthId();
  StreamId RawId();
  bool Tell(const StreamPiece& piece);

  RdbInput& input_;
  RdbBuilder& builder_;
  const RdbType type_;
  uint64_t entries_ = 0;
  StreamId first_id_;    // of an entry that is there
  StreamId last_known_;  // of all that nodes tell
  bool any_node_ = false;
  StreamPiece state_;
  std::string text_;
  std::vector<Pending> pending_;
  std::vector<Consumer> consumers_;
  std::vector<std::string> groups_;
};

// Makes a page of a node. REQUIRES of the status' Ok: the page is one that StreamPage::Validate
// accepts, whose ids are not less than the master id, and ascend.
Status StreamPageOfListpack(StreamId master, std::string_view listpack, std::string* page);
// The other way round. The page is not void.
std::string_view ListpackOfStreamPage(const StreamPage& page, ListpackBuilder* block);

}  // namespace firn
