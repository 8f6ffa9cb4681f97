#include "crash_model.h"

#include <algorithm>

#include "engine/base/siphash.h"

namespace firn::test {
namespace {

uint64_t StringHash(std::string_view text) { return SipHash13({3, 4}, text); }

}  // namespace

void SetFingerprint::Add(std::string_view text) { sum_ += StringHash(text); }

void SetFingerprint::Remove(std::string_view text) { sum_ -= StringHash(text); }

void ModelSet::Insert(const std::string& text) {
  if (strings_.insert(text).second) fingerprint_.Add(text);
}

void ModelSet::Erase(const std::string& text) {
  if (strings_.erase(text) != 0) fingerprint_.Remove(text);
}

CrashModel::CrashModel(uint32_t databases, std::vector<std::string> keys)
    : databases_(databases),
      keys_(std::move(keys)),
      now_(databases * keys_.size()),
      history_(databases * keys_.size(), {{0, 0, -1}}) {}

uint64_t CrashModel::Fingerprint(std::string_view bytes) {
  return SipHash13({1, 2}, bytes) | 1;  // never that of an absent key
}

void CrashModel::Set(size_t slot, std::optional<ModelValue> value) {
  Version version{op_, 0, -1};
  if (value) {
    version.fingerprint = value->set      ? value->set->fingerprint()
                          : value->stream ? value->stream->fingerprint()
                                          : Fingerprint(value->bytes);
    version.expiry_ms = value->expiry_ms;
  }
  std::vector<Version>& history = history_[slot];
  if (history.back().op == op_) {
    history.back() = version;
  } else {
    history.push_back(version);
  }
  now_[slot] = std::move(value);
}

void CrashModel::Swap(uint32_t a, uint32_t b) {
  for (size_t key = 0; key < keys_.size(); ++key) {
    std::optional<ModelValue> of_a = now_[Slot(a, key)];
    std::optional<ModelValue> of_b = now_[Slot(b, key)];
    if (!of_a && !of_b) continue;
    Set(Slot(a, key), std::move(of_b));
    Set(Slot(b, key), std::move(of_a));
  }
}

void CrashModel::Flush(uint32_t db) {
  for (size_t key = 0; key < keys_.size(); ++key) {
    if (now_[Slot(db, key)]) Set(Slot(db, key), std::nullopt);
  }
}

CrashModel CrashModel::StartAt(const FoundState& found) const {
  CrashModel start(databases_, keys_);
  for (size_t slot = 0; slot < found.values.size(); ++slot) {
    const FoundState::Value& value = found.values[slot];
    if (value.fingerprint == 0) continue;
    start.now_[slot] = ModelValue{value.bytes, value.expiry_ms, value.set, value.stream};
    start.history_[slot] = {{0, value.fingerprint, value.expiry_ms}};
  }
  return start;
}

bool CrashModel::Matches(const Version& version, const FoundState::Value& value,
                         int64_t now_ms) const {
  bool expired = version.expiry_ms >= 0 && version.expiry_ms <= now_ms;
  if (value.fingerprint == 0) return version.fingerprint == 0 || expired;
  return !expired && version.fingerprint == value.fingerprint &&
         version.expiry_ms == value.expiry_ms;
}

std::string CrashModel::FindPrefix(const FoundState& found, uint32_t least,
                                   PrefixRange* range) const {
  // Each key allows some ranges of commands; the prefix is one that all keys allow.
  std::vector<int32_t> steps(op_ + 2);
  for (size_t slot = 0; slot < history_.size(); ++slot) {
    const std::vector<Version>& history = history_[slot];
    for (size_t i = 0; i < history.size(); ++i) {
      if (!Matches(history[i], found.values[slot], found.now_ms)) continue;
      ++steps[history[i].op];
      --steps[i + 1 < history.size() ? history[i + 1].op : op_ + 1];
    }
  }
  int32_t allowed = 0, most = -1;
  uint32_t best = 0;
  bool inside = false, found_any = false;
  for (uint32_t op = 0; op <= op_; ++op) {
    allowed += steps[op];
    bool all = allowed == static_cast<int32_t>(history_.size());
    if (all && op >= least) {
      if (!inside) range->first = op;
      range->last = op;
      inside = found_any = true;
    } else {
      inside = false;
    }
    if (allowed > most) most = allowed, best = op;
  }
  return found_any ? "" : Describe(found, least, best);
}

// `best`: the command whose state is most like what was found.
std::string CrashModel::Describe(const FoundState& found, uint32_t least, uint32_t best) const {
  std::string text = "no prefix from command " + std::to_string(least) +
                     " on leaves this state; it is most like that after " + std::to_string(best);
  for (size_t slot = 0; slot < history_.size(); ++slot) {
    const std::vector<Version>& history = history_[slot];
    auto next = std::upper_bound(history.begin(), history.end(), best,
                                 [](uint32_t op, const Version& v) { return op < v.op; });
    const Version& version = *(next - 1);
    const FoundState::Value& value = found.values[slot];
    if (Matches(version, value, found.now_ms)) continue;
    text += "\n  db " + std::to_string(slot / keys_.size()) + " \"" +
            keys_[slot % keys_.size()].substr(0, 20) + "\": set by command " +
            std::to_string(version.op) + (version.fingerprint == 0 ? " to absent" : "") +
            ", found " + (value.fingerprint == 0 ? "absent" : "another");
    for (const Version& other : history) {
      if (value.fingerprint == 0 || other.fingerprint != value.fingerprint) continue;
      text += ", that of command " + std::to_string(other.op);
      if (other.expiry_ms == value.expiry_ms) continue;
      text += " that expires at " + std::to_string(other.expiry_ms) + ", not " +
              std::to_string(value.expiry_ms);
    }
  }
  return text;
}

}  // namespace firn::test
