#include "server/aof_load.h"

#include <sys/uio.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "server/options/config_syntax.h"

namespace firn::server {
namespace {

constexpr size_t kReadBytes = 256 << 10;
constexpr uint64_t kMaxManifestBytes = 1 << 20;
constexpr size_t kMaxManifestLine = 1024;  // Redis' own limit, its end included

struct ManifestLine {
  std::string file;
  uint64_t sequence = 0;
  char type = 0;
};

Result<std::string> ReadSmallFile(io::FileSystem* files, const std::string& path) {
  auto file = files->Open(path, {.writable = false});
  if (!file) return std::unexpected(file.error());
  auto size = (*file)->Size();
  if (!size) return std::unexpected(size.error());
  if (*size > kMaxManifestBytes) {
    return std::unexpected(Status::Corruption(path + " is too long for a manifest"));
  }
  std::string bytes(*size, 0);
  auto read = (*file)->ReadAt(0, bytes);
  if (!read) return std::unexpected(read.error());
  bytes.resize(*read);
  return bytes;
}

// What is wrong with a line, in the words that are looked for in Redis' logs; null: nothing.
const char* ParseManifestLine(std::string_view line, ManifestLine* parsed) {
  constexpr const char* kMalformed = "Invalid AOF manifest file format";
  auto words = SplitWords(line);
  if (!words || words->size() < 6 || words->size() % 2 != 0) return kMalformed;
  for (size_t i = 0; i < words->size(); i += 2) {
    const std::string& name = (*words)[i];
    const std::string& value = (*words)[i + 1];
    if (name == "file") {
      if (value.empty() || value.find('/') != std::string::npos) return kMalformed;
      parsed->file = value;
    } else if (name == "seq") {
      auto [end, error] =
          std::from_chars(value.data(), value.data() + value.size(), parsed->sequence);
      if (error != std::errc() || end != value.data() + value.size()) return kMalformed;
    } else if (name == "type") {
      if (value.size() != 1 || std::string_view("bih").find(value) == std::string_view::npos) {
        return "Unknown AOF file type";
      }
      parsed->type = value[0];
    }
  }
  const bool whole = !parsed->file.empty() && parsed->sequence != 0 && parsed->type != 0;
  return whole ? nullptr : kMalformed;
}

Result<std::vector<std::string>> ReadManifest(io::FileSystem* files, const AofNames& names) {
  const std::string folder = names.directory + "/" + names.folder;
  const std::string path = folder + "/" + names.name + ".manifest";
  auto text = ReadSmallFile(files, path);
  if (!text) return std::unexpected(text.error());
  auto fail = [&](int number, const char* reason) {
    return std::unexpected(Status::Corruption("The manifest " + path + " is damaged at line " +
                                              std::to_string(number) + ": " + reason));
  };
  std::string base;
  std::map<uint64_t, std::string> increments;
  std::string_view rest = *text;
  int number = 0;
  while (!rest.empty()) {
    ++number;
    size_t end = rest.find('\n');
    if (std::min(end, rest.size()) >= kMaxManifestLine) {
      return fail(number, "The AOF manifest file contains too long line");
    }
    if (end == std::string_view::npos) return fail(number, "the line has no end");
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    if (line.starts_with('#')) continue;
    ManifestLine parsed;
    if (const char* wrong = ParseManifestLine(line, &parsed)) return fail(number, wrong);
    if (parsed.type == 'b' && !std::exchange(base, parsed.file).empty()) {
      return fail(number, "Found duplicate base file information");
    }
    if (parsed.type == 'i') {
      if (!increments.empty() && increments.rbegin()->first >= parsed.sequence) {
        return fail(number, "Found a non-monotonic sequence number");
      }
      increments[parsed.sequence] = parsed.file;
    }
  }
  if (number == 0) return fail(1, "Found an empty AOF manifest");
  std::vector<std::string> paths;
  if (!base.empty()) paths.push_back(folder + "/" + base);
  // An upgrade to a folder of files had written the manifest, and not yet moved the one file there.
  const std::string single = names.directory + "/" + names.name;
  if (base == names.name && increments.empty() && !files->Exists(paths[0]) &&
      files->Exists(single)) {
    paths[0] = single;
  }
  for (auto& [sequence, name] : increments) paths.push_back(folder + "/" + name);
  for (const std::string& file : paths) {
    if (!files->Exists(file)) {
      return std::unexpected(Status::Corruption("Can't open " + file + " that the manifest " +
                                                path + " names: No such file or directory"));
    }
  }
  return paths;
}

// From a connection, Redis takes whatever follows a CR for the LF; in a file the line goes on.
bool LinesEndRight(std::string_view request, std::span<const std::string_view> args) {
  if (request[request.find('\r') + 1] != '\n') return false;
  return std::all_of(args.begin(), args.end(),
                     [](std::string_view argument) { return argument.data()[-1] == '\n'; });
}

}  // namespace

Result<std::vector<std::string>> FindAofFiles(io::FileSystem* files, const AofNames& names) {
  if (files->Exists(names.directory + "/" + names.folder + "/" + names.name + ".manifest")) {
    return ReadManifest(files, names);
  }
  const std::string single = names.directory + "/" + names.name;
  if (files->Exists(single)) return std::vector<std::string>{single};
  return std::vector<std::string>{};
}

// --- requests

bool AofReader::Fill() {
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  size_t wanted = std::max<size_t>(kReadBytes, std::min<uint64_t>(parser_.needed(), 64 << 20));
  size_t had = buffer_.size();
  buffer_.resize(had + wanted);
  auto read = file_.ReadAt(next_, std::span(buffer_.data() + had, wanted));
  if (!read) {
    buffer_.resize(had);
    status_ = read.error();
    return false;
  }
  buffer_.resize(had + *read);
  next_ += *read;
  at_end_ = *read == 0;
  return true;
}

AofReader::Outcome AofReader::Fail(std::string_view reason) {
  // Redis' words, which are looked for in logs.
  status_ =
      Status::Corruption("Bad file format reading the append only file: " + file_.path() +
                         ", at offset " + std::to_string(offset_) + ": " + std::string(reason));
  return Outcome::kError;
}

AofReader::Outcome AofReader::Next() {
  offset_ += end_ - begin_;
  begin_ = end_;
  parser_.Restart();
  while (true) {
    std::string_view rest(buffer_.data() + begin_, buffer_.size() - begin_);
    if (rest.empty() && at_end_) return Outcome::kEnd;
    if (rest.starts_with('#')) {
      size_t line = rest.find('\n');
      if (line != std::string_view::npos) {
        begin_ = end_ = begin_ + line + 1;
        offset_ += line + 1;
        continue;
      }
      if (at_end_) return Outcome::kTruncated;
    } else if (!rest.empty()) {
      if (rest[0] != '*') return Fail("no request begins there");
      auto outcome = parser_.Parse(rest, {});
      if (outcome == RequestParser::Outcome::kRequest) {
        end_ = begin_ + parser_.consumed();
        if (parser_.args().empty()) return Fail("an empty request");
        if (!LinesEndRight(rest, parser_.args())) return Fail("a line has a wrong end");
        return Outcome::kRequest;
      }
      if (outcome != RequestParser::Outcome::kNeedMore) return Fail(parser_.error());
      if (at_end_) return Outcome::kTruncated;
    }
    if (!Fill()) return Outcome::kError;
    end_ = begin_;
  }
}

// --- replies

void ReplyCounter::Add(std::string_view bytes) {
  while (!bytes.empty()) {
    if (skip_ > 0) {
      uint64_t part = std::min<uint64_t>(skip_, bytes.size());
      bytes.remove_prefix(part);
      skip_ -= part;
      if (skip_ == 0) EndValue();
      continue;
    }
    size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    if (end == std::string_view::npos) return;
    bytes.remove_prefix(end + 1);
    EndLine();
    line_.clear();
  }
}

void ReplyCounter::EndLine() {
  if (line_.ends_with('\r')) line_.pop_back();
  if (line_.empty()) return;
  int64_t number = 0;
  std::from_chars(line_.data() + 1, line_.data() + line_.size(), number);
  switch (line_[0]) {
    case '-':
      if (first_error_.empty()) first_error_ = line_.substr(1);
      return EndValue();
    case '$':
      if (number < 0) return EndValue();
      skip_ = static_cast<uint64_t>(number) + 2;
      return;
    case '*':
      if (number <= 0) return EndValue();
      remaining_.push_back(static_cast<uint64_t>(number));
      return;
    default:
      return EndValue();
  }
}

void ReplyCounter::EndValue() {
  while (!remaining_.empty()) {
    if (--remaining_.back() > 0) return;
    remaining_.pop_back();
  }
  ++replies_;
}

void AofFeed::Send(std::span<const iovec> parts) {
  for (const iovec& part : parts) {
    replies_.Add({static_cast<const char*>(part.iov_base), part.iov_len});
  }
  sent_ = true;
}

void AofFeed::FinishSend() {
  if (std::exchange(sent_, false) && handler_ != nullptr) handler_->OnSent();
}

}  // namespace firn::server
