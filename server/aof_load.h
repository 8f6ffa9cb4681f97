// Loading the append-only files of Redis: which files there are, and their commands, run one after
// the other as a client's would be. The files are never changed.
//
//   auto files = FindAofFiles(&files, {.directory = dir, .folder = "appendonlydir", .name =
//   "appendonly.aof"}); for each: AofReader reads the requests, AofFeed runs them on the server
//
// Format: Redis' documentation ("Redis persistence", multi-part AOF since 7.0); a file may begin
// with a whole dump (preamble), and has lines of annotations that begin with '#'.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "server/resp/parser.h"
#include "tiering/io/file.h"
#include "tiering/io/net_loop.h"

namespace firn::server {

struct AofNames {
  std::string directory;  // dir
  std::string folder;     // appenddirname
  std::string name;       // appendfilename
};

// The files to load, in order; none if there is no append-only file. A manifest that makes no sense
// is an error that names its line.
Result<std::vector<std::string>> FindAofFiles(io::FileSystem* files, const AofNames& names);

// Takes one file apart into requests.
class AofReader {
 public:
  AofReader(io::File* file, uint64_t begin) : file_(*file), offset_(begin), next_(begin) {}

  enum class Outcome { kRequest, kEnd, kTruncated, kError };
  // kTruncated: the file ends amid the request at offset(). kError: see status().
  Outcome Next();
  // Of the last request: its arguments, and its bytes as they are in the file. Valid until Next.
  std::span<const std::string_view> args() const { return parser_.args(); }
  std::string_view bytes() const { return {buffer_.data() + begin_, end_ - begin_}; }
  uint64_t offset() const { return offset_; }
  const Status& status() const { return status_; }

 private:
  bool Fill();
  Outcome Fail(std::string_view reason);

  io::File& file_;
  std::string buffer_;
  size_t begin_ = 0;  // in buffer_: of the request
  size_t end_ = 0;
  uint64_t offset_ = 0;  // of begin_, in the file
  uint64_t next_ = 0;    // in the file: behind buffer_
  bool at_end_ = false;
  RequestParser parser_;
  Status status_;
};

// Counts the replies in a stream of them, and keeps the first error.
class ReplyCounter {
 public:
  void Add(std::string_view bytes);
  uint64_t replies() const { return replies_; }
  const std::string& first_error() const { return first_error_; }

 private:
  void EndLine();
  void EndValue();

  std::string line_;
  uint64_t skip_ = 0;                // bytes of a bulk string and its end
  std::vector<uint64_t> remaining_;  // elements of the arrays under way
  uint64_t replies_ = 0;
  std::string first_error_;
};

// The connection of a client that there is only while a file is loaded.
class AofFeed : public io::Socket {
 public:
  void Start(io::SocketHandler* handler) override { handler_ = handler; }
  void PauseReceiving() override { paused_ = true; }
  void ResumeReceiving() override { paused_ = false; }
  void Send(std::span<const iovec> parts) override;
  void Close() override { handler_ = nullptr; }
  int fd() const override { return -1; }
  const io::SocketAddress& address() const override { return address_; }
  void SetKeepAlive(int) override {}

  bool closed() const { return handler_ == nullptr; }
  bool paused() const { return paused_; }
  // REQUIRES: neither closed nor paused.
  void Receive(std::string_view bytes) { handler_->OnReceived(bytes); }
  // Tells the client that what it sent has gone. To be called each turn of the loop.
  void FinishSend();
  const ReplyCounter& replies() const { return replies_; }

 private:
  io::SocketHandler* handler_ = nullptr;
  io::SocketAddress address_{.peer = "aof:0", .local = "aof:0", .is_unix = true};
  bool paused_ = false;
  bool sent_ = false;
  ReplyCounter replies_;
};

}  // namespace firn::server
