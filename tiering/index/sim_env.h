// RocksDB on any io::FileSystem: for tests on the simulated disk.
#pragma once

#include <memory>

#include "tiering/io/file.h"

namespace rocksdb {
class Env;
}

namespace firn {

// `file_system` outlives the Env, and the Env the databases opened on it. Info logs go nowhere, the
// wall clock stands still and ids are numbered, so that little but RocksDB's threads and its
// process-wide session counter differs from run to run. Thread-safe.
std::unique_ptr<rocksdb::Env> CreateEnv(io::FileSystem* file_system);

// Waits until the background work that was scheduled on an Env of CreateEnv has ended. A flush that
// was waited for is still removing files when it returns: a run that shall repeat waits here after
// each call that changes a database (SimLoopOptions::after_job). The caller holds nothing of
// RocksDB's.
void WaitForBackgroundWork(rocksdb::Env* env);

}  // namespace firn
