#include "stream_model.h"

#include "engine/base/coding.h"
#include "engine/base/siphash.h"

namespace firn::test {
namespace {

void AppendId(std::string* out, StreamId id) {
  AppendFixed(out, id.ms);
  AppendFixed(out, id.seq);
}

void AppendText(std::string* out, const std::string& text) {
  AppendFixed(out, static_cast<uint32_t>(text.size()));
  *out += text;
}

bool ReadGroup(StreamGroups* groups, ModelStream::Group* group) {
  bool all = groups->ForEachPending(group->row, {}, [&](const PendingEntry& entry) {
    group->pending[entry.id] = entry;
    return true;
  });
  all &= groups->ForEachConsumer(
      group->row, [&](std::string_view name, const StreamGroups::Consumer& consumer) {
        group->consumers[std::string(name)] = consumer;
        return true;
      });
  // Every list says the same: what a consumer has is pending, and nothing else is.
  size_t owned = 0;
  for (const auto& [name, consumer] : group->consumers) {
    all &= groups->ForEachPendingOf(group->row, consumer.number, {}, [&](StreamId id) {
      auto entry = group->pending.find(id);
      owned += entry != group->pending.end() && entry->second.consumer == consumer.number ? 1 : 2;
      return true;
    });
  }
  if (all && owned != group->pending.size()) group->row.pending = UINT64_MAX;  // as no command can
  return all;
}

}  // namespace

uint64_t ModelStream::fingerprint() const {
  std::string all = "stream";
  AppendId(&all, last_id);
  AppendId(&all, max_deleted_id);
  AppendFixed(&all, entries_added);
  AppendFixed(&all, entries.size());
  for (const auto& [id, text] : entries) {
    AppendId(&all, id);
    AppendText(&all, text);
  }
  for (const auto& [name, group] : groups) {
    AppendText(&all, name);
    AppendId(&all, group.row.last_id);
    AppendFixed(&all, group.row.number);
    AppendFixed(&all, group.row.entries_read);
    AppendFixed(&all, group.row.pending);
    AppendFixed(&all, group.row.consumers);
    AppendFixed(&all, group.consumers.size());
    for (const auto& [consumer_name, consumer] : group.consumers) {
      AppendText(&all, consumer_name);
      AppendFixed(&all, consumer.number);
      AppendFixed(&all, consumer.seen_ms);
      AppendFixed(&all, consumer.active_ms);
      AppendFixed(&all, consumer.pending);
    }
    AppendFixed(&all, group.pending.size());
    for (const auto& [id, entry] : group.pending) {
      AppendId(&all, id);
      AppendFixed(&all, entry.delivered_ms);
      AppendFixed(&all, entry.deliveries);
      AppendFixed(&all, entry.consumer);
    }
  }
  return SipHash13({5, 6}, all) | 1;
}

bool ModelStream::Read(PageSpace* pages, ModelStream* stream) {
  *stream = {};
  StreamValue value(pages);
  bool all = value.Walk({}, [&](const StreamPage::Cursor& entry) {
    entry.ForEachField([&](std::string_view, std::string_view text) {
      stream->entries[entry.id()] = std::string(text);
    });
  });
  stream->last_id = value.last_id();
  stream->max_deleted_id = value.max_deleted_id();
  stream->entries_added = value.entries_added();
  if (all && value.length() != stream->entries.size()) stream->entries_added = UINT64_MAX;
  StreamGroups groups(pages);
  all &= groups.ForEachGroup([&](std::string_view name, const StreamGroups::Group& row) {
    stream->groups[std::string(name)].row = row;
    return true;
  });
  if (!all) return false;
  for (auto& [name, group] : stream->groups) all &= ReadGroup(&groups, &group);
  return all;
}

}  // namespace firn::test
