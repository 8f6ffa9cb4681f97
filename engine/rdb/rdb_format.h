// The numbers of Redis' RDB format, as files of Redis 2.8 to 8.0 have them.
#pragma once

#include <cstdint>

namespace firn {

// What redis-server 7.0 writes and loads.
inline constexpr int kRdbVersion = 10;
// Hashes whose fields expire, as Redis 7.4 writes them.
inline constexpr int kRdbVersionFieldExpiry = 12;
inline constexpr int kMaxRdbVersion = 12;
// A checksum follows the end from this version on.
inline constexpr int kRdbVersionChecksum = 5;

enum class RdbOpcode : uint8_t {
  kSlotInfo = 244,
  kFunction2 = 245,
  kFunctionPreGa = 246,
  kModuleAux = 247,
  kIdle = 248,
  kFreq = 249,
  kAux = 250,
  kResizeDb = 251,
  kExpireMs = 252,
  kExpireSeconds = 253,
  kSelectDb = 254,
  kEnd = 255,
};
inline constexpr uint8_t kFirstRdbOpcode = 244;

enum class RdbType : uint8_t {
  kString = 0,
  kList = 1,
  kSet = 2,
  kZset = 3,
  kHash = 4,
  kZset2 = 5,
  kModulePreGa = 6,
  kModule2 = 7,
  kHashZipmap = 9,
  kListZiplist = 10,
  kSetIntset = 11,
  kZsetZiplist = 12,
  kHashZiplist = 13,
  kListQuicklist = 14,
  kStreamListpacks = 15,
  kHashListpack = 16,
  kZsetListpack = 17,
  kListQuicklist2 = 18,
  kStreamListpacks2 = 19,
  kSetListpack = 20,
  kStreamListpacks3 = 21,
  kHashMetadataPreGa = 22,
  kHashListpackExPreGa = 23,
  kHashMetadata = 24,
  kHashListpackEx = 25,
};

// Lengths: the upper two bits of the first byte say how long they are.
inline constexpr uint8_t kRdbLength6 = 0;
inline constexpr uint8_t kRdbLength14 = 1;
inline constexpr uint8_t kRdbLengthSpecial = 3;
inline constexpr uint8_t kRdbLength32 = 0x80;
inline constexpr uint8_t kRdbLength64 = 0x81;
// Special: the string is kept in another way.
enum class RdbStringForm : uint8_t { kInt8 = 0, kInt16 = 1, kInt32 = 2, kLzf = 3 };

// Nodes of kListQuicklist2.
enum class RdbListNode : uint8_t { kPlain = 1, kPacked = 2 };

}  // namespace firn
