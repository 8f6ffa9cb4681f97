// SetMerge: a union, intersection or difference of sets as they are at one moment, a slice at a
// time, for commands that take all of large sets.
//
// Sets of one server lie in the order of one keyed hash. So they are read leaf by leaf, as
// FrozenValues: a union merges them, an intersection or difference looks the members of one up in
// the others. What comes out is in that order, too.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/types/set_value.h"
#include "server/command.h"
#include "tiering/frozen_value.h"

namespace firn::server {

enum class SetOperation : uint8_t { kIntersect, kUnite, kSubtract };

struct SetMember {
  uint64_t hash = 0;
  std::string_view bytes;
  bool operator==(const SetMember&) const = default;
  bool operator<(const SetMember& other) const {
    return hash != other.hash ? hash < other.hash : bytes < other.bytes;
  }
};

class SetMerge {
 public:
  // Whether the work is worth slices. `counts` are those of the operands, in their order.
  static bool IsWorthSlices(const CommandContext& context, SetOperation operation,
                            std::span<const uint64_t> counts);

  explicit SetMerge(SetOperation operation) : operation_(operation) {}

  // Begins, anew if it has begun. False: one of the keys holds something else, as was answered.
  // REQUIRES: the keys are planned, and stay where they are until the end. No object on a
  // collection of theirs lives.
  bool BeginOr(CommandContext& context, std::span<const KeyAccess> keys);
  void Clear() { operands_.clear(); }

  // Gives some members more, about a millisecond's work; the views are valid during the call.
  // False: pages are missing, and wanted; what was given is not given again.
  using Taker = std::function<void(const SetMember& member)>;
  bool Advance(const Taker& take, bool* ended);

  // It can't go on: an operand can't be read any more.
  bool lost() const;
  // An operand has changed, by a page or in its root. REQUIRES of the second: the keys are planned.
  bool changed() const;
  bool IsAsItWas(CommandContext& context) const;

 private:
  class Members;
  // One key.
  struct Operand {
    Operand();
    Operand(Operand&&) noexcept;
    ~Operand();
    const KeyAccess* access = nullptr;
    std::unique_ptr<FrozenValue> frozen;  // null: there is no such key
    std::unique_ptr<SetValue> value;
    std::unique_ptr<Members> members;
  };

  size_t ChooseDriver() const;
  bool Unite(const Taker& take, bool* ended);
  bool Probe(const Taker& take, bool* ended);
  bool IsWanted(std::string_view member, bool* wanted);
  void WantOthers(std::span<const SetMember> members);

  const SetOperation operation_;
  HashSecret secret_;
  std::vector<Operand> operands_;  // each key once
  size_t driver_ = 0;              // whose members are looked up in the others
  // What this slice may still do: it ends before it needs more pages than one command may fetch.
  uint64_t leaves_left_ = 0;
  uint64_t lookups_left_ = 0;
};

}  // namespace firn::server
