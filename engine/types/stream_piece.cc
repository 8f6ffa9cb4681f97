#include "engine/types/stream_piece.h"

#include "engine/types/stream_groups.h"

namespace firn {
namespace {

bool AddGroup(PageSpace* space, const StreamPiece& piece) {
  StreamGroups groups(space);
  if (!groups.WantGroup(piece.bytes)) return false;
  StreamGroups::Group group{.next_consumer = piece.consumers + 1,
                            .last_id = piece.id,
                            .entries_read = piece.entries_read,
                            .pending = piece.pending,
                            .consumers = piece.consumers};
  groups.CreateGroup(piece.bytes, &group);
  return true;
}

bool AddConsumer(PageSpace* space, const StreamPiece& piece) {
  StreamGroups groups(space);
  // The group's own row counts its consumers already.
  StreamGroups::Group group{.number = piece.group, .next_consumer = piece.consumer + 1};
  StreamGroups::Consumer consumer{
      .seen_ms = piece.seen_ms, .active_ms = piece.active_ms, .pending = piece.pending};
  if (!groups.WantConsumer(group, piece.bytes)) return false;
  groups.CreateConsumer(piece.bytes, &group, &consumer);
  return true;
}

bool AddPending(PageSpace* space, const StreamPiece& piece) {
  StreamGroups groups(space);
  const StreamGroups::Group group{.number = piece.group};
  if (!groups.WantPending(group, piece.consumer + 1, piece.id)) return false;
  groups.Put(group,
             {.id = piece.id,
              .delivered_ms = piece.seen_ms,
              .deliveries = piece.deliveries,
              .consumer = piece.consumer + 1},
             nullptr);
  return true;
}

}  // namespace

bool AddStreamPiece(PageSpace* space, const StreamPiece& piece) {
  StreamValue stream(space);
  switch (piece.kind) {
    case StreamPiece::Kind::kNode:
      if (stream.exists() && !stream.WantAppend()) return false;
      stream.AppendPage(piece.bytes);
      return true;
    case StreamPiece::Kind::kState:
      if (!stream.exists()) stream.Create();
      stream.SetState({.last_id = piece.id,
                       .first_id = piece.first_id,
                       .max_deleted_id = piece.max_deleted_id,
                       .entries_added = piece.entries_added});
      return true;
    case StreamPiece::Kind::kGroup:
      return AddGroup(space, piece);
    case StreamPiece::Kind::kConsumer:
      return AddConsumer(space, piece);
    case StreamPiece::Kind::kPending:
      return AddPending(space, piece);
  }
  return true;
}

}  // namespace firn
