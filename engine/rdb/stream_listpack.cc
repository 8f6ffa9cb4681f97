// Nodes of streams: pages to listpacks and back.
#include <algorithm>
#include <array>

#include "engine/rdb/rdb_stream.h"

namespace firn {
namespace {

enum EntryFlag : uint8_t { kDeleted = 1, kSameFields = 2 };

// A page is never larger; a listpack of Redis' isn't either.
constexpr uint64_t kMaxPageBytes = 1u << 30;
// Of a deleted entry with neither fields nor a difference to the master's id.
constexpr uint64_t kSmallestEntry = 10;
constexpr uint64_t kSmallestText = 2;

// --- to a listpack

void AddId(ListpackBuilder* block, StreamId id, StreamId master) {
  block->AddInteger(static_cast<int64_t>(id.ms - master.ms));
  block->AddInteger(static_cast<int64_t>(id.seq - master.seq));
}

void AddMaster(ListpackBuilder* block, const StreamPage& page) {
  block->Clear();
  block->AddInteger(page.count());
  block->AddInteger(page.deleted());
  int64_t fields = 0;
  page.ForEachMasterField([&](std::string_view) { ++fields; });
  block->AddInteger(fields);
  page.ForEachMasterField([&](std::string_view name) { block->Add(name); });
  block->AddInteger(0);
}

void AddEntries(ListpackBuilder* block, const StreamPage& page) {
  for (StreamPage::Cursor cursor = page.begin(); cursor.valid(); cursor.Next()) {
    const auto fields = static_cast<int64_t>(cursor.fields());
    const bool own = cursor.own_fields();
    block->AddInteger(own ? 0 : kSameFields);
    AddId(block, cursor.id(), page.master());
    if (own) block->AddInteger(fields);
    cursor.ForEachField([&](std::string_view name, std::string_view value) {
      if (own) block->Add(name);
      block->Add(value);
    });
    block->AddInteger(own ? 2 * fields + 4 : fields + 3);
  }
}

// The longest text that takes at most so many bytes.
std::string Filling(uint64_t bytes) {
  std::string text(bytes < kSmallestText ? 0 : bytes - kSmallestText, 'x');
  while (!text.empty() && ListpackSize(std::string_view(text)) > bytes) text.pop_back();
  return text;
}

// Adds an entry that was deleted, which takes `more` bytes than the smallest such.
void AddDeleted(ListpackBuilder* block, const StreamPage& page, StreamId id, uint64_t more) {
  int64_t fields = 0;
  page.ForEachMasterField([&](std::string_view) { ++fields; });
  const uint64_t others = fields > 0 ? kSmallestText * static_cast<uint64_t>(fields - 1) : 0;
  if (more > 0 && more < 2 * kSmallestText && fields > 0 && others <= more) {
    // Too little for a name and a value.
    block->AddInteger(kDeleted | kSameFields);
    AddId(block, id, page.master());
    block->Add(Filling(more - others + kSmallestText));
    for (int64_t i = 1; i < fields; ++i) block->Add("");
    return block->AddInteger(fields + 3);
  }
  const bool pair = more >= 2 * kSmallestText;
  block->AddInteger(kDeleted);
  AddId(block, id, page.master());
  block->AddInteger(pair ? 1 : 0);
  if (pair) {
    const std::string value = Filling(more - kSmallestText);
    block->Add(Filling(more - ListpackSize(std::string_view(value))));
    block->Add(value);
  }
  block->AddInteger(pair ? 6 : 4);
}

// --- from a listpack

class NodeReader {
 public:
  NodeReader(StreamId master, std::string_view listpack) : master_(master), reader_(listpack) {}
  Status Read(std::string* page);

 private:
  bool Master();
  bool Entry(StreamPageBuilder* page);
  bool Integer(int64_t* value);
  bool Count(uint64_t* value);
  bool Texts(uint64_t count);
  bool Fail(const char* reason);

  const StreamId master_;
  ListpackReader reader_;
  Status status_;
  uint64_t entries_ = 0;
  uint64_t deleted_ = 0;
  uint64_t fields_ = 0;
  // Elements are kept, as their bytes may be in them.
  std::vector<PackedElement> elements_;
  std::vector<std::string_view> texts_;
  StreamId last_;         // of the entries that are there
  StreamId last_of_all_;  // of the last one
  bool ends_deleted_ = false;
  uint64_t live_ = 0;
};

bool NodeReader::Fail(const char* reason) {
  if (!reader_.status().ok()) {
    status_ = reader_.status();
  } else {
    status_ = Status::Corruption(std::string(reason) + ", at byte " +
                                 std::to_string(reader_.offset()) + " of a stream's node");
  }
  return false;
}

bool NodeReader::Integer(int64_t* value) {
  PackedElement element;
  if (!reader_.Next(&element)) return Fail("an end too early");
  if (!element.is_integer()) return Fail("a text instead of a number");
  *value = element.integer();
  return true;
}

bool NodeReader::Count(uint64_t* value) {
  int64_t number = 0;
  if (!Integer(&number)) return false;
  if (number < 0 || number > UINT32_MAX) return Fail("an impossible count");
  *value = static_cast<uint64_t>(number);
  return true;
}

bool NodeReader::Texts(uint64_t count) {
  elements_.clear();
  texts_.clear();
  for (uint64_t i = 0; i < count; ++i) {
    if (!reader_.Next(&elements_.emplace_back())) return Fail("an end too early");
  }
  for (const PackedElement& element : elements_) texts_.push_back(element.bytes());
  return true;
}

bool NodeReader::Master() {
  int64_t zero = 0;
  if (!Count(&entries_) || !Count(&deleted_) || !Count(&fields_)) return false;
  if (!Texts(fields_) || !Integer(&zero)) return false;
  return zero == 0 || Fail("a master entry without an end");
}

bool NodeReader::Entry(StreamPageBuilder* page) {
  int64_t flags = 0;
  int64_t ms = 0;
  int64_t seq = 0;
  if (!Integer(&flags) || !Integer(&ms) || !Integer(&seq)) return false;
  if ((flags & ~int64_t{kDeleted | kSameFields}) != 0) return Fail("an entry of an unknown kind");
  const bool same = (flags & kSameFields) != 0;
  uint64_t fields = fields_;
  if (!same && !Count(&fields)) return false;
  if (!Texts(same ? fields : 2 * fields)) return false;
  int64_t elements = 0;
  if (!Integer(&elements)) return false;
  if (static_cast<uint64_t>(elements) != texts_.size() + (same ? 3 : 4)) {
    return Fail("an entry with a wrong number of elements");
  }
  const StreamId id = {master_.ms + static_cast<uint64_t>(ms),
                       master_.seq + static_cast<uint64_t>(seq)};
  ends_deleted_ = (flags & kDeleted) != 0;
  last_of_all_ = id;
  if (id < master_) return Fail("an entry before its node");
  if (ends_deleted_) return true;
  if (live_ > 0 && id <= last_) return Fail("entries out of order");
  last_ = id;
  ++live_;
  page->Add(id, texts_, !same);
  return page->size() <= kMaxPageBytes || Fail("a node that is too large");
}

Status NodeReader::Read(std::string* page) {
  if (!Master()) return status_;
  StreamPageBuilder builder(master_, texts_);
  const uint64_t begin = reader_.offset();
  for (uint64_t i = 0; i < entries_ + deleted_; ++i) {
    if (!Entry(&builder)) return status_;
  }
  const uint64_t bytes = reader_.offset() - begin;
  PackedElement element;
  if (reader_.Next(&element) || !reader_.status().ok()) {
    Fail("more than its entries");
    return status_;
  }
  if (live_ != entries_) {
    Fail("a wrong number of entries");
    return status_;
  }
  StreamPageBuilder::Rest rest{.listpack_bytes = static_cast<uint32_t>(bytes),
                               .deleted = static_cast<uint32_t>(deleted_)};
  if (ends_deleted_ && (live_ == 0 || last_of_all_ > last_)) rest.last_deleted = last_of_all_;
  *page = builder.Finish(rest);
  return {};
}

}  // namespace

Status StreamPageOfListpack(StreamId master, std::string_view listpack, std::string* page) {
  return NodeReader(master, listpack).Read(page);
}

// Deleted entries come first, with the master's id, but for one that was the last of all.
std::string_view ListpackOfStreamPage(const StreamPage& page, ListpackBuilder* block) {
  AddMaster(block, page);
  if (page.deleted() == 0) {
    AddEntries(block, page);
    return block->Finish();
  }
  const uint64_t begin = block->size();
  AddEntries(block, page);
  const StreamId last = page.LastId();
  const bool ends_deleted = page.last_deleted();
  uint64_t smallest = kSmallestEntry * page.deleted();
  if (ends_deleted) {
    smallest += ListpackSize(static_cast<int64_t>(last.ms - page.master().ms)) +
                ListpackSize(static_cast<int64_t>(last.seq - page.master().seq)) -
                2 * ListpackSize(int64_t{0});
  }
  const uint64_t taken = block->size() - begin + smallest;
  uint64_t more = page.EntryListpackBytes() > taken ? page.EntryListpackBytes() - taken : 0;
  AddMaster(block, page);
  for (uint32_t left = page.deleted() - (ends_deleted ? 1 : 0); left > 0; --left) {
    AddDeleted(block, page, page.master(), more);
    more = 0;
  }
  AddEntries(block, page);
  if (ends_deleted) AddDeleted(block, page, last, more);
  return block->Finish();
}

}  // namespace firn
