#include "engine/page/pending_page.h"

#include <algorithm>

#include "engine/base/check.h"

namespace firn {
namespace {

// Clocks may be set back by a little without a page having to change its format.
constexpr int64_t kClockSlackMs = 3'600'000;

uint64_t Packed(uint64_t ms_delta, uint64_t seq) { return ms_delta << 32 | seq; }

// The distance, if 32 bits hold it.
bool Narrow(uint64_t value, uint64_t base) { return value >= base && value - base <= UINT32_MAX; }
bool NarrowTime(int64_t value, int64_t base) {
  return value >= base && static_cast<uint64_t>(value) - static_cast<uint64_t>(base) <= UINT32_MAX;
}

}  // namespace

bool PendingPage::Validate(std::string_view bytes) {
  if (bytes.size() < kHeaderSize || bytes[0] != kKind) return false;
  if (LoadFixed<uint16_t>(bytes.data() + 2) != 1) return false;
  const PendingPage page(bytes);
  return bytes.size() == kHeaderSize + uint64_t{page.rows()} * page.row_size();
}

StreamId PendingPage::Id(uint32_t i) const {
  const char* at = bytes_.data() + Offset(i);
  if (wide()) return {LoadFixed<uint64_t>(at), LoadFixed<uint64_t>(at + 8)};
  const auto packed = LoadFixed<uint64_t>(at);
  return {base_ms() + (packed >> 32), packed & UINT32_MAX};
}

PendingEntry PendingPage::Row(uint32_t i) const {
  PendingEntry row{.id = Id(i)};
  if (ids_alone()) {
    row.consumer = owner().consumer;
    return row;
  }
  const char* at = bytes_.data() + Offset(i);
  if (wide()) {
    row.delivered_ms = LoadFixed<int64_t>(at + 16);
    row.deliveries = LoadFixed<uint64_t>(at + 24);
    row.consumer = LoadFixed<uint32_t>(at + 32);
  } else {
    row.delivered_ms = base_delivery() + LoadFixed<uint32_t>(at + 8);
    row.deliveries = LoadFixed<uint16_t>(at + 12);
    row.consumer = LoadFixed<uint16_t>(at + 14);
  }
  return row;
}

std::vector<PendingEntry> PendingPage::Rows(uint32_t first, uint32_t end) const {
  std::vector<PendingEntry> rows;
  rows.reserve(end - first);
  for (uint32_t i = first; i < end; ++i) rows.push_back(Row(i));
  return rows;
}

uint32_t PendingPage::LowerBound(StreamId id) const {
  uint32_t low = 0;
  uint32_t high = rows();
  if (high == 0) return 0;
  // Mostly entries come at the end, and go at the beginning.
  if (Id(high - 1) < id) return high;
  if (Id(0) >= id) return 0;
  if (!wide()) {
    // What is less than the base or more than 32 bits away has been answered above.
    const uint64_t wanted = Packed(id.ms - base_ms(), std::min<uint64_t>(id.seq, UINT32_MAX));
    const bool beyond = id.seq > UINT32_MAX;
    const uint32_t width = row_size();
    const char* first = bytes_.data() + kHeaderSize;
    while (low < high) {
      const uint32_t middle = (low + high) / 2;
      const auto packed = LoadFixed<uint64_t>(first + uint64_t{middle} * width);
      const bool less = beyond ? packed <= wanted : packed < wanted;
      low = less ? middle + 1 : low;
      high = less ? high : middle;
    }
    return low;
  }
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (Id(middle) < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool PendingPage::CanHold(const PendingEntry& row) const {
  if (wide()) return true;
  if (row.id.seq > UINT32_MAX || !Narrow(row.id.ms, base_ms())) return false;
  if (ids_alone()) return true;
  return NarrowTime(row.delivered_ms, base_delivery()) && row.deliveries <= UINT16_MAX &&
         row.consumer <= UINT16_MAX;
}

void PendingPage::AppendRow(const PendingEntry& row, std::string* out) const {
  char bytes[40];
  if (wide()) {
    StoreFixed(bytes, row.id.ms);
    StoreFixed(bytes + 8, row.id.seq);
    StoreFixed(bytes + 16, row.delivered_ms);
    StoreFixed(bytes + 24, row.deliveries);
    StoreFixed(bytes + 32, row.consumer);
    StoreFixed(bytes + 36, uint32_t{0});
  } else {
    StoreFixed(bytes, Packed(row.id.ms - base_ms(), row.id.seq));
    StoreFixed(bytes + 8, static_cast<uint32_t>(static_cast<uint64_t>(row.delivered_ms) -
                                                static_cast<uint64_t>(base_delivery())));
    StoreFixed(bytes + 12, static_cast<uint16_t>(row.deliveries));
    StoreFixed(bytes + 14, static_cast<uint16_t>(row.consumer));
  }
  out->append(bytes, row_size());
}

void PendingPage::Insert(uint32_t at, std::span<const PendingEntry> rows, std::string* scratch,
                         PageEdit* edit) const {
  scratch->clear();
  for (const PendingEntry& row : rows) AppendRow(row, scratch);
  edit->Overwrite(kRowsAt, this->rows() + static_cast<uint32_t>(rows.size()));
  edit->Add(Offset(at), 0, *scratch);
}

void PendingPage::Replace(uint32_t at, const PendingEntry& row, std::string* scratch,
                          PageEdit* edit) const {
  scratch->clear();
  AppendRow(row, scratch);
  edit->Add(Offset(at), row_size(), *scratch);
}

void PendingPage::Remove(uint32_t at, uint32_t count, PageEdit* edit) const {
  CHECK(count > 0 && at + count <= rows());
  edit->Overwrite(kRowsAt, rows() - count);
  edit->Add(Offset(at), count * row_size(), {});
}

std::string PendingPage::Build(const Spec& spec) {
  uint64_t base_ms = UINT64_MAX;
  int64_t base_delivery = INT64_MAX;
  for (const PendingEntry& row : spec.rows) {
    base_ms = std::min(base_ms, row.id.ms);
    base_delivery = std::min(base_delivery, row.delivered_ms);
  }
  std::string page{kKind, static_cast<char>(spec.is_first ? kFirst : 0)};
  AppendFixed(&page, uint16_t{1});
  AppendFixed(&page, static_cast<uint32_t>(spec.rows.size()));
  AppendFixed(&page, spec.owner.group);
  AppendFixed(&page, spec.owner.consumer);
  AppendFixed(&page, spec.rows.empty() ? 0 : base_ms);
  const int64_t slack = std::clamp<int64_t>(base_delivery, 0, kClockSlackMs);
  AppendFixed(&page, spec.rows.empty() ? 0 : base_delivery - slack);
  const PendingPage narrow(page);
  const bool fits = std::all_of(spec.rows.begin(), spec.rows.end(),
                                [&](const PendingEntry& row) { return narrow.CanHold(row); });
  if (!fits) page[1] = static_cast<char>(page[1] | kWide);
  std::string rows;
  for (const PendingEntry& row : spec.rows) narrow.AppendRow(row, &rows);
  return page + rows;
}

}  // namespace firn
