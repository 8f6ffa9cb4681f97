#include "tiering/snapshot/access_survey.h"

#include "tiering/store_impl.h"

namespace firn {

bool Store::SurveyAccess(AccessSurvey* survey, uint64_t max_entries) {
  const AccessPolicy& clock = impl_->access_clock_;
  if (!std::exchange(survey->has_begun_, true)) {
    survey->is_lfu_ = clock.lfu;
    survey->databases_.resize(databases());
  }
  const int64_t now = impl_->now_ms();
  uint64_t seen = 0;
  while (survey->db_ < survey->databases_.size()) {
    const Table& table = impl_->KeyspaceOf(survey->db_).table;
    survey->next_hash_ = table.Walk(survey->next_hash_, max_entries, [&](Entry* entry) {
      ++seen;
      if (entry->kind() != Entry::Kind::kHot) return;
      const uint32_t use =
          survey->is_lfu_
              ? LfuDecayed(entry->access(), now, clock.parameters)
              : static_cast<uint32_t>(std::max<int64_t>(IdleSeconds(entry->access(), now), 0));
      survey->Note(survey->db_, table.HashOf(entry->key()), use);
    });
    if (survey->next_hash_ == 0) ++survey->db_;
    if (seen >= max_entries) break;
  }
  return survey->db_ < survey->databases_.size();
}

}  // namespace firn
