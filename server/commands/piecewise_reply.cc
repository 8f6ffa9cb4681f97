#include "server/commands/piecewise_reply.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "engine/base/check.h"
#include "engine/types/counted_tree.h"
#include "engine/types/root_format.h"
#include "server/client.h"
#include "server/commands/common.h"
#include "server/server.h"
#include "tiering/frozen_value.h"

namespace firn::server {
namespace {

// What takes fewer pages is given at once.
constexpr uint64_t kManyPages = 160;
// A piece.
constexpr uint64_t kPagesAtOnce = 64;
// The next piece is fetched when no more than this waits to be sent.
constexpr uint64_t kUnsentBytes = 256 << 10;

uint64_t PagesOf(std::string_view root_bytes, uint64_t elements) {
  const RootView root(root_bytes);
  if (root.small() || root.count() == 0) return 0;
  const double share = static_cast<double>(elements) / static_cast<double>(root.count());
  return static_cast<uint64_t>(share * root.next_page());
}

class Piecewise : public std::enable_shared_from_this<Piecewise> {
 public:
  Piecewise(CommandContext& context, PiecewiseReply reply)
      : reply_(std::move(reply)),
        frozen_(context.db(), reply_.key),
        tree_(&frozen_),
        left_(reply_.count),
        rows_at_once_(std::max<uint64_t>(
            1,
            kPagesAtOnce * reply_.count / std::max<uint64_t>(1, PagesOf(frozen_.Root(), left_)))) {}

  void Begin(CommandContext& context) {
    measures_ = reply_.measure != nullptr;
    if (!measures_) Open(context);
    AwaitTurn(context);
  }

 private:
  void Open(CommandContext& context) {
    reply_.header(context);
    context.client.set_reply_open(true);
  }

  void AwaitTurn(CommandContext& context) {
    SuspendedCommand suspended = context.Suspend();
    context.server.NoteActive(&context.client);
    context.client.WhenSent(kUnsentBytes, [self = shared_from_this(), suspended] {
      suspended.Resume([self](CommandContext& context) {
        // Each piece has a plan of its own, so that what it brought may go when the next comes.
        RunWithKeys(context, {}, [self](CommandContext& context) { self->ReplyPiece(context); });
      });
    });
  }

  void ReplyPiece(CommandContext& context) {
    if (frozen_.lost()) {
      if (measures_) {
        return context.reply.Error(
            "ERR the value has been flushed, or has changed too much meanwhile");
      }
      // Half of a reply is no reply.
      context.server.Log(kLogWarning,
                         "A long reply can't be finished, since what it gives has been flushed, or "
                         "changed too much meanwhile: its client is disconnected.");
      context.client.set_reply_open(false);
      return context.client.CloseSoon();
    }
    const uint64_t rows = std::min(left_, rows_at_once_);
    const uint64_t done = reply_.count - left_;
    const uint64_t first = reply_.backward ? reply_.first + left_ - rows : reply_.first + done;
    if (!tree_.WantRanks(first, first + rows - 1)) return;
    reply_.backward ? Backward(context, first, rows) : Forward(context, first, rows);
    left_ -= rows;
    if (left_ > 0) return AwaitTurn(context);
    if (std::exchange(measures_, false)) {
      left_ = reply_.count;
      Open(context);
      return AwaitTurn(context);
    }
    if (reply_.end != nullptr) reply_.end(context);
    context.client.set_reply_open(false);
  }

  void Give(CommandContext& context, const PackedRow& row) {
    measures_ ? reply_.measure(row) : reply_.row(context, row);
  }

  void Forward(CommandContext& context, uint64_t first, uint64_t rows) {
    CountedTree::Leaf leaf;
    CHECK(tree_.FindRank(first, &leaf));
    auto row = static_cast<uint32_t>(first - leaf.first_rank);
    for (;;) {
      for (PackedPage::Cursor cursor(tree_.Page(leaf), row); cursor.valid(); cursor.Next()) {
        Give(context, cursor.row());
        if (--rows == 0) return;
      }
      CHECK(tree_.Next(&leaf) == CountedTree::Moved::kYes);
      row = 0;
    }
  }

  void Backward(CommandContext& context, uint64_t first, uint64_t rows) {
    CountedTree::Leaf leaf;
    CHECK(tree_.FindRank(first + rows - 1, &leaf));
    auto row = static_cast<uint32_t>(first + rows - leaf.first_rank);
    for (;;) {
      PackedPage page = tree_.Page(leaf);
      while (row > 0) {
        Give(context, page.Row(--row));
        if (--rows == 0) return;
      }
      CHECK(tree_.Previous(&leaf) == CountedTree::Moved::kYes);
      row = tree_.Page(leaf).rows();
    }
  }

  const PiecewiseReply reply_;
  FrozenValue frozen_;
  CountedTree tree_;
  uint64_t left_;
  const uint64_t rows_at_once_;
  bool measures_ = false;
};

}  // namespace

bool RepliesInPieces(const CommandContext& context, std::string_view root, uint64_t elements) {
  // A page has at least one element.
  return elements >= kManyPages && PagesOf(root, elements) >= kManyPages &&
         !RunsAtomically(context);
}

void ReplyInPieces(CommandContext& context, PiecewiseReply reply) {
  if (!context.LeavePlace()) return;
  std::make_shared<Piecewise>(context, std::move(reply))->Begin(context);
}

}  // namespace firn::server
