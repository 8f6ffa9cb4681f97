#include "bench/firn_bench/scan_check.h"

#include <poll.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <vector>

#include "bench/firn_bench/connection.h"
#include "bench/firn_bench/key_source.h"
#include "bench/firn_bench/reply.h"
#include "bench/firn_bench/worker.h"

namespace firn::bench {

namespace {

constexpr uint64_t kWideCursor = uint64_t{1} << 53;

class Scanner {
 public:
  Scanner(const Options& options, FailureLog& failures)
      : options_(options), failures_(failures), connection_(1), seen_(options.keys) {}

  ScanResult Run() {
    uint64_t start = NowNs();
    uint64_t deadline = start + static_cast<uint64_t>(options_.max_seconds * 1e9);
    std::string error = connection_.Connect(options_);
    while (error.empty() && !result_.finished) error = Step(deadline);
    if (!error.empty()) failures_.Print("SCAN: " + error);
    if (result_.finished) CountMissing();
    result_.seconds = static_cast<double>(NowNs() - start) / 1e9;
    return result_;
  }

 private:
  std::string Step(uint64_t deadline) {
    std::string command = "*4\r\n$4\r\nSCAN\r\n$" + std::to_string(cursor_.size()) + "\r\n" +
                          cursor_ + "\r\n$5\r\nCOUNT\r\n$4\r\n1000\r\n";
    connection_.output() += command;
    while (true) {
      if (NowNs() > deadline) return "not finished in time";
      if (!connection_.Send()) return std::strerror(errno);
      pollfd poll_fd = {.fd = connection_.fd(), .events = POLLIN, .revents = 0};
      if (connection_.has_output()) poll_fd.events |= POLLOUT;
      if (poll(&poll_fd, 1, 1000) <= 0) continue;
      if (!connection_.Receive()) return "connection lost";
      Reply reply;
      Parsed parsed = ParseReply(connection_.input(), &reply);
      if (parsed.state == ParseState::kIncomplete) continue;
      if (parsed.state == ParseState::kGarbage) return "a reply that is not RESP";
      std::string error = Take(reply);
      connection_.Consume(parsed.bytes);
      return error;
    }
  }

  std::string Take(const Reply& reply) {
    if (reply.kind == ReplyKind::kError) return "-" + std::string(reply.text);
    Reply cursor;
    Reply names;
    Parsed first = ParseReply(reply.text, &cursor);
    if (reply.kind != ReplyKind::kArray || first.state != ParseState::kDone ||
        ParseReply(reply.text.substr(first.bytes), &names).state != ParseState::kDone ||
        cursor.kind != ReplyKind::kBulk || names.kind != ReplyKind::kArray) {
      return "not a reply to SCAN";
    }
    ++result_.replies;
    std::string_view rest = names.text;
    for (int64_t i = 0; i < names.integer; ++i) {
      Reply name;
      rest.remove_prefix(ParseReply(rest, &name).bytes);
      Note(name.text);
    }
    cursor_ = cursor.text;
    uint64_t number = 0;
    std::from_chars(cursor_.data(), cursor_.data() + cursor_.size(), number);
    if (number >= kWideCursor) ++result_.wide_cursors;
    result_.finished = cursor_ == "0";
    return "";
  }

  void Note(std::string_view name) {
    ++result_.returned;
    auto key = ParseKeyName(options_, name);
    if (!key || *key < options_.first_key || *key - options_.first_key >= options_.keys) {
      ++result_.foreign;
      failures_.Print("SCAN returned a key that is not ours: " + std::string(name.substr(0, 64)));
      return;
    }
    if (seen_[*key - options_.first_key]) return;
    seen_[*key - options_.first_key] = true;
    ++result_.distinct;
    if (ExpectationOf(options_, *key).versions.empty()) {
      ++result_.deleted;
      failures_.Print("SCAN returned a deleted key: " + std::string(name));
    }
  }

  void CountMissing() {
    for (uint64_t i = 0; i < options_.keys; ++i) {
      if (seen_[i] || ExpectationOf(options_, options_.first_key + i).may_be_missing) continue;
      ++result_.missing;
      failures_.Print("SCAN never returned key " + std::to_string(options_.first_key + i));
    }
  }

  const Options& options_;
  FailureLog& failures_;
  Connection connection_;
  std::vector<bool> seen_;
  std::string cursor_ = "0";
  ScanResult result_;
};

}  // namespace

ScanResult ScanAll(const Options& options, FailureLog& failures) {
  return Scanner(options, failures).Run();
}

}  // namespace firn::bench
