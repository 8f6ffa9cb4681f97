#include "server/commands/debug_digest.h"

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/coding.h"
#include "engine/base/sha1.h"
#include "engine/types/counted_tree.h"
#include "engine/types/stream_value.h"
#include "server/commands/common.h"
#include "server/commands/long_strings.h"
#include "server/server.h"
#include "tiering/collection.h"

namespace firn::server {
namespace {

// Values read at a time, so that a walk over much data needs little memory.
constexpr uint64_t kStep = 64;

std::string_view View(const Sha1Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

// Adds something whose order does not matter.
void Add(Sha1Digest& digest, std::string_view bytes) {
  Sha1Digest more = Sha1(bytes);
  for (size_t i = 0; i < digest.size(); ++i) digest[i] ^= more[i];
}

// Adds something whose order matters.
void Mix(Sha1Digest& digest, std::string_view bytes) {
  Add(digest, bytes);
  digest = Sha1(View(digest));
}

void MixNumber(Sha1Digest& digest, uint32_t number) {
  uint32_t big_endian;
  StoreBig32(&big_endian, number);
  Mix(digest, {reinterpret_cast<const char*>(&big_endian), sizeof big_endian});
}

// The numbers that the digest has for types.
uint32_t TypeNumber(ValueType type) {
  switch (type) {
    case ValueType::kList:
      return 1;
    case ValueType::kSet:
      return 2;
    case ValueType::kZset:
      return 3;
    case ValueType::kHash:
      return 4;
    case ValueType::kStream:
      return 6;
    default:
      return 0;
  }
}

// One row of a collection. Only lists have an order.
void MixRow(Sha1Digest& digest, ValueType type, const PackedRow& row) {
  if (type == ValueType::kList) return Mix(digest, row.bytes);
  if (type == ValueType::kSet) return Add(digest, row.bytes);
  Sha1Digest one = {};
  Mix(one, row.bytes);
  if (type == ValueType::kZset) {
    char score[40];
    int size = std::snprintf(score, sizeof score, "%.17g", row.score);
    Mix(one, {score, static_cast<size_t>(size)});
  } else {
    Mix(one, row.value);
  }
  Add(digest, View(one));
}

// The entries of a stream; its groups don't count, as in Redis.
void MixStream(Sha1Digest& digest, PageSpace* pages) {
  StreamValue(pages).ForEach({}, [&](const StreamPage::Cursor& entry) {
    Mix(digest, std::to_string(entry.id().ms) + "." + std::to_string(entry.id().seq));
    entry.ForEachField([&](std::string_view name, std::string_view value) {
      Mix(digest, name);
      Mix(digest, value);
    });
  });
}

// REQUIRES: all pages are in RAM.
void MixCollection(Sha1Digest& digest, Database& db, const HashedKey& key, ValueType type) {
  Collection pages(db, key, type, {.touch = false, .count_hit = false});
  if (type == ValueType::kStream) return MixStream(digest, &pages);
  CountedTree tree(&pages);
  CountedTree::Leaf leaf;
  CHECK(tree.FindRank(0, &leaf));
  do {
    for (PackedPage::Cursor cursor(tree.Page(leaf), 0); cursor.valid(); cursor.Next()) {
      const PackedRow& row = cursor.row();
      if (row.expiry_ms >= 0 && row.expiry_ms <= pages.now_ms()) continue;
      MixRow(digest, type, row);
    }
  } while (tree.Next(&leaf) == CountedTree::Moved::kYes);
}

// REQUIRES: the key is planned with kRead; of a collection, all pages are in RAM.
void MixValue(Sha1Digest& digest, Database& db, const HashedKey& key) {
  Database::KeyInfo info = db.Lookup(key, {.touch = false, .count_hit = false});
  if (!info.exists()) return;
  MixNumber(digest, TypeNumber(info.type));
  if (info.type == ValueType::kString) {
    WholeString value;
    CHECK(value.Load(db, key, info));
    Mix(digest, value.bytes());
  }
  if (IsCollection(info.type)) MixCollection(digest, db, key, info.type);
  if (info.expiry_ms >= 0) Add(digest, "!!expire!!");
}

std::string Hex(const Sha1Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// One DEBUG DIGEST on its way: scans some keys, plans them, mixes them in, goes on.
class DigestWalk : public std::enable_shared_from_this<DigestWalk> {
 public:
  explicit DigestWalk(CommandContext& context) : server_(context.server) {}

  // Each step is a turn of the client that waits for the digest.
  void Step(CommandContext& context) {
    if (database_ == context.store.databases()) return context.reply.SimpleString(Hex(digest_));
    auto pending = PendingCommand::Begin(context);
    context.store.Scan(
        database_, cursor_, kStep, [self = shared_from_this(), pending](Store::ScanResult result) {
          pending->Finish([self, result = std::move(result)](CommandContext& c) mutable {
            self->Scanned(c, std::move(result));
          });
        });
    pending->Return();
  }

 private:
  void Scanned(CommandContext& context, Store::ScanResult result) {
    if (!result.status.ok()) return context.reply.Error("ERR " + result.status.message());
    scanned_ = std::move(result);
    std::vector<KeyAccess> keys;
    for (const Store::ScanKey& key : scanned_.keys) {
      keys.push_back({database_, context.store.Key(key.key), Access::kRead});
    }
    RunWithKeys(context, std::move(keys),
                [self = shared_from_this()](CommandContext& c) { self->Planned(c); });
  }

  void Planned(CommandContext& context) {
    Database& db = context.store.database(database_);
    bool all_here = true;
    for (const Store::ScanKey& key : scanned_.keys) {
      all_here &= db.WantAllPages(context.store.Key(key.key));
    }
    if (!all_here) return;
    for (const Store::ScanKey& key : scanned_.keys) {
      const HashedKey hashed = context.store.Key(key.key);
      if (!db.Lookup(hashed, {.touch = false, .count_hit = false}).exists()) continue;
      // A database counts from its first key on.
      if (!begun_) MixNumber(digest_, database_);
      begun_ = true;
      Sha1Digest one = {};
      Mix(one, key.key);
      MixValue(one, db, hashed);
      Add(digest_, View(one));
    }
    cursor_ = scanned_.next;
    if (cursor_ == 0) {
      ++database_;
      begun_ = false;
    }
    // Others run in between.
    SuspendedCommand suspended = context.Suspend();
    server_.loop().Post([self = shared_from_this(), suspended] {
      suspended.Resume([self](CommandContext& c) { self->Step(c); });
    });
  }

  Server& server_;
  Sha1Digest digest_ = {};
  uint32_t database_ = 0;
  uint64_t cursor_ = 0;
  bool begun_ = false;
  Store::ScanResult scanned_;
};

}  // namespace

void DigestOfEverything(CommandContext& context) {
  std::make_shared<DigestWalk>(context)->Step(context);
}

void DigestOfValues(CommandContext& context) {
  std::vector<KeyAccess> keys;
  for (std::string_view name : context.args.subspan(2)) {
    keys.push_back({context.db().number(), context.store.Key(name), Access::kRead});
  }
  RunWithKeys(context, std::move(keys), [](CommandContext& c) {
    bool all_here = true;
    for (std::string_view name : c.args.subspan(2)) {
      all_here &= c.db().WantAllPages(c.store.Key(name));
    }
    if (!all_here) return;
    c.reply.ArrayHeader(static_cast<int64_t>(c.args.size() - 2));
    for (std::string_view name : c.args.subspan(2)) {
      Sha1Digest digest = {};
      MixValue(digest, c.db(), c.store.Key(name));
      c.reply.SimpleString(Hex(digest));
    }
  });
}

}  // namespace firn::server
