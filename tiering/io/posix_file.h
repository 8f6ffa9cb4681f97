// The production FileSystem. Thread-safe.
#pragma once

#include <memory>

#include "tiering/io/file.h"

namespace firn::io {

std::unique_ptr<FileSystem> CreatePosixFileSystem();

// The descriptors of a file opened by the posix file system, for the loops: `direct` was opened
// with O_DIRECT (or equals `buffered` where the file system has no direct I/O).
struct PosixDescriptors {
  int buffered = -1;
  int direct = -1;
};
PosixDescriptors DescriptorsOf(const File& file);

}  // namespace firn::io
