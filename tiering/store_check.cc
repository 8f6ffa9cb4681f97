// Store::CheckConsistency: whether the parts of a store agree: the table and the cold maps with the
// index, the live bytes of the segments with both, and the index with the log.

#include <map>
#include <set>

#include "engine/types/root_format.h"
#include "tiering/compactor.h"
#include "tiering/copier.h"
#include "tiering/index_rebuild.h"
#include "tiering/indexer.h"
#include "tiering/map_bound.h"
#include "tiering/map_rebuild.h"
#include "tiering/reaper.h"
#include "tiering/settler.h"
#include "tiering/store_impl.h"

namespace firn {
namespace {

std::string Printed(const std::string& key) { return "\"" + key.substr(0, 40) + "\""; }

class ConsistencyCheck {
 public:
  explicit ConsistencyCheck(StoreImpl* store) : store_(*store) {}

  Status Run() {
    FIRN_RETURN_IF_ERROR(CheckMemory());
    const log::LogWriter& log = *store_.log_;
    if (!store_.map_rebuild_->complete() || store_.settler_->busy() || store_.compactor_->busy() ||
        store_.reaper_->busy() || store_.copier_->busy() || store_.indexer_->has_moves() ||
        store_.map_rebuild_->reading() || store_.map_bound_->lowering() ||
        store_.indexer_->indexed_lsn() < log.appended_lsn()) {
      return Status(StatusCode::kBusy, "work is under way");
    }
    for (Keyspace* keyspace : store_.slots_) FIRN_RETURN_IF_ERROR(CheckKeyspace(*keyspace));
    FIRN_RETURN_IF_ERROR(CheckLiveBytes());
    for (uint32_t db = 0; db < store_.slots_.size() / 2; ++db) {
      FIRN_RETURN_IF_ERROR(CheckPages(store_.KeyspaceOf(db)));
    }
    return CheckAgainstLog();
  }

 private:
  using Roots = std::map<std::pair<uint64_t, std::string>, IndexRoot>;

  Status Wrong(const Keyspace& keyspace, const std::string& what) {
    return Status::Corruption("database " + std::to_string(keyspace.db()) + ": " + what);
  }

  // Long keys are not told apart by name: they are numbered.
  Result<Roots> ReadRoots(const Index& index, uint32_t keyspace) {
    Roots roots;
    Status status = index.Visit(keyspace, 0, [&](const Index::Visited& visited) {
      std::string name = "s" + std::string(visited.key);
      if (visited.is_long) {
        name = "l";
        while (roots.contains({visited.hash, name})) name += "l";
      }
      roots[{visited.hash, name}] = visited.root;
      return true;
    });
    if (!status.ok()) return std::unexpected(status);
    return roots;
  }

  Status CheckKeyspace(Keyspace& keyspace) {
    keyspace.cold.CheckInvariants();
    auto roots = ReadRoots(*store_.index_, keyspace.id);
    if (!roots) return roots.error();
    uint64_t resident = 0;
    Status status;
    keyspace.table.WalkRange(0, UINT64_MAX, [&](Entry* entry) {
      if (entry->kind() != Entry::Kind::kTombstone) ++resident;
      Status checked = CheckEntry(keyspace, *entry, &*roots);
      if (status.ok()) status = checked;
    });
    FIRN_RETURN_IF_ERROR(status);
    uint64_t left = 0;
    for (const auto& [id, root] : *roots) {
      FIRN_RETURN_IF_ERROR(CheckColdRoot(keyspace, id.first, root));
      left += keyspace.IsMapped(id.first) ? 0 : 1;
    }
    if (roots->size() != keyspace.cold.size() + left || left != keyspace.left) {
      return Wrong(keyspace, "the cold map has " + std::to_string(keyspace.cold.size()) +
                                 " keys, leaves " + std::to_string(keyspace.left) +
                                 " to the index, that has " + std::to_string(roots->size()) + ", " +
                                 std::to_string(left) + " beyond the map");
    }
    if (resident != keyspace.resident) return Wrong(keyspace, "miscounted resident keys");
    if (keyspace.unsettled != 0 ||
        keyspace.keys != keyspace.resident + keyspace.cold.size() + keyspace.left) {
      return Wrong(keyspace, "counts " + std::to_string(keyspace.keys) + " keys, has " +
                                 std::to_string(keyspace.resident) + ", " +
                                 std::to_string(keyspace.cold.size()) + " and " +
                                 std::to_string(keyspace.left));
    }
    return Status::Ok();
  }

  // An entry against its root, which is taken out of `roots`.
  Status CheckEntry(Keyspace& keyspace, const Entry& entry, Roots* roots) {
    std::string key(entry.key());
    uint64_t hash = keyspace.table.HashOf(key);
    bool is_long = key.size() > Index::kMaxInlineKeySize;
    auto it = roots->find({hash, is_long ? "l" : "s" + key});
    if (entry.kind() == Entry::Kind::kTombstone) {
      if (it != roots->end()) return Wrong(keyspace, "the index has deleted " + Printed(key));
      return Status::Ok();
    }
    if (it == roots->end()) {
      return Wrong(keyspace, "the index lacks " + Printed(key) + ", which is in RAM");
    }
    if (store_.segments_->Pack(it->second.position) != entry.position()) {
      return Wrong(keyspace, "the index has another place of " + Printed(key) + " than RAM");
    }
    if (!entry.Has(Entry::kDirty)) {
      if (it->second.expiry_ms != entry.expiry_ms()) {
        return Wrong(keyspace, "the index has another expiry of " + Printed(key));
      }
      Count(keyspace, entry.position(), store_.LogicalSizeOf(entry));
    }
    roots->erase(it);
    return Status::Ok();
  }

  Status CheckColdRoot(Keyspace& keyspace, uint64_t hash, const IndexRoot& root) {
    PackedPosition position = store_.segments_->Pack(root.position);
    std::string place = log::SegmentFileName(root.position.segment_id) + " at offset " +
                        std::to_string(root.position.offset);
    if (position == kNoPosition) return Wrong(keyspace, "the index points to missing " + place);
    if (keyspace.IsMapped(hash) && !keyspace.cold.Contains(hash, position)) {
      return Wrong(keyspace, "the index has a key in " + place + " that RAM does not know");
    }
    Count(keyspace, position, root.logical_size);
    return Status::Ok();
  }

  void Count(const Keyspace&, PackedPosition position, uint64_t logical_size) {
    live_[store_.segments_->Of(position)->id] += logical_size;
  }

  // No two values have the same pages, and nothing else is there; pages that no root has are
  // logged: they are no damage (see reaper.h).
  Status CheckPages(Keyspace& keyspace) {
    auto roots = ReadRoots(*store_.index_, keyspace.id);
    if (!roots) return roots.error();
    std::map<uint64_t, uint32_t> next_page;  // by value id
    for (const auto& [id, root] : *roots) {
      if (!HasRoot(static_cast<ValueType>(root.type))) continue;
      auto bytes = ReadRootBytes(keyspace, id, root);
      if (!bytes) return bytes.error();
      if (!RootView::Validate(*bytes)) return Wrong(keyspace, "the root of a collection is none");
      RootView view(*bytes);
      if (view.small()) continue;
      if (!next_page.emplace(view.value_id(), view.next_page()).second) {
        return Wrong(keyspace, "two keys have the pages of one value");
      }
    }
    auto pages = ReadRoots(*store_.index_, keyspace.pages->id);
    if (!pages) return pages.error();
    uint64_t lost = 0;
    for (const auto& [id, root] : *pages) {
      if (root.type != static_cast<uint8_t>(ValueType::kPage)) {
        return Wrong(keyspace, "a note that pages are to be deleted stays");
      }
      auto it = next_page.find(LoadBig64(id.second.data() + 1));
      if (it == next_page.end()) ++lost;
    }
    if (lost != 0) {
      store_.Log(2, "Database " + std::to_string(keyspace.db()) + ": " + std::to_string(lost) +
                        " pages belong to no key.");
    }
    return Status::Ok();
  }

  // As RAM has it, which may be newer than the log's image.
  Result<std::string> ReadRootBytes(Keyspace& keyspace, const std::pair<uint64_t, std::string>& id,
                                    const IndexRoot& root) {
    if (id.second[0] == 's') {
      Entry* entry = store_.FindEntry(keyspace, {std::string_view(id.second).substr(1), id.first});
      if (entry != nullptr && entry->kind() == Entry::Kind::kHot)
        return std::string(entry->value());
    }
    log::Segment* segment = store_.segments_->ById(root.position.segment_id);
    log::LogReader reader({{segment->id, segment->file, segment->end_offset}}, root.position.offset,
                          {.chunk_size_bytes = log::kOneRecordChunkBytes});
    log::RecordView record;
    if (reader.Next(&record) != log::LogReader::Outcome::kRecord) {
      return std::unexpected(Wrong(keyspace, "a root can't be read: " + reader.message()));
    }
    auto raw = log::UncompressPayload(record);
    if (!raw) return std::unexpected(raw.error());
    return std::string(*raw);
  }

  Status CheckMemory() {
    if (!store_.dropped_.empty()) return Status(StatusCode::kBusy, "a keyspace is being freed");
    int64_t bytes = 0;
    for (Keyspace* keyspace : store_.slots_) {
      keyspace->table.WalkRange(0, UINT64_MAX, [&](Entry* entry) {
        bytes += static_cast<int64_t>(entry->MemoryBytes()) + 9;
      });
    }
    if (bytes == store_.memory_.entries()) return Status::Ok();
    return Status::Corruption("counts " + std::to_string(store_.memory_.entries()) +
                              " bytes of entries, has " + std::to_string(bytes));
  }

  Status CheckLiveBytes() {
    for (const auto& [id, segment] : store_.segments_->all()) {
      if (segment->live_bytes == live_[id]) continue;
      return Status::Corruption(log::SegmentFileName(id) + " counts " +
                                std::to_string(static_cast<int64_t>(segment->live_bytes)) +
                                " live bytes, has " + std::to_string(live_[id]));
    }
    return Status::Ok();
  }

  std::vector<log::ReadableSegment> Readable(log::Stream stream) const {
    std::vector<log::ReadableSegment> readable;
    for (const auto& [id, segment] : store_.segments_->all()) {
      if (segment->stream == stream) readable.push_back({id, segment->file, segment->end_offset});
    }
    return readable;
  }

  Status CheckAgainstLog() {
    Index::Options options{.directory = store_.options_.directory + "/index-check",
                           .env = store_.environment_.index_env,
                           .background_compaction = false};
    (void)Index::Destroy(options);
    auto rebuilt = Index::Open(options);
    if (!rebuilt) return rebuilt.error();
    FIRN_RETURN_IF_ERROR(RebuildIndex(rebuilt->get(), store_.identity_.secret,
                                      {Readable(log::Stream::kCold), Readable(log::Stream::kFresh)},
                                      store_.options_.databases));
    for (Keyspace* keyspace : store_.slots_) {
      FIRN_RETURN_IF_ERROR(CompareWithRebuilt(*keyspace, **rebuilt));
    }
    rebuilt->reset();
    return Index::Destroy(options);
  }

  Status CompareWithRebuilt(const Keyspace& keyspace, const Index& rebuilt) {
    auto ours = ReadRoots(*store_.index_, keyspace.id);
    if (!ours) return ours.error();
    auto theirs = ReadRoots(rebuilt, keyspace.id);
    if (!theirs) return theirs.error();
    for (const auto& [id, root] : *ours) {
      auto it = theirs->find(id);
      if (it == theirs->end()) return Wrong(keyspace, "the log lacks key " + Printed(id.second));
      // Compaction may have left a copy behind: the place may be another.
      const IndexRoot& other = it->second;
      if (root.lsn != other.lsn || root.logical_size != other.logical_size ||
          root.expiry_ms != other.expiry_ms || root.type != other.type) {
        return Wrong(keyspace, "the log has record " + std::to_string(other.lsn) + " of " +
                                   Printed(id.second) + ", the index " + std::to_string(root.lsn));
      }
      theirs->erase(it);
    }
    if (theirs->empty()) return Status::Ok();
    const auto& [id, root] = *theirs->begin();
    return Wrong(keyspace, "the index lacks " + Printed(id.second) + " of record " +
                               std::to_string(root.lsn));
  }

  StoreImpl& store_;
  std::map<uint64_t, uint64_t> live_;  // by segment id
};

}  // namespace

Status Store::CheckConsistency() { return ConsistencyCheck(impl_.get()).Run(); }

}  // namespace firn
