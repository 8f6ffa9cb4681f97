// One connection of one thread: buffers, and the operations whose replies are awaited.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/firn_bench/operation.h"
#include "bench/firn_bench/options.h"

namespace firn::bench {

struct Pending {
  uint64_t key = 0;
  uint64_t start_ns = 0;
  Operation operation = Operation::kPing;
  uint8_t replies_left = 0;
};

class Connection {
 public:
  // Holds up to `capacity` operations in flight.
  explicit Connection(uint32_t capacity);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Connects, then makes the socket non-blocking. Returns "" or what failed.
  std::string Connect(const Options& options);
  void Close();
  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // Outgoing bytes are appended here; Send() sends what the socket takes.
  std::string& output() { return output_; }
  bool has_output() const { return sent_ < output_.size(); }
  // False: the connection is lost, errno tells why.
  bool Send();

  // Reads once. False: lost or closed by the peer (errno 0).
  bool Receive();
  std::string_view input() const { return {buffer_.data() + consumed_, filled_ - consumed_}; }
  void Consume(size_t bytes) { consumed_ += bytes; }

  uint32_t in_flight() const { return in_flight_; }
  bool full() const { return in_flight_ == pending_.size(); }
  void Push(const Pending& pending);
  Pending& front() { return pending_[head_]; }
  void Pop();

  // The cursor with which this connection's SCAN goes on.
  std::string scan_cursor = "0";
  // Whether the event loop waits for room to send; the loop's.
  bool wants_write = false;

 private:
  int fd_ = -1;
  std::string output_;
  size_t sent_ = 0;
  std::vector<char> buffer_;
  size_t filled_ = 0;
  size_t consumed_ = 0;
  std::vector<Pending> pending_;
  uint32_t head_ = 0;
  uint32_t in_flight_ = 0;
};

}  // namespace firn::bench
