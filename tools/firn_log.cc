// firn-log: looks at a data directory's log, checks it, mends it.
//
// Exit codes: 0 the log is clean (or what was asked for was done), 1 it ends in a torn tail, 2 it
// is damaged, 3 wrong usage, or the directory can't be opened.
#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tiering/identity.h"
#include "tiering/index/index.h"
#include "tiering/index_rebuild.h"
#include "tiering/io/posix_file.h"
#include "tiering/log/log_check.h"
#include "tiering/log/log_mend.h"
#include "tiering/log/log_reader.h"
#include "tiering/log/segment_list.h"

namespace firn::log {
namespace {

enum ExitCode { kClean = 0, kTorn = 1, kDamaged = 2, kUsage = 3 };

constexpr char kHelp[] =
    "usage: firn-log COMMAND DIR [option ...]\n"
    "\n"
    "DIR is a server's data directory. Positions are SEG:OFF: a segment's id in hex, as in its\n"
    "file's name, and an offset in bytes.\n"
    "\n"
    "  list DIR              the segments, one a line\n"
    "  print DIR             the records, one a line, the fresh stream first\n"
    "      --from SEG:OFF    begin there, and print only that segment's stream\n"
    "      --limit N         at most N records\n"
    "      --key K           only records of this key\n"
    "      --values          the payloads too, up to 256 bytes of each\n"
    "  verify DIR            check every checksum, link and group of both streams\n"
    "  mend DIR --cut SEG:OFF  end the log there; what follows is set aside\n"
    "  mend DIR --skip       leave out what is damaged and keep what follows\n"
    "  rebuild-index DIR     make the index anew from the log alone\n"
    "\n"
    "mend never deletes: what it takes out is kept in DIR/log/damaged-*. No server may be running\n"
    "in DIR meanwhile.\n"
    "\n"
    "Exit codes: 0 clean or done, 1 a torn tail, 2 damage, 3 wrong usage or no access.\n";

struct Arguments {
  std::string command;
  std::string directory;
  std::optional<LogPosition> from;
  std::optional<LogPosition> cut;
  std::optional<std::string> key;
  uint64_t limit = UINT64_MAX;
  bool values = false;
  bool skip = false;

  std::string log_directory() const { return directory + "/log"; }
};

int Fail(const std::string& message) {
  std::fprintf(stderr, "firn-log: %s\n", message.c_str());
  return kUsage;
}

// --- arguments

template <typename T>
bool ParseNumber(std::string_view text, int base, T* value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::optional<LogPosition> ParsePosition(std::string_view text) {
  LogPosition position;
  size_t colon = text.find(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view segment = text.substr(0, colon);
  if (segment.ends_with(".seg")) segment.remove_suffix(4);
  if (!ParseNumber(segment, 16, &position.segment_id)) return std::nullopt;
  if (!ParseNumber(text.substr(colon + 1), 10, &position.offset)) return std::nullopt;
  return position;
}

// False if the option is unknown, or its value missing or wrong.
bool ParseOption(std::span<char*> rest, size_t* at, Arguments* arguments) {
  std::string_view option = rest[*at];
  if (option == "--values") return arguments->values = true;
  if (option == "--skip") return arguments->skip = true;
  if (*at + 1 >= rest.size()) return false;
  std::string_view value = rest[++*at];
  if (option == "--from") return (arguments->from = ParsePosition(value)).has_value();
  if (option == "--cut") return (arguments->cut = ParsePosition(value)).has_value();
  if (option == "--limit") return ParseNumber(value, 10, &arguments->limit);
  if (option == "--key") {
    arguments->key = value;
    return true;
  }
  return false;
}

// --- text

std::string PositionText(LogPosition position) {
  char text[48];
  std::snprintf(text, sizeof text, "%016llx:%u",
                static_cast<unsigned long long>(position.segment_id), position.offset);
  return text;
}

std::string TimeText(int64_t unix_ms) {
  time_t seconds = static_cast<time_t>(unix_ms / 1000);
  tm parts = {};
  char day[32] = "?";
  char text[48];
  if (gmtime_r(&seconds, &parts) != nullptr) {
    std::strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &parts);
  }
  std::snprintf(text, sizeof text, "%s.%03dZ", day, static_cast<int>(unix_ms % 1000));
  return text;
}

std::string Quoted(std::string_view bytes, size_t limit) {
  std::string text = "\"";
  for (char byte : bytes.substr(0, limit)) {
    if (byte == '"' || byte == '\\') {
      text += '\\';
      text += byte;
    } else if (byte >= ' ' && byte <= '~') {
      text += byte;
    } else {
      char hex[8];
      std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<uint8_t>(byte));
      text += hex;
    }
  }
  text += '"';
  if (bytes.size() > limit) text += "...";
  return text;
}

const char* KindText(const RecordView& record) {
  switch (record.kind) {
    case RecordKind::kImage:
      return "image";
    case RecordKind::kDelete:
      return "delete";
    case RecordKind::kEffect:
      switch (record.payload.empty() ? 0 : record.payload[0]) {
        case static_cast<int>(EffectCode::kAppend):
          return "effect append";
        case static_cast<int>(EffectCode::kSetRange):
          return "effect set-range";
        case static_cast<int>(EffectCode::kSetExpiry):
          return "effect set-expiry";
      }
      return "effect";
    case RecordKind::kGroupBegin:
      return "group-begin";
    case RecordKind::kGroupCommit:
      return "group-commit";
    case RecordKind::kStamp:
      return "stamp";
    case RecordKind::kKeyspaces:
      return "keyspaces";
    case RecordKind::kFiller:
      return "filler";
  }
  return "?";
}

std::string FlagsText(uint8_t flags) {
  static constexpr const char* kNames[] = {"new",    "blind",      "in-group",
                                           "expiry", "superseded", "raw"};
  std::string text;
  for (size_t bit = 0; bit < std::size(kNames); ++bit) {
    if ((flags >> bit & 1) == 0 || (1 << bit) == kFlagHasExpiry) continue;
    text += text.empty() ? " " : ",";
    text += kNames[bit];
  }
  return text;
}

void PrintRecord(LogPosition position, const RecordView& record, bool values) {
  std::string line = PositionText(position) + " lsn " + std::to_string(record.lsn) + " durable " +
                     std::to_string(record.durable_lsn) + " " + TimeText(record.wall_ms) + " " +
                     KindText(record);
  bool has_key = record.kind == RecordKind::kImage || record.kind == RecordKind::kDelete ||
                 record.kind == RecordKind::kEffect;
  if (has_key) {
    line += " keyspace " + std::to_string(record.keyspace) + " key " + Quoted(record.key, 256);
  }
  if (record.kind == RecordKind::kImage) line += " type " + std::to_string(record.type);
  if (!record.payload.empty()) line += " payload " + std::to_string(record.payload.size());
  if (record.compression == Compression::kZstd) {
    line += " zstd of " + std::to_string(record.raw_payload_size);
  }
  if (record.expiry_ms != kNoExpiry) line += " expires " + TimeText(record.expiry_ms);
  line += FlagsText(record.flags);
  if (values && !record.payload.empty()) {
    auto raw = UncompressPayload(record);
    line += raw ? " = " + Quoted(*raw, 256) : " = (" + raw.error().message() + ")";
  }
  std::printf("%s\n", line.c_str());
}

// --- commands

Result<std::vector<FoundSegment>> Find(io::FileSystem* files, const Arguments& arguments) {
  return ListSegments(files, arguments.log_directory(), {});
}

int List(io::FileSystem* files, const Arguments& arguments) {
  auto found = Find(files, arguments);
  if (!found) return Fail(found.error().message());
  int code = kClean;
  for (const FoundSegment& segment : *found) {
    if (segment.IsSpare()) {
      std::printf("%s spare bytes %llu\n", SegmentFileName(segment.id).c_str(),
                  static_cast<unsigned long long>(segment.size_bytes));
      continue;
    }
    if (!segment.header) {
      std::printf("%s BROKEN %s\n", SegmentFileName(segment.id).c_str(),
                  segment.header.error().message().c_str());
      code = kDamaged;
      continue;
    }
    const SegmentHeader& header = *segment.header;
    std::printf("%s %s epoch %u as-of %llu after %llx bytes %llu begun %s\n",
                SegmentFileName(segment.id).c_str(),
                header.stream == static_cast<uint8_t>(Stream::kFresh) ? "fresh" : "cold",
                header.epoch, static_cast<unsigned long long>(header.as_of_lsn),
                static_cast<unsigned long long>(header.previous_id),
                static_cast<unsigned long long>(segment.size_bytes),
                TimeText(static_cast<int64_t>(header.created_ms)).c_str());
  }
  return code;
}

// Prints from `offset` of the first of `segments` on, up to what `*limit` leaves.
int PrintStream(std::vector<ReadableSegment> segments, uint64_t offset, const Arguments& arguments,
                uint64_t* limit) {
  LogReader reader(std::move(segments), offset, {.allow_gaps = true});
  RecordView record;
  LogReader::Outcome outcome = LogReader::Outcome::kEnd;
  while (*limit > 0 && (outcome = reader.Next(&record)) == LogReader::Outcome::kRecord) {
    if (arguments.key && (record.key != *arguments.key || record.kind > RecordKind::kEffect)) {
      continue;
    }
    PrintRecord(reader.position(), record, arguments.values);
    --*limit;
  }
  if (*limit == 0 || outcome == LogReader::Outcome::kEnd) return kClean;
  std::fprintf(stderr, "firn-log: stopped: %s\n", reader.message().c_str());
  return kDamaged;
}

int Print(io::FileSystem* files, const Arguments& arguments) {
  auto found = Find(files, arguments);
  if (!found) return Fail(found.error().message());
  uint64_t limit = arguments.limit;
  if (arguments.from) {
    if (arguments.from->offset % kRecordAlignment != 0) {
      return Fail("no record begins at offset " + std::to_string(arguments.from->offset));
    }
    Stream stream = Stream::kFresh;
    bool known = false;
    for (const FoundSegment& segment : *found) {
      if (segment.id != arguments.from->segment_id) continue;
      known = true;
      if (segment.header) stream = static_cast<Stream>(segment.header->stream);
    }
    if (!known) return Fail("no segment " + SegmentFileName(arguments.from->segment_id));
    auto segments = SegmentsOf(stream, *found);
    std::erase_if(segments,
                  [&](const ReadableSegment& s) { return s.id < arguments.from->segment_id; });
    return PrintStream(std::move(segments), arguments.from->offset, arguments, &limit);
  }
  int code = PrintStream(SegmentsOf(Stream::kFresh, *found), 0, arguments, &limit);
  // Each by itself: a copy that was not finished breaks the chain of the cold stream.
  for (ReadableSegment& segment : SegmentsOf(Stream::kCold, *found)) {
    code = std::max(code, PrintStream({segment}, 0, arguments, &limit));
  }
  return code;
}

void Advise(const LogReport& report, const std::string& directory) {
  if (!report.HasDamage()) {
    std::printf(
        "What a power cut tore was never acknowledged as durable. The next start cuts it off; "
        "there is nothing to do.\n"
        "If it stops instead, since the index points into a segment whose header is damaged:\n"
        "  firn-log rebuild-index %s goes on without what that segment holds.\n",
        directory.c_str());
    return;
  }
  std::printf(
      "Damaged records had been synced; they can't be restored from this directory.\n"
      "  - If there is a backup, restore it.\n"
      "  - To keep all that is readable:    firn-log mend %s --skip\n"
      "  - To go back to before the damage: firn-log mend %s --cut %s\n"
      "Copy the directory first.\n",
      directory.c_str(), directory.c_str(), PositionText(report.findings[0].position).c_str());
}

int Verify(io::FileSystem* files, const Arguments& arguments) {
  auto found = Find(files, arguments);
  if (!found) return Fail(found.error().message());
  for (const FoundSegment& segment : *found) {
    if (segment.header || segment.header.error().code() != StatusCode::kUnsupported) continue;
    return Fail(segment.header.error().message());
  }
  LogReport report = CheckLog(*found);
  for (const Finding& finding : report.findings) {
    bool damage = finding.kind == Finding::Kind::kDamage;
    std::string next = finding.next_sound ? ", sound again at " + PositionText(*finding.next_sound)
                       : damage           ? ", nothing sound behind it"
                                          : "";
    std::printf(
        "%s %s (%s): %s%s\n", damage ? "DAMAGE" : "TORN", PositionText(finding.position).c_str(),
        finding.stream == Stream::kFresh ? "fresh" : "cold", finding.message.c_str(), next.c_str());
  }
  std::printf("%llu segments, %llu spares, %llu records of %llu bytes, %llu groups, last LSN %llu",
              static_cast<unsigned long long>(report.segments),
              static_cast<unsigned long long>(report.spares),
              static_cast<unsigned long long>(report.records),
              static_cast<unsigned long long>(report.record_bytes),
              static_cast<unsigned long long>(report.groups),
              static_cast<unsigned long long>(report.last_lsn));
  std::printf(": %s%s\n",
              report.IsClean()     ? "clean"
              : report.HasDamage() ? "DAMAGED"
                                   : "clean up to a torn tail",
              report.has_more ? " (and more)" : "");
  if (report.IsClean()) return kClean;
  Advise(report, arguments.directory);
  return report.HasDamage() ? kDamaged : kTorn;
}

int RemakeIndex(io::FileSystem* files, const Arguments& arguments) {
  auto lock = files->Lock(arguments.directory + "/LOCK");
  if (!lock) return Fail("a server seems to be running: " + lock.error().message());
  auto identity = ReadIdentity(files, arguments.directory);
  if (!identity) return Fail(identity.error().message());
  auto found = ListSegments(files, arguments.log_directory(), {});
  if (!found) return Fail(found.error().message());
  Index::Options options{.directory = arguments.directory + "/index"};
  if (Status status = Index::Destroy(options); !status.ok()) return Fail(status.message());
  auto index = Index::Open(options);
  if (!index) return Fail(index.error().message());
  // The log's own record of the databases counts; this is for a log that has none.
  constexpr uint32_t kUsualDatabases = 32;  // two for each number: its keys, and pages
  RebuildSources sources{SegmentsOf(Stream::kCold, *found), SegmentsOf(Stream::kFresh, *found)};
  Status status = RebuildIndex(index->get(), identity->secret, sources, kUsualDatabases);
  if (!status.ok()) {
    Fail(status.message());
    return status.code() == StatusCode::kCorruption ? kDamaged : kUsage;
  }
  std::printf("The index was made anew from %zu segments.\n", found->size());
  return kClean;
}

// Of a backup: how far its log reached when it was made.
Status ForgetEnd(io::FileSystem* files, const std::string& directory) {
  auto identity = ReadIdentity(files, directory);
  if (!identity || identity->reaches_lsn == 0) return {};
  identity->reaches_lsn = 0;
  return WriteIdentity(files, directory, *identity);
}

int Mend(io::FileSystem* files, const Arguments& arguments) {
  if (arguments.skip == arguments.cut.has_value())
    return Fail("mend needs --cut SEG:OFF or --skip");
  auto lock = files->Lock(arguments.directory + "/LOCK");
  if (!lock) return Fail("a server seems to be running: " + lock.error().message());
  auto lines = arguments.skip ? SkipDamage(files, arguments.log_directory())
                              : CutLog(files, arguments.log_directory(), *arguments.cut);
  if (!lines) {
    Fail(lines.error().message());
    return lines.error().code() == StatusCode::kCorruption ? kDamaged : kUsage;
  }
  for (const std::string& line : *lines) std::printf("%s\n", line.c_str());
  if (lines->empty()) {
    std::printf("There is no damage that could be left out.\n");
  } else if (const Status status = ForgetEnd(files, arguments.directory); !status.ok()) {
    return Fail(status.message());
  }
  lock->reset();
  // The index may name what is gone: a start would take the log for damaged still.
  if (!lines->empty() && files->Exists(arguments.directory + "/index")) {
    if (const int code = RemakeIndex(files, arguments); code != kClean) return code;
  }
  return Verify(files, arguments);
}

struct Command {
  std::string_view name;
  int (*run)(io::FileSystem*, const Arguments&);
};
constexpr Command kCommands[] = {{"list", List},
                                 {"print", Print},
                                 {"verify", Verify},
                                 {"mend", Mend},
                                 {"rebuild-index", RemakeIndex}};

int Main(std::span<char*> words) {
  if (words.size() == 2 &&
      (words[1] == std::string_view("--help") || words[1] == std::string_view("help"))) {
    std::fputs(kHelp, stdout);
    return kClean;
  }
  if (words.size() < 3) {
    std::fputs(kHelp, stderr);
    return kUsage;
  }
  Arguments arguments;
  arguments.command = words[1];
  arguments.directory = words[2];
  for (size_t at = 3; at < words.size(); ++at) {
    std::string word = words[at];
    if (!ParseOption(words, &at, &arguments)) return Fail("wrong option or value: " + word);
  }
  auto files = io::CreatePosixFileSystem();
  for (const Command& command : kCommands) {
    if (command.name == arguments.command) return command.run(files.get(), arguments);
  }
  return Fail("no command " + arguments.command + "; see firn-log --help");
}

}  // namespace
}  // namespace firn::log

int main(int argc, char** argv) { return firn::log::Main({argv, static_cast<size_t>(argc)}); }
