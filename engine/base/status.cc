#include "engine/base/status.h"

#include <cerrno>
#include <cstring>

namespace firn {

Status Status::FromErrno(int error_number, std::string what) {
  StatusCode code = StatusCode::kIoError;
  if (error_number == ENOSPC || error_number == EDQUOT) code = StatusCode::kNoSpace;
  if (error_number == ENOENT) code = StatusCode::kNotFound;
  char buffer[128];
  return {code, std::move(what) + ": " + strerror_r(error_number, buffer, sizeof buffer),
          error_number};
}

}  // namespace firn
