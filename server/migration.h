// Migration: sends values to another server, by its RESTORE, and reads its replies: the part of
// MIGRATE that waits for the network. Blocking, with a timeout for every step.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct addrinfo;

namespace firn::server {

class Migration {
 public:
  struct Target {
    std::string host;
    std::string port;
    int64_t db = 0;
    int64_t timeout_ms = 1000;
    bool replace = false;
    std::vector<std::string> credentials;  // arguments of AUTH; none: it isn't sent
  };
  struct Item {
    std::string key;
    std::string payload;  // as DUMP gives it
    int64_t ttl_ms = 0;   // 0: none
    bool taken = false;   // the target has it now
  };
  explicit Migration(Target target) : target_(std::move(target)) {}
  ~Migration();
  Migration(const Migration&) = delete;
  Migration& operator=(const Migration&) = delete;

  const Target& target() const { return target_; }
  std::vector<Item>& items() { return items_; }
  // Before Run: an open connection to the target, from TakeConnection of an earlier one with the
  // same credentials. Should nobody answer there, another is made.
  void UseConnection(int fd) { fd_ = fd; }
  // After Run: the connection, which is the caller's, if it can be used again; else -1.
  int TakeConnection() { return std::exchange(fd_, -1); }
  // Any thread; once. Gives up soon after `*stop` is true.
  void Run(const std::atomic<bool>* stop);
  // Of the error to answer with; empty if all were taken.
  const std::string& error() const { return error_; }

 private:
  void Disconnect();
  bool Connect();
  bool ConnectTo(const addrinfo* address);
  // Waits until the socket is ready for `events`; false after the timeout.
  bool WaitFor(short events);
  bool SendRequest(const std::vector<std::string_view>& args);
  bool Send(std::string_view bytes);
  bool ReadLine(std::string* line);
  // Keeps the first error of the target.
  bool ReadReply(bool* ok);
  // AUTH and SELECT. False if there was no answer.
  bool Introduce();
  bool SendItems();

  const Target target_;
  std::vector<Item> items_;
  const std::atomic<bool>* stop_ = nullptr;
  int fd_ = -1;
  bool timed_out_ = false;
  std::string input_;
  std::string error_;
};

}  // namespace firn::server
