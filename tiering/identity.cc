#include "tiering/identity.h"

#include "engine/base/coding.h"
#include "engine/base/crc32c.h"

namespace firn {
namespace {

constexpr char kMagic[] = "FIRNDATA";
constexpr size_t kSize = 48;
constexpr size_t kChecksummedFrom = 16;
constexpr size_t kLsnAt = 43;
constexpr size_t kLsnBytes = kSize - kLsnAt;

}  // namespace

Result<Identity> ReadIdentity(io::FileSystem* file_system, const std::string& directory) {
  std::string path = directory + "/IDENTITY";
  auto file = file_system->Open(path, {.writable = false});
  if (!file) return std::unexpected(file.error());
  char bytes[kSize];
  auto size = (*file)->ReadAt(0, bytes);
  if (!size) return std::unexpected(size.error());
  std::string_view view(bytes, *size);
  if (view.size() < 12 || view.substr(0, 8) != kMagic) {
    return std::unexpected(Status::Corruption(path + ": not an identity file of Firn"));
  }
  uint32_t version = LoadFixed<uint32_t>(bytes + 8);
  if (version != kDirectoryFormatVersion) {
    return std::unexpected(
        Status(StatusCode::kUnsupported, path + ": format version " + std::to_string(version) +
                                             " is not known to this server, which knows version " +
                                             std::to_string(kDirectoryFormatVersion)));
  }
  if (view.size() != kSize ||
      Crc32c(view.substr(kChecksummedFrom)) != LoadFixed<uint32_t>(bytes + 12)) {
    return std::unexpected(Status::Corruption(path + ": checksum mismatch at offset 12"));
  }
  Identity identity;
  identity.directory_id = LoadFixed<uint64_t>(bytes + 16);
  identity.secret = {LoadFixed<uint64_t>(bytes + 24), LoadFixed<uint64_t>(bytes + 32)};
  identity.durable = bytes[40] != 0;
  identity.segment_size_log2 = static_cast<uint8_t>(bytes[41]);
  identity.may_be_left = bytes[42] != 0;
  for (size_t i = kLsnBytes; i-- > 0;) {
    identity.reaches_lsn = identity.reaches_lsn << 8 | static_cast<uint8_t>(bytes[kLsnAt + i]);
  }
  if (identity.segment_size_log2 < 20 || identity.segment_size_log2 > 30) {
    return std::unexpected(Status::Corruption(path + ": impossible segment size at offset 41"));
  }
  return identity;
}

Status WriteIdentity(io::FileSystem* file_system, const std::string& directory,
                     const Identity& identity) {
  char bytes[kSize] = {};
  std::memcpy(bytes, kMagic, 8);
  StoreFixed(bytes + 8, kDirectoryFormatVersion);
  StoreFixed(bytes + 16, identity.directory_id);
  StoreFixed(bytes + 24, identity.secret.low);
  StoreFixed(bytes + 32, identity.secret.high);
  bytes[40] = identity.durable ? 1 : 0;
  bytes[41] = static_cast<char>(identity.segment_size_log2);
  bytes[42] = identity.may_be_left ? 1 : 0;
  const bool fits = identity.reaches_lsn >> (8 * kLsnBytes) == 0;
  for (size_t i = 0; fits && i < kLsnBytes; ++i) {
    bytes[kLsnAt + i] = static_cast<char>(identity.reaches_lsn >> (8 * i));
  }
  StoreFixed(bytes + 12, Crc32c(0, bytes + kChecksummedFrom, kSize - kChecksummedFrom));

  std::string temporary = directory + "/IDENTITY.new";
  auto file = file_system->Open(temporary, {.create = true, .truncate = true});
  if (!file) return file.error();
  FIRN_RETURN_IF_ERROR((*file)->WriteAt(0, std::string_view(bytes, kSize)));
  FIRN_RETURN_IF_ERROR((*file)->Sync());
  FIRN_RETURN_IF_ERROR(file_system->Rename(temporary, directory + "/IDENTITY"));
  return file_system->SyncDirectory(directory);
}

}  // namespace firn
