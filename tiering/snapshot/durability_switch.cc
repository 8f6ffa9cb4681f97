#include "tiering/snapshot/durability_switch.h"

#include <utility>

#include "engine/base/check.h"
#include "tiering/indexer.h"
#include "tiering/snapshot/capture.h"
#include "tiering/store_impl.h"

namespace firn {

bool Store::durable() const { return impl_->options_.durable; }
bool Store::making_durable() const { return impl_->durability_switch_->running(); }

void Store::MakeDurable(std::move_only_function<void(Status)> done) {
  impl_->durability_switch_->Begin(std::move(done));
}

Status Store::LetDataBeLeft(bool allowed) {
  Identity identity = impl_->identity_;
  // What is not durable is left behind by every start.
  if (!identity.durable || identity.may_be_left == allowed) return Status::Ok();
  identity.may_be_left = allowed;
  FIRN_RETURN_IF_ERROR(
      WriteIdentity(impl_->environment_.file_system, impl_->options_.directory, identity));
  impl_->identity_ = identity;
  return Status::Ok();
}

void DurabilitySwitch::Begin(Done done) {
  CHECK(!running());
  if (store_.identity_.durable) return done(Status::Ok());
  done_ = std::move(done);
  store_.capture_->Begin([this](const Status& status) { OnCaptured(status); });
}

// Nothing has changed since the last entry was logged, and nothing changes unlogged any more.
void DurabilitySwitch::OnCaptured(const Status& status) {
  if (!status.ok()) return Finish(status);
  store_.options_.durable = true;
  store_.indexer_->WhenIndexed({.lsn = store_.log_->appended_lsn(), .flushed = true},
                               [this](const Status& indexed) { OnIndexed(indexed); });
}

void DurabilitySwitch::OnIndexed(const Status& status) {
  if (!status.ok()) return Finish(status);
  Identity identity = store_.identity_;
  identity.durable = true;
  Status written =
      WriteIdentity(store_.environment_.file_system, store_.options_.directory, identity);
  if (written.ok()) store_.identity_ = identity;
  Finish(std::move(written));
}

void DurabilitySwitch::Finish(Status status) {
  Done done = std::exchange(done_, {});
  done(std::move(status));
}

}  // namespace firn
