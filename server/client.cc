#include "server/client.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"
#include "server/acl/acl.h"
#include "server/dispatcher.h"
#include "server/server.h"

namespace firn::server {
namespace {

// Requests of one client that wait or are planned ahead.
constexpr size_t kLookAhead = 64;
// With so many reply bytes unsent no further request is run, whatever the limits are.
constexpr uint64_t kMinOutputShare = 1 << 20;
// Input buffers that grew beyond this are given back once empty.
constexpr size_t kKeepInputBytes = 32 * 1024;
// Longer requests are not copied when they have to wait.
constexpr size_t kLongRequestBytes = 128 * 1024;
// A connection that is silent for so long gives its buffers back.
constexpr int64_t kIdleMicros = 2'000'000;
// What a prefix of CLIENT TRACKING takes beside its bytes.
constexpr uint64_t kPrefixBytes = 96;

// As it was sent, unless inline.
uint64_t RequestBytes(std::span<const std::string_view> args) {
  // A type, the number, and the ends of the header's and the argument's line.
  auto header = [](size_t number) { return 3 + std::to_string(number).size(); };
  uint64_t bytes = header(args.size());
  for (std::string_view arg : args) bytes += header(arg.size()) + arg.size() + 2;
  return bytes;
}

// Room for a request under way. What it needs is known up to the argument that is being received:
// with some behind a long one, that isn't copied when short ones follow.
void ReserveFor(uint64_t needed, std::string* input) {
  constexpr uint64_t kRoomBehind = 64 * 1024;
  if (needed <= input->capacity()) return;
  input->reserve(needed < kLongRequestBytes ? needed : needed + kRoomBehind);
}

}  // namespace

Client::Client(Server* server, uint64_t id, io::Socket* socket)
    : server_(*server),
      id_(id),
      socket_(socket),
      address_(socket->address()),
      fd_(socket->fd()),
      created_micros_(server->loop().NowMicros()),
      reply_(&output_),
      last_interaction_micros_(created_micros_),
      random_seed_(id << 40 ^ static_cast<uint64_t>(created_micros_)) {
  threaded_ = dynamic_cast<ThreadedSocket*>(socket);
  LogOut();
}

Client::~Client() {
  server_.blocking().Forget(id_);
  StopListening();
  for (const HeldPush& held : held_pushes_) {
    if (held.page != nullptr) held.page->Release();
  }
  if (!transaction_.running) DiscardTransaction();
  for (auto& request : queue_) server_.store().Release(&request->ticket);
  server_.store().Release(&ticket_);
  if (socket_ != nullptr) socket_->Close();
}

bool Client::IsLocal() const {
  return address_.is_unix || address_.peer.starts_with("127.") ||
         address_.peer.starts_with("[::1]");
}

// --- input

void Client::OnReceived(std::string_view bytes) {
  if (closing_ || close_after_reply_ || refuses_input_) return;
  last_interaction_micros_ = server_.loop().NowMicros();
  server_.stats().net_input_bytes += bytes.size();
  ++server_.stats().reads;
  raw_bytes_ += bytes.size();
  if (input_.empty() && chunks_.empty() && MayProcess()) {
    size_t used = Process(bytes);
    bytes.remove_prefix(used);
    if (!bytes.empty() && !closing_) {
      ReserveFor(parser_.needed(), &input_);
      input_.append(bytes);
    }
  } else {
    ReserveFor(parser_.needed(), &input_);
    input_.append(bytes);
    if (MayProcess()) ProcessInput();
  }
  CheckQueryBuffer();
  OfferParsing();
  UpdateReceiving();
  server_.NoteActive(this);
}

void Client::CheckQueryBuffer() {
  if (static_cast<int64_t>(unused_bytes()) <= server_.options()->client_query_buffer_limit) return;
  server_.Log(3, "Closing client that reached max query buffer length: " + Describe());
  ++server_.stats().query_limit_disconnections;
  CloseSoon();
}

void Client::OnRequests(std::unique_ptr<RequestChunk> chunk) {
  if (closing_ || close_after_reply_ || refuses_input_) return;
  last_interaction_micros_ = server_.loop().NowMicros();
  server_.stats().net_input_bytes += chunk->bytes.size();
  ++server_.stats().reads;
  chunk_bytes_ += chunk->bytes.size();
  chunks_.push_back(std::move(chunk));
  if (MayProcess()) ProcessChunks();
  CheckQueryBuffer();
  UpdateReceiving();
  server_.NoteActive(this);
}

void Client::OfferParsing() {
  if (threaded_ == nullptr || closing_ || !authenticated_ || !input_.empty()) return;
  if (parser_.between_requests()) threaded_->ParseFrom(raw_bytes_);
}

bool Client::MayProcess() const {
  if (server_.loading()) return false;
  if (closing_ || close_after_reply_ || refuses_input_) return false;
  if (!queue_.empty() && queue_.size() >= kLookAhead) return false;
  const uint64_t pending = output_.pending_bytes();
  return pending < kMinOutputShare || pending < server_.OutputShare();
}

RequestParser::Outcome Client::FillBatch(std::string_view bytes, size_t* used, size_t* requests) {
  ParserLimits limits{.max_bulk_bytes = server_.MaxStringBytes(),
                      .max_request_bytes = server_.MaxRequestBytes(),
                      .authenticated = authenticated_};
  Dispatcher& dispatcher = server_.dispatcher();
  auto batch = dispatcher.batch();
  // Limits depend on whether AUTH has run; and what will only be queued needn't be fetched.
  const size_t size = authenticated_ && queue_.empty() ? batch.size() : 1;
  *requests = 0;
  auto outcome = RequestParser::Outcome::kRequest;
  while (*requests < size && *used < bytes.size()) {
    outcome = parser_.Parse(bytes.substr(*used), limits);
    if (outcome != RequestParser::Outcome::kRequest) break;
    *used += parser_.consumed();
    if (parser_.args().empty()) continue;
    ParsedRequest& request = batch[(*requests)++];
    parser_.SwapArgs(&request.args);
    request.end = *used;
    dispatcher.Prepare(*this, batch.first(*requests));
    if (parser_.is_inline()) break;
  }
  if (*requests > 1) dispatcher.PrefetchEntries(*this, batch.first(*requests));
  return outcome;
}

size_t Client::Process(std::string_view bytes) {
  size_t used = 0;
  while (used < bytes.size() && MayProcess()) {
    size_t requests = 0;
    auto outcome = FillBatch(bytes, &used, &requests);
    const std::span<ParsedRequest> batch = server_.dispatcher().batch().first(requests);
    for (size_t i = 0; i < requests;) {
      ++commands_;  // its own reply may tell
      const size_t handled = server_.dispatcher().HandleSome(this, batch.subspan(i));
      commands_ += handled - 1;
      i += handled;
      if (i < requests && !MayProcess()) {
        // The rest is parsed again when its turn has come.
        parser_.Restart();
        return batch[i - 1].end;
      }
    }
    switch (outcome) {
      case RequestParser::Outcome::kRequest:
        break;
      case RequestParser::Outcome::kNeedMore:
        return used + parser_.consumed();
      case RequestParser::Outcome::kTooLarge:
        used += parser_.consumed();
        if (!closing_ && !close_after_reply_) {
          server_.dispatcher().Refuse(this, Request::Refusal::kTooLarge);
        }
        break;
      case RequestParser::Outcome::kError:
        if (!closing_ && !close_after_reply_) {
          server_.dispatcher().Refuse(this, Request::Refusal::kProtocolError);
        }
        return bytes.size();
    }
  }
  return used;
}

bool Client::CheckChunkedRequest(std::span<const std::string_view> args) {
  uint64_t bytes = 0;
  for (std::string_view arg : args) bytes += arg.size() + RequestParser::kArgumentOverhead;
  if (bytes <= server_.MaxRequestBytes()) return true;
  server_.dispatcher().Refuse(this, Request::Refusal::kTooLarge);
  return false;
}

void Client::ProcessChunks() {
  Dispatcher& dispatcher = server_.dispatcher();
  while (!chunks_.empty() && MayProcess()) {
    const RequestChunk& chunk = *chunks_.front();
    const size_t left = chunk.size() - next_in_chunk_;
    const auto batch = dispatcher.batch().first(
        authenticated_ && queue_.empty() ? std::min(left, dispatcher.batch().size()) : 1);
    for (size_t i = 0; i < batch.size(); ++i) {
      const auto words = chunk.request(next_in_chunk_ + i);
      batch[i].args.assign(words.begin(), words.end());
      dispatcher.Prepare(*this, batch.first(i + 1));
    }
    if (batch.size() > 1) dispatcher.PrefetchEntries(*this, batch);
    for (size_t i = 0; i < batch.size() && (i == 0 || MayProcess()); ++i) {
      ++next_in_chunk_;
      ++commands_;
      if (CheckChunkedRequest(batch[i].args)) dispatcher.Handle(this, batch[i]);
    }
    if (next_in_chunk_ < chunk.size()) continue;
    chunk_bytes_ -= chunk.bytes.size();
    chunks_.pop_front();
    next_in_chunk_ = 0;
  }
}

void Client::ProcessInput() {
  if (!chunks_.empty()) ProcessChunks();
  if (input_.empty() || !chunks_.empty() || !MayProcess()) return;
  size_t used = Process(input_);
  if (used >= input_.size()) {
    if (input_.capacity() > kKeepInputBytes) {
      server_.FreeOnWorker(std::exchange(input_, {}));
    } else {
      input_.clear();
    }
  } else if (used > 0) {
    input_.erase(0, used);
  }
}

bool Client::EndsInput(std::span<const std::string_view> args) const {
  constexpr std::string_view kEnd = "\r\n";
  if (input_.size() < kLongRequestBytes || parser_.is_inline()) return false;
  const std::string_view first = args.front(), last = args.back();
  return last.data() + last.size() + kEnd.size() == input_.data() + input_.size() &&
         first.data() < input_.data() + kKeepInputBytes;
}

void Client::PopRequest() {
  server_.FreeOnWorker(std::move(queue_.front()->bytes));
  queue_.pop_front();
}

std::string Client::TakeInput() { return std::exchange(input_, {}); }

void Client::Pump() {
  if (closing_) return;
  do {
    server_.dispatcher().RunQueue(this);
    if (MayProcess()) ProcessInput();
    // What was parsed may have been queued behind nothing, and be ready. What was queued behind
    // the last command (QUIT, a protocol error) is ready too, but never runs.
  } while (!closing_ && !close_after_reply_ && !queue_.empty() &&
           server_.dispatcher().IsReady(*this, *queue_.front()));
  OfferParsing();
  UpdateReceiving();
  server_.NoteActive(this);
}

void Client::UpdateReceiving() {
  if (closing_ || socket_ == nullptr) return;
  bool pause = !MayProcess() && unused_bytes() > 0;
  if (pause == receiving_paused_) return;
  receiving_paused_ = pause;
  if (pause) {
    socket_->PauseReceiving();
  } else {
    socket_->ResumeReceiving();
  }
}

void Client::ProtocolError() {
  server_.Log(kLogVerbose, "Protocol error from client: " + Describe());
  ++server_.stats().protocol_errors;
  reply_.Error("ERR " + parser_.error());
  server_.NoteError(reply_.last_error());
  CloseAfterReply();
}

// --- the end

void Client::OnEnded() {
  peer_ended_ = true;
  // Nobody waits for what a suspended command will answer: the peer is most likely gone.
  if (!queue_.empty() && queue_.front()->state == Request::State::kSuspended) CloseSoon();
  server_.NoteActive(this);
}

void Client::OnDisconnected(int) { CloseSoon(); }

void Client::CloseIfOver() {
  if (!output_.empty() || send_in_flight_) return;
  bool all_done = queue_.empty() && !receiving_paused_;
  if (close_after_reply_ || (peer_ended_ && all_done)) CloseSoon();
}

void Client::CloseAfterReply() {
  close_after_reply_ = true;
  server_.NoteActive(this);
}

void Client::CloseSoon() {
  if (closing_) return;
  if (server_.dispatcher().IsExclusive(id_)) {
    close_after_transaction_ = true;
    return;
  }
  closing_ = true;
  server_.NoteClosing(this);
}

void Client::StopListening() {
  server_.pubsub().Forget(this);
  server_.tracking().Disable(this);
  server_.monitors().Remove(this);
  monitoring_ = false;
}

// --- state

void Client::set_reply_mode(ReplyMode mode) {
  reply_mode_ = mode;
  reply_.set_muted(mode == ReplyMode::kOff || mode == ReplyMode::kSkip);
}

void Client::AdvanceReplyMode() {
  if (reply_mode_ == ReplyMode::kSkipNext) {
    set_reply_mode(ReplyMode::kSkip);
  } else if (reply_mode_ == ReplyMode::kSkip) {
    set_reply_mode(ReplyMode::kOn);
  }
}

void Client::ReleaseTickets() {
  for (auto& request : queue_) server_.store().Release(&request->ticket);
  server_.store().Release(&ticket_);
}

void Client::DropQueuedCommands() {
  for (auto& command : transaction_.commands) server_.store().Release(&command->ticket);
  transaction_.commands.clear();
  transaction_.bytes = 0;
}

void Client::DiscardTransaction() {
  DropQueuedCommands();
  server_.watches().Unwatch(this);
  transaction_.open = transaction_.failed = transaction_.running = transaction_.writes = false;
  transaction_.next = 0;
}

void Client::EndTransactionHold() {
  if (close_after_transaction_) CloseSoon();
}

void Client::ResetState() {
  DiscardTransaction();
  StopListening();
  db_ = 0;
  name_.clear();
  no_touch_ = no_evict_ = false;
  set_reply_mode(ReplyMode::kOn);
  reply_.set_protocol(2);
  LogOut();
}

void Client::LogIn(std::shared_ptr<AclUser> user) {
  user_ = std::move(user);
  logged_in_ = true;
  RefreshRights();
}

void Client::LogOut() {
  user_ = server_.acl().default_user();
  logged_in_ = server_.acl().is_open();
  RefreshRights();
}

void Client::RefreshRights() {
  authenticated_ = logged_in_ || server_.acl().is_open();
  restricted_ = !authenticated_ || !user_->allows_everything();
}

bool Client::waiting() const {
  return !queue_.empty() && server_.dispatcher().current_client() != this;
}

uint64_t Client::memory_bytes() const {
  uint64_t queued = 0;
  for (const auto& request : queue_) queued += request->bytes.capacity() + sizeof(Request);
  uint64_t held = 0;
  for (const HeldPush& push : held_pushes_) held += push.bytes.capacity();
  uint64_t watched = 0;
  for (const WatchedKey& key : transaction_.watched) watched += sizeof key + key.key.size();
  uint64_t prefixes = 0;
  if (tracking_ != nullptr) {
    for (const std::string& prefix : tracking_->prefixes) prefixes += kPrefixBytes + prefix.size();
  }
  return sizeof(Client) + input_.capacity() + chunk_bytes_ + output_.memory_bytes() + queued +
         transaction_.bytes + held + watched + prefixes + subscriptions_.memory_bytes();
}

void Client::Account(uint64_t* sum) {
  const uint64_t now = memory_bytes();
  *sum += now - std::exchange(accounted_bytes_, now);
}

std::string Client::Describe() const {
  auto seconds = [&](int64_t micros) {
    return std::to_string((server_.loop().NowMicros() - micros) / 1'000'000);
  };
  uint64_t arguments = 0;
  for (const auto& request : queue_) arguments += request->bytes.size();
  std::string flags;
  if (monitoring_) flags += 'O';
  if (!subscriptions_.empty()) flags += 'P';
  if (waiting()) flags += 'b';
  if (tracking_ != nullptr) {
    flags += 't';
    if (tracking_->broken_redirect) flags += 'R';
    if (tracking_->broadcast) flags += 'B';
  }
  if (transaction_.open) flags += 'x';
  if (transaction_.touched) flags += 'd';
  if (no_evict_) flags += 'e';
  if (no_touch_) flags += 'T';
  if (address_.is_unix) flags += 'U';
  if (close_after_reply_) flags += 'c';
  if (flags.empty()) flags = "N";
  std::string command = last_command_ == nullptr ? "NULL" : server_.FullNameOf(*last_command_);
  std::string out =
      "id=" + std::to_string(id_) + " addr=" + address_.peer + " laddr=" + address_.local +
      " fd=" + std::to_string(fd_) + " name=" + name_ + " age=" + seconds(created_micros_) +
      " idle=" + seconds(last_interaction_micros_) + " flags=" + flags +
      " db=" + std::to_string(db_) +
      " sub=" + std::to_string(subscriptions_.topics(TopicKind::kChannel)) +
      " psub=" + std::to_string(subscriptions_.topics(TopicKind::kPattern)) +
      " ssub=" + std::to_string(subscriptions_.topics(TopicKind::kShardChannel)) +
      " multi=" + (transaction_.open ? std::to_string(transaction_.commands.size()) : "-1");
  // What runs now lies where it was received: it counts as long as it runs, as in Redis.
  const bool runs = server_.dispatcher().current_client() == this;
  const uint64_t running = runs ? RequestBytes(server_.dispatcher().current_args()) : 0;
  out += " qbuf=" + std::to_string(unused_bytes() + running) +
         " qbuf-free=" + std::to_string(input_.capacity() - input_.size()) +
         " argv-mem=" + std::to_string(arguments) +
         " multi-mem=" + std::to_string(transaction_.bytes);
  out += " rbs=" + std::to_string(output_.memory_bytes()) +
         " rbp=0 obl=0 oll=0 omem=" + std::to_string(output_.pending_bytes()) +
         " tot-mem=" + std::to_string(memory_bytes());
  out += " events=" + std::string(send_in_flight_ ? "rw" : "r") + " cmd=" + command +
         " user=" + user_->name +
         " redir=" + (tracking_ == nullptr ? "-1" : std::to_string(tracking_->redirect)) +
         " resp=" + std::to_string(reply_.protocol()) + " lib-name=" + library_name_ +
         " lib-ver=" + library_version_;
  return out;
}

void Client::CheckLimits(int64_t now_micros) {
  CheckOutputLimits(now_micros);
  if (closing_) return;
  if (now_micros - last_interaction_micros_ > kIdleMicros) {
    output_.ReleaseSpare();
    // Room for a long request of which no more has come.
    if (input_.capacity() > kKeepInputBytes && input_.capacity() > 2 * input_.size()) {
      input_.shrink_to_fit();
    }
  }
  int64_t timeout = server_.options()->timeout_seconds;
  // Who listens has nothing to say for as long as it likes.
  if (timeout > 0 && queue_.empty() && subscriptions_.empty() && !monitoring_ &&
      now_micros - last_interaction_micros_ > timeout * 1'000'000) {
    server_.Log(1, "Closing idle client");
    CloseSoon();
  }
}

}  // namespace firn::server
