// Worker: what is sent for an operation, and what its reply must be.
#include <charconv>
#include <cstring>

#include "bench/firn_bench/worker.h"

namespace firn::bench {

namespace {

constexpr uint64_t kMaxScanCount = 100;

std::string NameOf(const Options& options, uint64_t key) {
  std::string name(options.key_bytes, ' ');
  WriteKeyName(options, key, name.data());
  return name;
}

void AppendNumber(std::string& out, uint64_t number) {
  char digits[20];
  auto [end, error] = std::to_chars(digits, digits + sizeof digits, number);
  out.append(digits, static_cast<size_t>(end - digits));
}

}  // namespace

void Worker::AppendCommand(Connection& connection, const Pending& pending) {
  std::string& out = connection.output();
  switch (pending.operation) {
    case Operation::kGet:
      return AppendKeyCommand(out, "*2\r\n$3\r\nGET\r\n$", pending.key, '\0');
    case Operation::kAbsent:
      return AppendKeyCommand(out, "*2\r\n$3\r\nGET\r\n$", pending.key, '~');
    case Operation::kDelete:
      return AppendKeyCommand(out, "*2\r\n$3\r\nDEL\r\n$", pending.key, '\0');
    case Operation::kExists:
      return AppendKeyCommand(out, "*2\r\n$6\r\nEXISTS\r\n$", pending.key, '\0');
    case Operation::kIncrement:
      return AppendKeyCommand(out, "*2\r\n$4\r\nINCR\r\n$", pending.key, 'n');
    case Operation::kSet:
    case Operation::kInsert:
      return AppendSet(out, pending.key);
    case Operation::kReadModifyWrite:
      AppendKeyCommand(out, "*2\r\n$3\r\nGET\r\n$", pending.key, '\0');
      return AppendSet(out, pending.key);
    case Operation::kScan:
      return AppendScan(connection);
    case Operation::kPing:
      out += "*1\r\n$4\r\nPING\r\n";
  }
}

// `first` replaces the key's first byte, which makes a name space of its own; 0 leaves it.
void Worker::AppendKeyCommand(std::string& out, std::string_view head, uint64_t key, char first) {
  out += head;
  AppendNumber(out, options_.key_bytes);
  out += "\r\n";
  size_t at = out.size();
  out.resize(at + options_.key_bytes);
  WriteKeyName(options_, key, out.data() + at);
  if (first != '\0') out[at] = first;
  out += "\r\n";
}

void Worker::AppendSet(std::string& out, uint64_t key) {
  out += set_head_;
  size_t at = out.size();
  out.resize(at + options_.key_bytes);
  WriteKeyName(options_, key, out.data() + at);
  size_t size = options_.value_sizes.SizeOf(key, options_.version);
  out += "\r\n$";
  AppendNumber(out, size);
  out += "\r\n";
  at = out.size();
  out.resize(at + size);
  ValueTag tag = {.key = key,
                  .version = options_.version,
                  .compressible_percent = options_.compressible_percent};
  FillValue(tag, out.data() + at, size);
  out += "\r\n";
}

void Worker::AppendScan(Connection& connection) {
  std::string count = std::to_string(1 + keys_.random().Below(kMaxScanCount));
  const std::string& cursor = connection.scan_cursor;
  connection.output() += "*4\r\n$4\r\nSCAN\r\n$" + std::to_string(cursor.size()) + "\r\n" + cursor +
                         "\r\n$5\r\nCOUNT\r\n$" + std::to_string(count.size()) + "\r\n" + count +
                         "\r\n";
}

void Worker::HandleReply(Connection& connection, const Reply& reply, uint64_t now) {
  last_reply_ns_ = now;
  Pending& pending = connection.front();
  OperationResult& result = results_[pending.operation];
  if (reply.kind == ReplyKind::kError) {
    ++result.errors;
    run_.failures.Print(std::string(RowOf(pending.operation).name) + " " +
                        NameOf(options_, pending.key) + ": -" + std::string(reply.text));
  } else {
    Judge(connection, pending, reply, result);
  }
  if (--pending.replies_left > 0) return;
  if (pending.start_ns >= run_.measure_ns) {
    ++result.done;
    result.latency_ns.Record(now > pending.start_ns ? now - pending.start_ns : 0);
  }
  if (pending.operation == Operation::kInsert) keys_.Acknowledge(pending.key);
  connection.Pop();
  --in_flight_;
}

void Worker::Judge(Connection& connection, const Pending& pending, const Reply& reply,
                   OperationResult& result) {
  switch (pending.operation) {
    case Operation::kGet:
      return JudgeValue(pending, reply, result);
    case Operation::kReadModifyWrite:
      return pending.replies_left == 2 ? JudgeValue(pending, reply, result)
                                       : JudgeStored(pending, reply, result);
    case Operation::kSet:
    case Operation::kInsert:
      return JudgeStored(pending, reply, result);
    case Operation::kDelete:
    case Operation::kExists:
      return JudgePresence(pending, reply, result);
    case Operation::kAbsent:
      CountHit(pending, false, result);
      if (reply.kind != ReplyKind::kNull) {
        FailCheck(pending, "a key is there that was never written", result);
      }
      return;
    case Operation::kScan: {
      Reply cursor;
      if (reply.kind == ReplyKind::kArray &&
          ParseReply(reply.text, &cursor).state == ParseState::kDone &&
          cursor.kind == ReplyKind::kBulk) {
        connection.scan_cursor = cursor.text;
        return;
      }
      return FailCheck(pending, "not a reply to SCAN", result);
    }
    case Operation::kIncrement:
    case Operation::kPing:
      return;
  }
}

void Worker::CountHit(const Pending& pending, bool present, OperationResult& result) {
  if (pending.start_ns >= run_.measure_ns) ++(present ? result.hits : result.misses);
}

void Worker::JudgeValue(const Pending& pending, const Reply& reply, OperationResult& result) {
  bool present = reply.kind == ReplyKind::kBulk;
  CountHit(pending, present, result);
  if (!options_.check) return;
  const Expectation& expected = ExpectationOf(options_, pending.key);
  ++results_.values_checked;
  if (!present) {
    if (expected.may_be_missing) return;
    ++result.unexpectedly_missing;
    return FailCheck(pending, "missing", result);
  }
  if (expected.versions.empty()) return FailCheck(pending, "there, though deleted", result);
  CheckedValue checked = CheckValue(pending.key, expected.versions, reply.text, scratch_);
  if (checked.verdict == ValueVerdict::kRight) return;
  FailCheck(pending,
            std::string(VerdictName(checked.verdict)) + ": " + std::to_string(reply.text.size()) +
                " bytes, which say key " + std::to_string(checked.tag.key) + " version " +
                std::to_string(checked.tag.version),
            result);
}

void Worker::JudgePresence(const Pending& pending, const Reply& reply, OperationResult& result) {
  bool present = reply.kind == ReplyKind::kInteger && reply.integer == 1;
  CountHit(pending, present, result);
  if (!options_.check) return;
  const Expectation& expected = ExpectationOf(options_, pending.key);
  if (!present && !expected.may_be_missing) {
    ++result.unexpectedly_missing;
    FailCheck(pending, "missing", result);
  } else if (present && expected.versions.empty()) {
    FailCheck(pending, "there, though deleted", result);
  }
}

void Worker::JudgeStored(const Pending& pending, const Reply& reply, OperationResult& result) {
  if (reply.kind != ReplyKind::kSimple) FailCheck(pending, "not a reply to SET", result);
}

void Worker::FailCheck(const Pending& pending, const std::string& why, OperationResult& result) {
  ++result.wrong;
  run_.failures.Print(std::string(RowOf(pending.operation).name) + " " +
                      NameOf(options_, pending.key) + ": " + why);
}

}  // namespace firn::bench
