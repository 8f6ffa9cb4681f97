#include "tiering/io/sim_history.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <span>

#include "engine/base/check.h"

namespace firn::io {
namespace {

using Kind = SimEvent::Kind;

constexpr uint64_t kMaxGarbageSectors = 64;

void ApplyData(SimContent* content, const SimEvent& event) {
  switch (event.kind) {
    case Kind::kWrite:
    case Kind::kDamage:
      content->Write(event.offset, *event.bytes);
      break;
    case Kind::kTruncate:
      content->Resize(event.offset);
      break;
    case Kind::kAllocate:
      content->Reserve(event.offset);
      break;
    default:
      CHECK_MSG(false, "no event of a file's data");
  }
}

void ApplyNames(SimTree* tree, const SimEvent& event) {
  if (!tree->contains(event.node)) tree->emplace(event.node, MakeSimNode(event.directory));
  for (const SimNameChange& change : *event.names) {
    auto directory = tree->find(change.directory);
    if (directory == tree->end()) continue;
    auto& entries = Own(directory->second.entries);
    if (auto old = entries.find(change.name); old != entries.end()) {
      if (auto node = tree->find(old->second); node != tree->end()) --node->second.links;
      entries.erase(old);
    }
    if (change.node != 0) {
      entries[change.name] = change.node;
      if (auto node = tree->find(change.node); node != tree->end()) ++node->second.links;
    }
  }
}

bool SharesName(const SimEvent& a, const SimEvent& b) {
  for (const SimNameChange& x : *a.names) {
    for (const SimNameChange& y : *b.names) {
      if (x.directory == y.directory && x.name == y.name) return true;
    }
  }
  return false;
}

// The size after `event`, if it changes sizes.
uint64_t SizeAfter(uint64_t size, const SimEvent& event) {
  if (event.kind == Kind::kTruncate) return event.offset;
  if (event.kind == Kind::kAllocate) return std::max(size, event.offset);
  return std::max<uint64_t>(size, event.offset + event.bytes->size());
}

// One file's pending events, settled by chance: a prefix of the changes of size, and of each sector
// one of its versions.
class SectorLottery {
 public:
  struct Rules {
    uint64_t sector_size = kSimSectorSize;
    bool sizes_wait_for_data = true;
  };
  SectorLottery(SimContent* content, Rules rules, Random* random)
      : content_(content),
        old_size_(content->size()),
        sector_size_(rules.sector_size),
        sizes_wait_for_data_(rules.sizes_wait_for_data),
        random_(random) {
    static constexpr uint32_t kOdds[] = {20, 128, 235};  // of 256
    stop_odds_ = kOdds[random->Below(3)];
  }

  void Settle(const SimHistory& history, std::span<const uint64_t> events) {
    uint64_t sized = random_->Below(events.size() + 1);  // changes of size among the first `sized`
    uint64_t size = old_size_;
    uint64_t shortest = old_size_;  // what was appended behind this has a size that waited for it
    for (size_t i = 0; i < sized; ++i) {
      size = SizeAfter(size, history[events[i]]);
      shortest = std::min(shortest, size);
    }
    size = old_size_;
    for (size_t i = 0; i < events.size(); ++i) {
      const SimEvent& event = history[events[i]];
      bool shrinks = event.kind == Kind::kTruncate;
      // The blocks of what is written after a truncation are new ones: without it they are lost.
      if (shrinks && i >= sized) break;
      if (event.kind == Kind::kWrite) {
        WriteSome(event, sizes_wait_for_data_ && i < sized ? shortest : UINT64_MAX);
      } else if (i < sized) {
        ApplyData(content_, event);
      }
      if (i < sized) size = SizeAfter(size, event);
    }
    content_->Resize(size);
  }

  // Fills what is new and was not written with bytes of other files or random ones.
  void AddGarbage(const SimTree& others) {
    std::vector<uint64_t> candidates = new_and_lost_;
    for (uint64_t at = (old_size_ + sector_size_ - 1) / sector_size_ * sector_size_;
         at < content_->size() && candidates.size() < 4 * kMaxGarbageSectors; at += sector_size_) {
      if (content_->IsHole(at)) candidates.push_back(at / sector_size_);
    }
    if (candidates.empty()) return;
    uint64_t count = random_->Below(std::min<uint64_t>(kMaxGarbageSectors, candidates.size()) + 1);
    std::string bytes(sector_size_, '\0');
    for (uint64_t i = 0; i < count; ++i) {
      uint64_t at = candidates[random_->Below(candidates.size())] * sector_size_;
      if (at >= content_->size()) continue;
      FillGarbage(others, &bytes);
      content_->Write(at, std::string_view(bytes).substr(0, content_->size() - at));
    }
  }

 private:
  // Sectors that reach behind `certain_from` are written.
  void WriteSome(const SimEvent& event, uint64_t certain_from) {
    std::string_view bytes = *event.bytes;
    for (uint64_t at = event.offset; !bytes.empty();) {
      uint64_t sector = at / sector_size_;
      uint64_t count = std::min<uint64_t>(bytes.size(), (sector + 1) * sector_size_ - at);
      if (sector >= stopped_.size()) stopped_.resize(sector + 1);
      bool certain = (sector + 1) * sector_size_ > certain_from;
      if (!certain && !stopped_[sector] && (random_->Next() & 255) < stop_odds_) {
        stopped_[sector] = true;
        if (content_->IsHole(at)) new_and_lost_.push_back(sector);
      }
      if (!stopped_[sector]) content_->Write(at, bytes.substr(0, count));
      bytes.remove_prefix(count);
      at += count;
    }
  }

  void FillGarbage(const SimTree& others, std::string* bytes) {
    if (random_->Below(2) == 0) {
      auto other = std::next(others.begin(), random_->Below(others.size()));
      uint64_t size = other->second.content->size();
      if (size >= bytes->size()) {
        uint64_t sector = random_->Below(size / bytes->size());
        other->second.content->Read(sector * bytes->size(), *bytes);
        return;
      }
    }
    for (size_t i = 0; i + 8 <= bytes->size(); i += 8) {
      uint64_t word = random_->Next();
      std::memcpy(bytes->data() + i, &word, 8);
    }
  }

  SimContent* const content_;
  const uint64_t old_size_;
  const uint64_t sector_size_;
  const bool sizes_wait_for_data_;
  Random* const random_;
  uint64_t stop_odds_;
  std::vector<bool> stopped_;  // no later version of the sector reaches the disk
  std::vector<uint64_t> new_and_lost_;
};

}  // namespace

SimNode MakeSimNode(bool directory) {
  SimNode node;
  node.directory = directory;
  if (directory) node.entries = std::make_shared<std::map<std::string, SimNodeId>>();
  return node;
}

const char* CrashPolicyName(CrashPolicy::Kind kind) {
  switch (kind) {
    case CrashPolicy::Kind::kNone:
      return "none";
    case CrashPolicy::Kind::kAll:
      return "all";
    case CrashPolicy::Kind::kEpoch:
      return "epoch";
    case CrashPolicy::Kind::kRandomSectors:
      return "sectors";
    case CrashPolicy::Kind::kTornWrite:
      return "torn";
    case CrashPolicy::Kind::kGarbage:
      return "garbage";
  }
  return "?";
}

std::string DescribeSimEvent(const SimEvent& event) {
  static constexpr const char* kNames[] = {"write",       "truncate", "allocate",       "sync",
                                           "failed sync", "names",    "sync directory", "damage"};
  std::string text = kNames[static_cast<size_t>(event.kind)];
  if (event.label) text += " " + *event.label;
  if (event.bytes) {
    text += " @" + std::to_string(event.offset) + "+" + std::to_string(event.bytes->size());
  } else if (event.kind == Kind::kTruncate || event.kind == Kind::kAllocate) {
    text += " to " + std::to_string(event.offset);
  }
  return text;
}

void ApplySimEvent(SimTree* tree, const SimEvent& event) {
  switch (event.kind) {
    case Kind::kNames:
      ApplyNames(tree, event);
      break;
    case Kind::kSync:
    case Kind::kFailedSync:
    case Kind::kSyncNames:
      break;
    default:
      if (auto node = tree->find(event.node); node != tree->end()) {
        ApplyData(&Own(node->second.content), event);
      }
  }
}

void PruneSimTree(SimTree* tree) {
  std::set<SimNodeId> reached = {kSimRoot};
  std::vector<SimNodeId> open = {kSimRoot};
  while (!open.empty()) {
    const SimNode& node = tree->at(open.back());
    open.pop_back();
    if (!node.directory) continue;
    for (const auto& [name, id] : *node.entries) {
      if (tree->contains(id) && reached.insert(id).second) open.push_back(id);
    }
  }
  std::erase_if(*tree, [&](const auto& item) { return !reached.contains(item.first); });
}

void SimDurable::Advance(const SimHistory& history) {
  CHECK(position_ < history.size());
  const SimEvent& event = history[position_];
  switch (event.kind) {
    case Kind::kWrite:
    case Kind::kTruncate:
    case Kind::kAllocate:
      if (tree_.contains(event.node)) data_[event.node].push_back(position_);
      break;
    case Kind::kSync:
    case Kind::kFailedSync:
      SyncFile(history, event);
      break;
    case Kind::kNames:
      if (!tree_.contains(event.node)) tree_.emplace(event.node, MakeSimNode(event.directory));
      names_.push_back(position_);
      break;
    case Kind::kSyncNames:
      SyncNames(history, event.node);
      break;
    case Kind::kDamage:
      DamageFile(event);
      break;
  }
  ++position_;
}

void SimDurable::DamageFile(const SimEvent& event) {
  auto node = tree_.find(event.node);
  if (node == tree_.end()) return;
  uint64_t size = node->second.content->size();
  if (event.offset >= size) return;  // not on the medium yet
  Own(node->second.content)
      .Write(event.offset, std::string_view(*event.bytes).substr(0, size - event.offset));
}

void SimDurable::SyncFile(const SimHistory& history, const SimEvent& event) {
  auto pending = data_.find(event.node);
  if (pending != data_.end()) {
    std::vector<uint64_t>& events = pending->second;
    auto end = std::lower_bound(events.begin(), events.end(), event.covers);
    SimContent& content = Own(tree_.at(event.node).content);
    if (event.kind == Kind::kSync) {
      for (auto i = events.begin(); i != end; ++i) ApplyData(&content, history[*i]);
    } else {
      Random random(event.offset);
      SectorLottery(&content, {.sizes_wait_for_data = options_.sizes_wait_for_data}, &random)
          .Settle(history, {events.begin(), end});
    }
    events.erase(events.begin(), end);
    if (events.empty()) data_.erase(pending);
  }
  if (event.kind != Kind::kSync || !options_.sync_persists_name) return;
  bool is_new = std::any_of(names_.begin(), names_.end(), [&](uint64_t i) {
    return i < event.covers && history[i].node == event.node;
  });
  if (!is_new) return;
  std::vector<bool> chosen(names_.size());
  for (size_t i = 0; i < names_.size(); ++i) chosen[i] = names_[i] < event.covers;
  CommitNames(history, chosen);
}

void SimDurable::SyncNames(const SimHistory& history, SimNodeId directory) {
  // A change that touches the directory takes along what it builds on.
  std::vector<bool> chosen(names_.size());
  for (size_t i = names_.size(); i-- > 0;) {
    const SimEvent& event = history[names_[i]];
    for (const SimNameChange& change : *event.names) {
      if (change.directory == directory) chosen[i] = true;
    }
    for (size_t j = i + 1; j < names_.size() && !chosen[i]; ++j) {
      if (chosen[j] && SharesName(event, history[names_[j]])) chosen[i] = true;
    }
  }
  CommitNames(history, chosen);
}

void SimDurable::CommitNames(const SimHistory& history, const std::vector<bool>& chosen) {
  std::vector<uint64_t> left;
  std::vector<uint64_t> committed;
  for (size_t i = 0; i < names_.size(); ++i) {
    if (chosen[i]) {
      ApplyNames(&tree_, history[names_[i]]);
      committed.push_back(names_[i]);
    } else {
      left.push_back(names_[i]);
    }
  }
  names_ = std::move(left);
  // What has lost its last name and may not get another one is gone.
  std::set<SimNodeId> named;
  for (uint64_t i : names_) {
    named.insert(history[i].node);
    for (const SimNameChange& change : *history[i].names) named.insert(change.node);
  }
  if (committed.empty()) return;
  std::erase_if(tree_, [&](const auto& item) {
    bool gone = item.second.links == 0 && item.first != kSimRoot && !named.contains(item.first);
    if (gone) data_.erase(item.first);
    return gone;
  });
}

std::vector<uint64_t> SimDurable::Pending() const {
  std::vector<uint64_t> all = names_;
  for (const auto& [node, events] : data_) all.insert(all.end(), events.begin(), events.end());
  std::sort(all.begin(), all.end());
  return all;
}

SimTree SimDurable::Image(const SimHistory& history, const CrashPolicy& policy,
                          Random* random) const {
  using Policy = CrashPolicy::Kind;
  SimTree tree;
  if (policy.kind == Policy::kNone) {
    tree = tree_;
  } else if (policy.kind == Policy::kAll || policy.kind == Policy::kEpoch) {
    tree = tree_;
    std::vector<uint64_t> pending = Pending();
    uint64_t count = pending.size();
    if (policy.kind == Policy::kEpoch) {
      count = std::min(count, policy.epoch.value_or(random->Below(count + 1)));
    }
    for (uint64_t i = 0; i < count; ++i) ApplySimEvent(&tree, history[pending[i]]);
  } else if (policy.kind == Policy::kTornWrite) {
    tree = Torn(history, policy, random);
  } else {
    tree = ByChance(history, policy, random);
  }
  PruneSimTree(&tree);
  return tree;
}

std::vector<bool> SimDurable::ChooseNames(const SimHistory& history, Random* random) const {
  std::vector<bool> chosen(names_.size());
  if (random->Below(2) == 0) {  // a journal: in order
    uint64_t count = random->Below(names_.size() + 1);
    std::fill_n(chosen.begin(), count, true);
    return chosen;
  }
  uint64_t odds = 1 + random->Below(9);
  for (size_t i = names_.size(); i-- > 0;) {
    chosen[i] = random->Below(10) < odds;
    for (size_t j = i + 1; j < names_.size() && !chosen[i]; ++j) {
      if (chosen[j] && SharesName(history[names_[i]], history[names_[j]])) chosen[i] = true;
    }
  }
  return chosen;
}

SimTree SimDurable::ByChance(const SimHistory& history, const CrashPolicy& policy,
                             Random* random) const {
  SimTree tree = tree_;
  bool garbage = policy.kind == CrashPolicy::Kind::kGarbage;
  SectorLottery::Rules rules = {policy.sector_size, options_.sizes_wait_for_data && !garbage};
  std::vector<bool> chosen = ChooseNames(history, random);
  for (size_t i = 0; i < names_.size(); ++i) {
    if (chosen[i]) ApplyNames(&tree, history[names_[i]]);
  }
  for (const auto& [id, events] : data_) {
    auto node = tree.find(id);
    if (node == tree.end()) continue;
    SimContent& content = Own(node->second.content);
    SectorLottery lottery(&content, rules, random);
    lottery.Settle(history, events);
    if (garbage) lottery.AddGarbage(tree_);
  }
  return tree;
}

SimTree SimDurable::Torn(const SimHistory& history, const CrashPolicy& policy,
                         Random* random) const {
  SimTree tree = tree_;
  std::vector<uint64_t> pending = Pending();
  std::vector<uint64_t> writes;  // what can tear: positions in `pending`
  for (uint64_t i = 0; i < pending.size(); ++i) {
    const SimEvent& event = history[pending[i]];
    if (event.kind == Kind::kWrite && event.bytes->size() > 1) writes.push_back(i);
  }
  uint64_t torn = pending.size();
  if (!writes.empty()) {
    torn = random->Below(2) == 0 ? writes.back() : writes[random->Below(writes.size())];
  }
  for (uint64_t i = 0; i < torn; ++i) ApplySimEvent(&tree, history[pending[i]]);
  if (torn == pending.size()) return tree;
  const SimEvent& event = history[pending[torn]];
  auto node = tree.find(event.node);
  if (node == tree.end()) return tree;
  SimContent& content = Own(node->second.content);
  if (random->Below(2) == 0) {
    // In order up to some sector: how a disk tears; the size is that of the whole or of the part.
    uint64_t sectors = event.bytes->size() / policy.sector_size + 1;
    uint64_t end =
        (event.offset / policy.sector_size + random->Below(sectors + 1)) * policy.sector_size;
    uint64_t old_size = content.size();
    if (end > event.offset) {
      content.Write(event.offset, std::string_view(*event.bytes).substr(0, end - event.offset));
    }
    if (!options_.sizes_wait_for_data && random->Below(2) == 0) {
      content.Resize(SizeAfter(old_size, event));
    }
  } else {
    SectorLottery(&content, {policy.sector_size, options_.sizes_wait_for_data}, random)
        .Settle(history, {&pending[torn], static_cast<size_t>(1)});
  }
  return tree;
}

}  // namespace firn::io
