#include "engine/page/stream_page.h"

#include <charconv>

#include "engine/base/check.h"

namespace firn {
namespace {

constexpr uint8_t kOwnFields = 1;
constexpr uint8_t kHasSeq = 2;
constexpr int kMsShift = 2;
constexpr int kMsBits = 5;
constexpr uint8_t kMoreMs = 0x80;

// Redis lets a listpack grow to this size where the configuration sets no limit.
constexpr uint64_t kMaxListpackBytes = 1ull << 30;
constexpr uint64_t kListpackFrame = 7;  // header and end

uint64_t ZigZag(int64_t value) {
  return static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63);
}
uint64_t UnZigZag(uint64_t value) { return value >> 1 ^ (~(value & 1) + 1); }

const uint8_t* Bytes(const char* at) { return reinterpret_cast<const uint8_t*>(at); }

// Whether a listpack would hold the text as a number: digits as they are written.
bool IsNumber(std::string_view text, int64_t* number) {
  if (text.empty() || text.size() > 20) return false;
  const bool negative = text[0] == '-';
  std::string_view digits = text.substr(negative ? 1 : 0);
  if (digits.empty() || digits[0] < '0' || digits[0] > '9') return false;
  if (digits[0] == '0' && text.size() > 1) return false;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, *number);
  return error == std::errc() && at == end;
}

// What comes before an entry's fields; `delta` is the id, counted from the master's.
void AppendHead(std::string* entry, StreamId delta, bool own_fields) {
  const auto low_ms = static_cast<uint8_t>(delta.ms & ((1u << kMsBits) - 1));
  const bool more = delta.ms >> kMsBits != 0;
  const bool has_seq = delta.seq != 0;
  entry->push_back(static_cast<char>(low_ms << kMsShift | (own_fields ? kOwnFields : 0) |
                                     (has_seq ? kHasSeq : 0) | (more ? kMoreMs : 0)));
  if (more) AppendVarint(entry, delta.ms >> kMsBits);
  if (has_seq) AppendVarint(entry, ZigZag(static_cast<int64_t>(delta.seq)));
}

uint64_t WithBackLength(uint64_t size) {
  if (size <= 127) return size + 1;
  if (size < 16383) return size + 2;
  if (size < 2097151) return size + 3;
  return size + (size < 268435455 ? 4 : 5);
}

}  // namespace

uint64_t ListpackSize(int64_t number) {
  if (number >= 0 && number <= 127) return 2;
  if (number >= -4096 && number <= 4095) return 3;
  if (number >= INT16_MIN && number <= INT16_MAX) return 4;
  if (number >= -8388608 && number <= 8388607) return 5;
  return number >= INT32_MIN && number <= INT32_MAX ? 6 : 10;
}

uint64_t ListpackSize(std::string_view text) {
  int64_t number;
  if (IsNumber(text, &number)) return ListpackSize(number);
  const uint64_t head = text.size() < 64 ? 1 : text.size() < 4096 ? 2 : 5;
  return WithBackLength(head + text.size());
}

// --- reading

StreamPage::Cursor::Cursor(const StreamPage& page)
    : page_(page.bytes_), master_(page.master()), left_(page.count()) {
  const char* at = page_.data() + page.FieldsOffset();
  at += LoadVarint(Bytes(at), &master_fields_);
  names_ = at;
  for (uint64_t i = 0; i < master_fields_; ++i) TakeString(&at);
  end_ = at;
  Load();
}

void StreamPage::Cursor::Next() {
  --left_;
  Load();
}

void StreamPage::Cursor::Load() {
  at_ = end_;
  if (left_ == 0) return;
  const char* at = at_;
  const auto head = static_cast<uint8_t>(*at++);
  uint64_t ms = (head >> kMsShift) & ((1u << kMsBits) - 1);
  if ((head & kMoreMs) != 0) {
    uint64_t more;
    at += LoadVarint(Bytes(at), &more);
    ms |= more << kMsBits;
  }
  uint64_t seq = 0;
  if ((head & kHasSeq) != 0) at += LoadVarint(Bytes(at), &seq);
  id_ = {master_.ms + ms, master_.seq + UnZigZag(seq)};
  own_fields_ = (head & kOwnFields) != 0;
  fields_ = master_fields_;
  if (own_fields_) at += LoadVarint(Bytes(at), &fields_);
  contents_ = at;
  for (uint64_t i = own_fields_ ? 2 * fields_ : fields_; i > 0; --i) TakeString(&at);
  end_ = at;
}

StreamId StreamPage::LastId() const {
  if ((flags() & kLastDeleted) != 0) return LoadId(kHeaderSize);
  StreamId last = master();
  for (Cursor cursor = begin(); cursor.valid(); cursor.Next()) last = cursor.id();
  return last;
}

uint64_t StreamPage::ListpackBytes() const {
  return FrameListpackBytes() + ListpackSize(int64_t{count()}) + EntryListpackBytes();
}

uint64_t StreamPage::FrameListpackBytes() const {
  const char* at = bytes_.data() + FieldsOffset();
  uint64_t fields;
  at += LoadVarint(Bytes(at), &fields);
  uint64_t bytes = kListpackFrame + ListpackSize(int64_t{deleted()}) +
                   ListpackSize(static_cast<int64_t>(fields)) + ListpackSize(int64_t{0});
  for (; fields > 0; --fields) {
    uint64_t size;
    at += LoadVarint(Bytes(at), &size);
    bytes += ListpackSize(std::string_view(at, size));
    at += size;
  }
  return bytes;
}

bool StreamPage::Validate(std::string_view bytes) {
  if (bytes.size() < kHeaderSize || bytes[0] != kKind) return false;
  if (LoadFixed<uint16_t>(bytes.data() + 2) != 1) return false;
  StreamPage page(bytes);
  if (page.FieldsOffset() > bytes.size()) return false;
  ByteReader reader(bytes.substr(page.FieldsOffset()));
  const uint64_t master_fields = reader.Varint();
  for (uint64_t i = 0; i < master_fields && reader.ok(); ++i) reader.Bytes(reader.Varint());
  for (uint32_t i = 0; i < page.count() && reader.ok(); ++i) {
    const auto head = reader.Fixed<uint8_t>();
    if ((head & kMoreMs) != 0) reader.Varint();
    if ((head & kHasSeq) != 0) reader.Varint();
    const bool own = (head & kOwnFields) != 0;
    const uint64_t fields = own ? reader.Varint() : master_fields;
    if (fields > bytes.size()) return false;
    for (uint64_t j = own ? 2 * fields : fields; j > 0 && reader.ok(); --j) {
      reader.Bytes(reader.Varint());
    }
  }
  return reader.ok() && reader.remaining() == 0;
}

// --- building

std::string StreamPage::Header(StreamId master, uint8_t flags) {
  std::string page{kKind, static_cast<char>(flags)};
  AppendFixed(&page, uint16_t{1});
  for (int i = 0; i < 3; ++i) AppendFixed(&page, uint32_t{0});
  AppendFixed(&page, master.ms);
  AppendFixed(&page, master.seq);
  return page;
}

std::string StreamPage::Void() {
  std::string page = Header({}, kVoid);
  AppendVarint(&page, 0);
  return page;
}

std::string StreamPage::First(const StreamEntry& entry) {
  std::string page = Header(entry.id, 0);
  AppendVarint(&page, entry.fields.size() / 2);
  for (size_t i = 0; i < entry.fields.size(); i += 2) {
    AppendVarint(&page, entry.fields[i].size());
    page += entry.fields[i];
  }
  std::string bytes;
  const uint64_t listpack = StreamPage(page).Encode(entry, &bytes);
  StoreFixed(page.data() + kCountAt, uint32_t{1});
  StoreFixed(page.data() + kListpackAt, static_cast<uint32_t>(listpack));
  return page + bytes;
}

StreamPageBuilder::StreamPageBuilder(StreamId master,
                                     std::span<const std::string_view> master_fields)
    : master_(master), page_(StreamPage::Header(master, 0)) {
  AppendVarint(&page_, master_fields.size());
  for (std::string_view name : master_fields) {
    AppendVarint(&page_, name.size());
    page_ += name;
  }
}

void StreamPageBuilder::Add(StreamId id, std::span<const std::string_view> texts, bool own_fields) {
  AppendHead(&page_, {id.ms - master_.ms, id.seq - master_.seq}, own_fields);
  if (own_fields) AppendVarint(&page_, texts.size() / 2);
  for (std::string_view text : texts) {
    AppendVarint(&page_, text.size());
    page_ += text;
  }
  ++count_;
}

std::string StreamPageBuilder::Finish(const Rest& rest) {
  StoreFixed(page_.data() + StreamPage::kCountAt, count_);
  StoreFixed(page_.data() + StreamPage::kListpackAt, rest.listpack_bytes);
  StoreFixed(page_.data() + StreamPage::kDeletedAt, rest.deleted);
  if (rest.last_deleted != kMinStreamId) {
    page_[1] = StreamPage::kLastDeleted;
    char id[sizeof(StreamId)];
    StoreFixed(id, rest.last_deleted.ms);
    StoreFixed(id + sizeof(uint64_t), rest.last_deleted.seq);
    page_.insert(StreamPage::kHeaderSize, id, sizeof id);
  }
  return std::move(page_);
}

// --- edits

bool StreamPage::HasMasterFields(std::span<const std::string_view> fields) const {
  const char* at = bytes_.data() + FieldsOffset();
  uint64_t master_fields;
  at += LoadVarint(Bytes(at), &master_fields);
  if (master_fields * 2 != fields.size()) return false;
  for (size_t i = 0; i < fields.size(); i += 2) {
    uint64_t size;
    at += LoadVarint(Bytes(at), &size);
    if (std::string_view(at, size) != fields[i]) return false;
    at += size;
  }
  return true;
}

uint64_t StreamPage::Encode(const StreamEntry& entry, std::string* bytes) const {
  const std::span<const std::string_view> fields = entry.fields;
  const bool same = HasMasterFields(fields);
  const StreamId delta{entry.id.ms - master().ms, entry.id.seq - master().seq};
  uint64_t room = 4 * kMaxVarintBytes;
  for (std::string_view text : fields) room += text.size() + 2;
  bytes->reserve(bytes->size() + room);
  AppendHead(bytes, delta, !same);
  const auto pairs = static_cast<int64_t>(fields.size() / 2);
  if (!same) AppendVarint(bytes, static_cast<uint64_t>(pairs));
  uint64_t listpack = ListpackSize(int64_t{same ? 2 : 0}) +
                      ListpackSize(static_cast<int64_t>(delta.ms)) +
                      ListpackSize(static_cast<int64_t>(delta.seq)) +
                      ListpackSize(same ? pairs + 3 : 2 * pairs + 4);
  if (!same) listpack += ListpackSize(pairs);
  for (size_t i = same ? 1 : 0; i < fields.size(); i += same ? 2 : 1) {
    AppendVarint(bytes, fields[i].size());
    *bytes += fields[i];
    listpack += ListpackSize(fields[i]);
  }
  return listpack;
}

size_t StreamPage::Append(std::span<const StreamEntry> entries, const StreamLimits& limits,
                          std::string* scratch, PageEdit* edit) const {
  if (is_void()) return 0;
  uint64_t max_bytes = limits.node_max_bytes;
  if (max_bytes == 0 || max_bytes > kMaxListpackBytes) max_bytes = kMaxListpackBytes;
  const uint64_t frame = FrameListpackBytes();
  uint64_t listpack = EntryListpackBytes();
  uint32_t rows = count();
  scratch->clear();
  for (const StreamEntry& entry : entries) {
    uint64_t bytes = 0;
    for (std::string_view text : entry.fields) bytes += text.size();
    if (frame + ListpackSize(int64_t{rows}) + listpack + bytes >= max_bytes) break;
    const bool full =
        limits.node_max_entries != 0 && uint64_t{rows} + deleted() >= limits.node_max_entries;
    if (full) break;
    listpack += Encode(entry, scratch);
    ++rows;
  }
  const size_t added = rows - count();
  if (added == 0) return 0;
  if (last_deleted()) edit->Overwrite(1, static_cast<uint8_t>(flags() & ~kLastDeleted));
  edit->Overwrite(kCountAt, rows | listpack << 32);
  if (last_deleted()) edit->Add(kHeaderSize, sizeof(StreamId), {});
  edit->Add(static_cast<uint32_t>(bytes_.size()), 0, *scratch);
  return added;
}

void StreamPage::Remove(const Extent& extent, PageEdit* edit) const {
  const bool keep_last = extent.end == bytes_.size() && (flags() & kLastDeleted) == 0;
  if (keep_last) edit->Overwrite(1, static_cast<uint8_t>(flags() | kLastDeleted));
  edit->Overwrite(kCountAt, count() - extent.count);
  edit->Overwrite(kDeletedAt, deleted() + extent.count);
  if (keep_last) {
    StreamId last = LastId();
    edit->AddNumber(kHeaderSize, 0, last.ms);
    edit->AddNumber(kHeaderSize, 0, last.seq);
  }
  edit->Add(extent.begin, extent.end - extent.begin, {});
}

}  // namespace firn
