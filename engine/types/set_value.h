// SetValue: a set on the pages of a PageSpace. Members are rows of a HashedTree; integers are kept
// as the digits they came in.
//
// Calls that answer false need a page that is not in RAM and have changed nothing (page_space.h). A
// command with several members first finds them all (Want), then changes them one by one: with Find
// if it adds, with FindAgain if it removes.
//
// Executor thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/types/hashed_tree.h"
#include "engine/types/string_ops.h"

namespace firn {

// Up to where a set is shown as an intset (set-max-intset-entries) or a listpack
// (set-max-listpack-entries and -value).
struct SetLimits {
  uint64_t max_intset_entries = 512;
  uint64_t max_listpack_entries = 128;
  uint64_t max_listpack_value = 64;
};

// What OBJECT ENCODING shows. A set moves on from one to the next and never back. The numbers are
// those of the root's flags.
enum class SetEncoding : uint8_t { kIntset = 0, kListpack = 1, kHashtable = 2 };
// "intset", "listpack" or "hashtable". REQUIRES: the root page of a set.
const char* SetEncodingName(std::string_view root);

// The encoding that a set has come to after members were added one by one.
class SetEncodingTracker {
 public:
  explicit SetEncodingTracker(const SetLimits& limits, SetEncoding encoding = SetEncoding::kIntset,
                              uint64_t count = 0)
      : limits_(limits), encoding_(encoding), count_(count) {}
  // A set that is made for about this many members, or has been given so many at once.
  void Begin(std::string_view first_member, uint64_t expected);
  void Expect(uint64_t members);
  // `longest` of those that are there: asked only if digits might be too long for a listpack.
  template <typename Longest>
  void Add(std::string_view member, Longest longest);
  void Add(std::string_view member) {
    Add(member, [this] { return longest_; });
    longest_ = std::max(longest_, member.size());
  }
  SetEncoding encoding() const { return encoding_; }

 private:
  static constexpr uint64_t kMaxDigits = 20;
  const SetLimits& limits_;
  SetEncoding encoding_;
  uint64_t count_;
  size_t longest_ = 0;  // of what was added by the second Add
};

class SetValue {
 public:
  using Place = HashedTree::Place;

  SetValue(PageSpace* space, HashSecret secret, HashedTree::HashFunction hash = SipHash13)
      : tree_(space, PackedKind::kSet, secret, hash) {}

  bool exists() const { return tree_.exists(); }
  // 0 if the value does not exist.
  uint64_t count() { return tree_.count(); }
  // REQUIRES: the value exists.
  SetEncoding encoding() { return static_cast<SetEncoding>(tree_.flags()); }

  // --- members
  // Not found, and true, if the value does not exist.
  bool Find(std::string_view member, Place* place) { return tree_.Find(member, place); }
  void FindAgain(std::string_view member, Place* place) { tree_.FindAgain(member, place); }
  // False: a page is missing.
  bool Want(std::string_view member) {
    Place place;
    return tree_.Find(member, &place);
  }
  // So many members will be added, or tried to be, one after the other; to be called before the
  // first Add of a command. `first` is the first of them.
  struct Announcement {
    std::string_view first;
    uint64_t members = 1;
  };
  void Announce(const Announcement& announcement, const SetLimits& limits);
  // Adds a member that Find has not found; makes the set if there is none. The member must not lie
  // in a page. REQUIRES: Announce.
  void Add(const Place& place, std::string_view member, const SetLimits& limits);
  // REQUIRES: place.found. The value may be gone afterwards.
  void Remove(const Place& place) { tree_.Remove(place); }

  // --- members by rank: a number below count() that says nothing but serves to choose at random
  bool WantRanks(std::span<const uint64_t> ranks) { return tree_.WantRanks(ranks); }
  // The view is valid until the next change. REQUIRES: the rank's page is in RAM.
  std::string_view At(uint64_t rank);
  // Removes the members of these ranks. REQUIRES: WantRanks; ascending, each once. The value may be
  // gone afterwards.
  void RemoveRanks(std::span<const uint64_t> ranks);
  // As after the removal of nearly everything, when Redis makes the set anew from what is left.
  // REQUIRES: all pages are in RAM.
  void ChooseEncodingAnew(const SetLimits& limits);

  // --- all members
  bool WantAll() { return tree_.WantAll(); }
  // At least the bytes of all members. REQUIRES: WantAll.
  uint64_t TotalBytes();
  // visit(std::string_view), in no order but that of an intset: ascending. The views are valid
  // until the next change of any page of any value. REQUIRES: WantAll.
  template <typename Visitor>
  void ForEach(Visitor visit);
  // As HashedTree::Scan. What is shown as an intset or a listpack comes as one batch, as of Redis,
  // unless it is huge.
  struct ScanBatch {
    std::vector<std::string_view> members;
    uint64_t next = 0;
  };
  bool Scan(uint64_t cursor, uint64_t count, ScanBatch* batch);

  // Makes a set of these members, which are distinct and lie in no page. REQUIRES: the value does
  // not exist; at least one member.
  void Build(std::span<const std::string_view> members, SetEncoding encoding);

 private:
  uint64_t LongestMember();

  HashedTree tree_;
};

// Sorts the digits of integers, each in its shortest form, by the numbers.
void SortIntegers(std::vector<std::string_view>* digits);

template <typename Longest>
void SetEncodingTracker::Add(std::string_view member, Longest longest) {
  ++count_;
  if (encoding_ == SetEncoding::kHashtable) return;
  const bool integer = encoding_ == SetEncoding::kIntset && IsInteger(member);
  if (integer) {
    if (count_ > limits_.max_intset_entries) encoding_ = SetEncoding::kHashtable;
    return;
  }
  bool fits = count_ <= limits_.max_listpack_entries && member.size() <= limits_.max_listpack_value;
  if (fits && encoding_ == SetEncoding::kIntset && limits_.max_listpack_value < kMaxDigits) {
    fits = longest() <= limits_.max_listpack_value;
  }
  encoding_ = fits ? SetEncoding::kListpack : SetEncoding::kHashtable;
}

template <typename Visitor>
void SetValue::ForEach(Visitor visit) {
  if (!exists()) return;
  if (encoding() != SetEncoding::kIntset) {
    return tree_.ForEach([&](const PackedRow& row) { visit(row.bytes); });
  }
  std::vector<std::string_view> members;
  members.reserve(count());
  tree_.ForEach([&](const PackedRow& row) { members.push_back(row.bytes); });
  SortIntegers(&members);
  for (std::string_view member : members) visit(member);
}

}  // namespace firn
