// IoThreads: threads that read, parse and write for clients (io-threads), so that the executor is
// left with running commands. Each has a loop of its own with its share of the connections.
//
// A connection that a thread has taken over looks to its client like any other Socket, with one
// difference: requests come parsed, in RequestChunks, as long as they are short and plain. What
// isn't (inline requests, long arguments, errors) comes as raw bytes, until the client, at a point
// between two requests, asks for parsing again.
//
// Executor and threads tell each other what has happened once an iteration. Bytes that are being
// sent stay the executor's: a thread reads them in place.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "tiering/io/net_loop.h"

namespace firn::server {

// Requests as they were received together. Stays where it is: the words point into the bytes.
struct RequestChunk {
  std::string bytes;
  std::vector<std::string_view> words;  // of all requests, one after the other
  std::vector<uint32_t> ends;           // where each request's words end
  size_t size() const { return ends.size(); }
  std::span<const std::string_view> request(size_t i) const {
    const size_t begin = i == 0 ? 0 : ends[i - 1];
    return std::span(words).subspan(begin, ends[i] - begin);
  }
};

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  virtual void OnRequests(std::unique_ptr<RequestChunk> chunk) = 0;
};

// The executor's side of a connection. Its handler may be a RequestHandler as well.
class ThreadedSocket : public io::Socket {
 public:
  // Raw bytes have been used up to the last one, of `received` in all since the connection began;
  // the next one begins a request.
  virtual void ParseFrom(uint64_t received) = 0;
};

class IoThreads {
 public:
  // `executor` outlives it.
  static Result<std::unique_ptr<IoThreads>> Create(io::NetLoop* executor, int threads,
                                                   const io::NetLoopOptions& options);
  // REQUIRES: every socket that it gave has been closed.
  ~IoThreads();

  // Takes over a connection that was not started: `socket` is gone. It stays, and is the result, if
  // the process has no descriptor left for that: the executor's loop serves it then.
  io::Socket* Take(io::Socket* socket);
  // Once an iteration of the executor, at its end.
  void Flush();

  struct Counters {
    uint64_t reads = 0;
    uint64_t writes = 0;
  };
  const Counters& counters() const { return counters_; }
  void ResetCounters() { counters_ = {}; }

 private:
  friend class IoThread;
  IoThreads() = default;

  io::NetLoop* executor_ = nullptr;
  std::vector<std::unique_ptr<class IoThread>> threads_;
  size_t next_ = 0;
  Counters counters_;
};

}  // namespace firn::server
