// Status and Result: how a function reports a failure of its environment (disk, memory, damage).
// Callers branch on the code; the message (file, offset, expected, found) is for people.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace firn {

enum class StatusCode {
  kOk,
  kIoError,     // the disk refused: see error_number()
  kNoSpace,     // the file system or `maxdisk` is full
  kCorruption,  // bytes are not what was written
  kInvalid,     // the caller's input can't be served
  kNotFound,
  kBusy,         // somebody else holds it
  kUnsupported,  // newer format, missing kernel feature
  kNoMemory,     // would need more memory than it may have
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message, int error_number = 0)
      : code_(code), error_number_(error_number), message_(std::move(message)) {}

  static Status Ok() { return {}; }
  // `error_number` is an errno; ENOSPC and EDQUOT become kNoSpace, ENOENT kNotFound.
  static Status FromErrno(int error_number, std::string what);
  static Status Corruption(std::string message) {
    return {StatusCode::kCorruption, std::move(message)};
  }
  static Status Invalid(std::string message) { return {StatusCode::kInvalid, std::move(message)}; }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  int error_number() const { return error_number_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  int error_number_ = 0;
  std::string message_;
};

template <typename T>
using Result = std::expected<T, Status>;

}  // namespace firn

// Returns the Status of `expression` to the caller unless it is ok.
#define FIRN_RETURN_IF_ERROR(expression)                        \
  do {                                                          \
    if (::firn::Status status_ = (expression); !status_.ok()) { \
      return status_;                                           \
    }                                                           \
  } while (0)
