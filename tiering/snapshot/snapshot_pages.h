// SnapshotPages: the pages of one collection of a snapshot, for reading: none is ever missing. What
// can't be read shows as an empty page, and status() tells why; whoever walks a value asks it at
// the end.
//
// One thread at a time; blocking.
#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/base/status.h"
#include "engine/types/page_space.h"
#include "tiering/snapshot/snapshot_view.h"

namespace firn {

class SnapshotPages final : public PageSpace {
 public:
  // `root` must live as long as this.
  SnapshotPages(SnapshotView* view, uint32_t db, std::string_view root);

  const Status& status() const { return status_; }

  bool exists() const override { return true; }
  std::string_view Root() override { return root_; }
  // A page stays valid while kKeptPages others are read.
  std::string_view Read(PageNumber page) override;
  std::string_view Peek(PageNumber page) override { return Read(page); }

  void CreateRoot(std::string_view bytes) override;
  void ReplaceRoot(std::string_view bytes) override;
  void Edit(PageNumber page, const PageEdit& edit) override;
  void Create(PageNumber page, std::string_view bytes) override;
  void Drop(PageNumber page) override;
  void DeleteValue() override;
  uint64_t NewValueId() override;

  static constexpr size_t kKeptPages = 256;

 private:
  struct Cached {
    PageNumber page;
    std::string bytes;
  };

  SnapshotView& view_;
  const uint32_t db_;
  const std::string_view root_;
  Status status_;
  // The one that was read last at the front.
  std::list<Cached> recent_;
  std::unordered_map<PageNumber, std::list<Cached>::iterator> by_number_;
  uint64_t bytes_ = 0;
};

}  // namespace firn
