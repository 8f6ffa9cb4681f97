// CONFIG SET appendonly, and when the log is rewritten unasked.
#include <algorithm>

#include "server/scripting/scripting.h"
#include "server/server.h"

namespace firn::server {
namespace {

// After a failure, most likely of a full disk, it is tried again.
constexpr int64_t kRetryMicros = 1'000'000;

}  // namespace

// Switched off, the log goes on until the next start, but nobody waits for it: so that switching on
// again is done at once, and a crash meanwhile loses nothing that was durable.
Status Server::ApplyAppendOnly() {
  const bool on = options_->appendonly;
  FIRN_RETURN_IF_ERROR(store_->LetDataBeLeft(!on));
  store_->SetSyncPolicy(WantedSyncPolicy());
  if (!on) return Status::Ok();
  if (!store_->durable() && switch_step_ == SwitchStep::kNone) switch_step_ = SwitchStep::kWanted;
  StepSwitch();
  return Status::Ok();
}

// Makes a store durable that was not, between commands. The functions come first, so that the data
// is not durable without them.
void Server::StepSwitch() {
  const bool waits = switch_step_ == SwitchStep::kWanted || switch_step_ == SwitchStep::kPrepared;
  if (!waits || loading() || stopping_ || dispatcher_->in_transaction()) return;
  if (switch_step_ == SwitchStep::kWanted) {
    if (loop_->NowMicros() < switch_retry_micros_) return;
    Log(kLogNotice, "Append only is switched on: making all data durable");
    switch_step_ = SwitchStep::kPreparing;
    scripting_->functions().Save([this](const Status& status) {
      if (!status.ok()) return EndSwitch(status);
      switch_step_ = SwitchStep::kPrepared;
      StepSwitch();
    });
    return;
  }
  switch_step_ = SwitchStep::kRunning;
  store_->MakeDurable([this](const Status& status) { EndSwitch(status); });
}

void Server::EndSwitch(const Status& status) {
  Status failed = status;
  // It was switched off meanwhile.
  if (failed.ok() && !options_->appendonly) failed = store_->LetDataBeLeft(true);
  if (!failed.ok()) {
    Log(kLogWarning, "Making all data durable failed: " + failed.message());
    switch_step_ = SwitchStep::kWanted;
    switch_retry_micros_ = loop_->NowMicros() + kRetryMicros;
    return;
  }
  switch_step_ = SwitchStep::kNone;
  Log(kLogNotice, "All data is durable");
  for (auto& done : std::exchange(durable_waiters_, {})) done(Status::Ok());
}

// auto-aof-rewrite-percentage
void Server::RewriteIfGrown() {
  if (options_->auto_aof_rewrite_percentage == 0 || loading() || !options_->appendonly) return;
  const LogSize size = store_->SizeOfLog();
  if (size.rewriting) return;
  if (size.rewrites != seen_rewrites_) {
    seen_rewrites_ = size.rewrites;
    rewritten_log_bytes_ = size.bytes;
  }
  // As long as the log was after the last rewrite, or at the start.
  if (rewritten_log_bytes_ == 0) rewritten_log_bytes_ = std::max<uint64_t>(size.bytes, 1);
  if (size.bytes < static_cast<uint64_t>(options_->auto_aof_rewrite_min_size)) return;
  const double growth = static_cast<double>(size.bytes) / static_cast<double>(rewritten_log_bytes_);
  if (growth * 100 < 100 + static_cast<double>(options_->auto_aof_rewrite_percentage)) return;
  Log(kLogNotice, "Starting automatic rewriting of AOF");
  // Until the rewrite's end is seen: it may come before the next look.
  rewritten_log_bytes_ = size.bytes;
  store_->Compact();
}

void Server::WhenDurable(std::move_only_function<void(Status)> done) {
  if (becoming_durable()) {
    durable_waiters_.push_back(std::move(done));
  } else {
    store_->SyncNow(std::move(done));
  }
}

}  // namespace firn::server
