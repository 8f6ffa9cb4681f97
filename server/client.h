// Client: one connection: its stream of requests, its state, what waits to be sent. The dispatcher
// runs its commands.
//
// A request is parsed from the received bytes in place and run at once. Only if it has to wait (a
// cold value, room in the log, an asynchronous command) it gets bytes of its own and goes into the
// queue; the requests behind it are parsed and planned too, up to a limit, so that a pipeline's
// reads are in flight together. Replies keep their order.
//
// Executor thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/command.h"
#include "server/net/io_threads.h"
#include "server/net/output_buffer.h"
#include "server/options/option_values.h"
#include "server/pubsub.h"
#include "server/resp/parser.h"
#include "server/resp/reply.h"
#include "server/tracking.h"
#include "server/transaction.h"
#include "tiering/io/net_loop.h"
#include "tiering/store.h"

namespace firn::server {

class Server;
struct AclUser;

// A command that waits: its arguments, its plan.
struct Request {
  enum class State : uint8_t {
    kQueued,     // behind others, or waiting for its ticket
    kSuspended,  // its function has run and will be finished by SuspendedCommand::Resume
  };
  uint64_t serial = 0;
  State state = State::kQueued;
  // Not a command: only an error is to be sent when its turn has come.
  enum class Refusal : uint8_t { kNone, kTooLarge, kProtocolError };
  Refusal refusal = Refusal::kNone;
  std::string bytes;
  std::vector<std::string_view> args;
  const Command* command = nullptr;
  std::vector<KeyAccess> keys;
  Ticket ticket;
  int64_t suspended_micros = 0;
  bool monitored = false;  // monitors have seen it
  bool paused = false;     // CLIENT PAUSE has held it back
};

class Client : public io::SocketHandler, public RequestHandler {
 public:
  enum class ReplyMode : uint8_t { kOn, kOff, kSkipNext, kSkip };

  Client(Server* server, uint64_t id, io::Socket* socket);
  ~Client() override;

  // --- io::SocketHandler
  void OnReceived(std::string_view bytes) override;
  void OnSent() override;
  void OnEnded() override;
  void OnDisconnected(int error) override;

  // --- RequestHandler
  void OnRequests(std::unique_ptr<RequestChunk> chunk) override;

  // Runs what waits in the queue, then what was received meanwhile.
  void Pump();
  // Sends what may be sent; see Server::FlushReplies.
  void TrySend();
  // What was replied so far may leave once the log is as durable as its policy says.
  void NoteReplies();
  // Closes at the end of the iteration; without `after_reply` at once and for good.
  void CloseSoon();
  void CloseAfterReply();
  bool closing() const { return closing_; }

  uint64_t id() const { return id_; }
  Server& server() { return server_; }
  Reply& reply() { return reply_; }
  OutputBuffer& output() { return output_; }
  const io::SocketAddress& address() const { return address_; }
  int fd() const { return fd_; }
  // From this machine: the loopback interface or a unix socket.
  bool IsLocal() const;

  // --- what it is sent besides replies
  // A message that is no reply, encoded for its protocol. What comes while the client's own command
  // runs is kept until that has replied.
  void Push(std::string_view bytes) { Push(bytes, nullptr); }
  // With a page that others share behind it.
  void Push(std::string_view bytes, Page* page);
  // Its command has replied: sends what was kept.
  void FlushPushes() {
    if (!held_pushes_.empty() && !reply_open_) [[unlikely]]
      ReleaseHeldPushes();
  }
  // A reply has begun that will be continued later.
  void set_reply_open(bool open) { reply_open_ = open; }
  // Calls back, from the loop, when no more than so many bytes wait to be sent. One callback at a
  // time; dropped with the client.
  void WhenSent(uint64_t bytes, std::move_only_function<void()> callback);
  Subscriptions& subscriptions() { return subscriptions_; }
  const Subscriptions& subscriptions() const { return subscriptions_; }
  // Null unless CLIENT TRACKING is on. Only Tracking makes and deletes it.
  std::unique_ptr<TrackingState>& tracking() { return tracking_; }
  const TrackingState* tracking() const { return tracking_.get(); }
  bool monitoring() const { return monitoring_; }
  void set_monitoring(bool on) { monitoring_ = on; }
  // For the limits of buffers, and the filters of CLIENT LIST and KILL.
  ClientClass client_class() const {
    return subscriptions_.empty() ? ClientClass::kNormal : ClientClass::kPubsub;
  }
  // Under RESP2 a subscriber's connection takes few commands.
  bool only_listens() const { return !subscriptions_.empty() && reply_.protocol() < 3; }
  // Whether it waits to be looked at by the end of the iteration; for Server alone.
  bool noted_active() const { return noted_active_; }
  void set_noted_active(bool noted) { noted_active_ = noted; }

  Transaction& transaction() { return transaction_; }
  // Drops what is queued and watched, as DISCARD does.
  void DiscardTransaction();
  // Drops the queued commands alone.
  void DropQueuedCommands();
  // A running transaction has ended: what its client's end waited for.
  void EndTransactionHold();

  uint32_t db() const { return db_; }
  void set_db(uint32_t db) { db_ = db; }
  // Whose rights it has. Never null.
  const std::shared_ptr<AclUser>& user() const { return user_; }
  // As AUTH leaves it.
  void LogIn(std::shared_ptr<AclUser> user);
  // As a new connection: the default user's, logged in if that one needs no password.
  void LogOut();
  // Needn't, or needn't any more, log in.
  bool authenticated() const { return authenticated_; }
  // What it may do has to be asked, command by command: see acl/acl.h.
  bool restricted() const { return restricted_; }
  // The rights of its user, or of the default one, have changed.
  void RefreshRights();
  bool no_touch() const { return no_touch_; }
  void set_no_touch(bool on) { no_touch_ = on; }
  bool no_evict() const { return no_evict_; }
  void set_no_evict(bool on) { no_evict_ = on; }
  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }
  std::string& library_name() { return library_name_; }
  std::string& library_version() { return library_version_; }
  ReplyMode reply_mode() const { return reply_mode_; }
  void set_reply_mode(ReplyMode mode);
  // After each command: what CLIENT REPLY SKIP asked for is over.
  void AdvanceReplyMode();
  // Before the store is closed and opened again: what waits is planned anew afterwards.
  void ReleaseTickets();
  // As RESET leaves it.
  void ResetState();

  // A line of CLIENT LIST, without the line's end.
  std::string Describe() const;
  // Has requests that wait, besides the one that runs now.
  bool waiting() const;
  // For a command that chooses at random: the same until it calls AdvanceRandomSeed, so that one
  // that runs again, since pages were missing, chooses what has been fetched for it.
  uint64_t random_seed() const { return random_seed_; }
  void AdvanceRandomSeed() { ++random_seed_; }
  const Command* last_command() const { return last_command_; }
  void set_last_command(const Command* command) { last_command_ = command; }
  int64_t last_interaction_micros() const { return last_interaction_micros_; }
  uint64_t memory_bytes() const;
  // memory_bytes() as the server's sum has it; Account tells the sum how it has changed.
  uint64_t accounted_bytes() const { return accounted_bytes_; }
  void Account(uint64_t* sum);
  uint64_t output_bytes() const { return output_.pending_bytes(); }
  // True, and the client closes, if a reply of so many bytes would exceed the hard limit of its
  // output: then there is no point in making it.
  bool OutgrowsHardLimit(uint64_t reply_bytes);
  // Checks limits of time and memory; closes the client if they are exceeded. From the server's
  // timer.
  void CheckLimits(int64_t now_micros);

 private:
  friend class Dispatcher;
  struct ReplyMark {
    uint64_t lsn;
    uint64_t bytes;  // of all replies ever, up to here
  };

  // Runs the requests in `bytes`; returns how many bytes were used up.
  size_t Process(std::string_view bytes);
  // Parses requests from bytes[used] on into the dispatcher's batch, sets `requests` and moves
  // `used` on. kRequest: the batch is full or the bytes are used up.
  RequestParser::Outcome FillBatch(std::string_view bytes, size_t* used, size_t* requests);
  void ProcessInput();
  // Whether a request is nearly all of a long input_, so that it needn't be copied.
  bool EndsInput(std::span<const std::string_view> args) const;
  // Views into it stay good.
  std::string TakeInput();
  // The queue's first has been answered.
  void PopRequest();
  // What an I/O thread has parsed.
  void ProcessChunks();
  // Limits that the thread does not know. False if the request was refused.
  bool CheckChunkedRequest(std::span<const std::string_view> args);
  // The I/O thread may parse again.
  void OfferParsing();
  void CheckQueryBuffer();
  uint64_t unused_bytes() const { return input_.size() + chunk_bytes_; }
  bool MayProcess() const;
  void UpdateReceiving();
  void ReleaseHeldPushes();
  // Leaves subscriptions, tracking and MONITOR mode.
  void StopListening();
  // True, and the client closes, if the replies that wait exceed the hard limit of its class.
  bool CheckHardLimit();
  // Closes if the replies that wait exceed the hard limit of its class, or have exceeded the soft
  // one for too long.
  void CheckOutputLimits(int64_t now_micros);
  void CloseForOutput();
  // Closes if there is no more to answer than what has been sent.
  void CloseIfOver();
  // Answers with the parser's error, and closes.
  void ProtocolError();

  Server& server_;
  const uint64_t id_;
  io::Socket* socket_;
  const io::SocketAddress address_;
  const int fd_;
  const int64_t created_micros_;

  OutputBuffer output_;
  Reply reply_;
  RequestParser parser_;
  std::string input_;                                 // received and not used up
  ThreadedSocket* threaded_ = nullptr;                // socket_, if an I/O thread serves it
  uint64_t raw_bytes_ = 0;                            // received ever, besides chunks
  std::deque<std::unique_ptr<RequestChunk>> chunks_;  // before what is in input_
  size_t next_in_chunk_ = 0;                          // of the first
  uint64_t chunk_bytes_ = 0;                          // of all
  std::deque<std::unique_ptr<Request>> queue_;
  uint64_t next_serial_ = 1;
  Ticket ticket_;  // of requests that run at once

  bool send_in_flight_ = false;
  uint64_t sending_bytes_ = 0;
  uint64_t sent_total_ = 0;
  uint64_t allowed_total_ = 0;  // replies up to here may leave
  std::deque<ReplyMark> marks_;
  bool receiving_paused_ = false;
  bool refuses_input_ = false;  // after a protocol error
  bool closing_ = false;
  bool close_after_transaction_ = false;
  bool close_after_reply_ = false;
  bool peer_ended_ = false;  // closes when all that it sent has been answered

  Subscriptions subscriptions_;
  std::unique_ptr<TrackingState> tracking_;
  struct HeldPush {
    std::string bytes;
    Page* page;
  };
  std::vector<HeldPush> held_pushes_;
  bool reply_open_ = false;
  uint64_t awaited_bytes_ = 0;
  std::move_only_function<void()> on_sent_;
  bool monitoring_ = false;
  bool noted_active_ = false;

  Transaction transaction_;
  uint32_t db_ = 0;
  std::shared_ptr<AclUser> user_;
  bool logged_in_ = false;
  bool authenticated_ = false;  // logged in, or there is no need to
  bool restricted_ = false;
  bool no_touch_ = false;
  bool no_evict_ = false;
  ReplyMode reply_mode_ = ReplyMode::kOn;
  std::string name_, library_name_, library_version_;
  const Command* last_command_ = nullptr;
  int64_t last_interaction_micros_;
  int64_t soft_limit_since_micros_ = 0;
  uint64_t accounted_bytes_ = 0;
  uint64_t commands_ = 0;
  uint64_t random_seed_;
};

}  // namespace firn::server
