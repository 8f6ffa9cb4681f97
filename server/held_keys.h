// HeldKeys: keys that stay as they are while a command takes its time over them (SlicedCommand).
// Other clients' commands that name such a key in order to change it wait, as under CLIENT PAUSE,
// until the hold ends; everything else goes on.
//
// What nobody names beforehand can't be held back: a script's write of a key that it was not given,
// a flush, a list that serves a client who waits for it. Such a change breaks the hold, as its
// owner finds in the end.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace firn::server {

class Server;
class KeyHold;

class HeldKeys {
 public:
  explicit HeldKeys(Server* server);
  ~HeldKeys();
  HeldKeys(const HeldKeys&) = delete;
  HeldKeys& operator=(const HeldKeys&) = delete;

  bool any() const { return !holds_.empty(); }
  // Whether some command waits for the end of all holds. None begins meanwhile, so that holds that
  // follow one another don't make it wait for ever.
  bool awaited() const { return awaited_; }
  // Whether a command must not change the key now: it will wait.
  bool HoldsBack(uint32_t db, std::string_view key);
  // The key was changed.
  void Touch(uint32_t db, std::string_view key) {
    if (!holds_.empty()) [[unlikely]]
      Break(db, key);
  }
  // The database is about to be emptied, or to be replaced by another one.
  void TouchDatabase(uint32_t db);

 private:
  friend class KeyHold;
  void Break(uint32_t db, std::string_view key);

  Server& server_;
  std::vector<KeyHold*> holds_;
  bool awaited_ = false;
  // Holds are owned by commands, some of which outlive the server's clients.
  std::shared_ptr<HeldKeys*> alive_;
};

// A hold, as long as this object lives.
class KeyHold {
 public:
  using Covers = std::move_only_function<bool(std::string_view key) const>;

  // The keys of a database that `covers` says, which may be called as long as this object lives.
  KeyHold(Server& server, uint32_t db, Covers covers);
  ~KeyHold();
  KeyHold(const KeyHold&) = delete;
  KeyHold& operator=(const KeyHold&) = delete;

  // One of them was changed all the same.
  bool broken() const { return broken_; }

 private:
  friend class HeldKeys;
  std::weak_ptr<HeldKeys*> table_;
  const uint32_t db_;
  const Covers covers_;
  bool broken_ = false;
};

}  // namespace firn::server
