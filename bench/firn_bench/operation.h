// The operations that a mix is made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace firn::bench {

enum class Operation : uint8_t {
  kGet,
  kSet,
  kInsert,           // SET of a key beyond those loaded
  kReadModifyWrite,  // GET and SET of one key, back to back
  kDelete,
  kExists,
  kIncrement,  // on keys of its own, "n" before the key's name
  kAbsent,     // GET of a key that never exists
  kScan,       // one step of SCAN with COUNT 1 to 100
  kPing,
};
constexpr size_t kOperations = 10;

struct OperationRow {
  Operation operation;
  std::string_view name;
  // Replies that it waits for.
  uint8_t replies;
};

constexpr std::array<OperationRow, kOperations> kOperationRows = {{
    {Operation::kGet, "get", 1},
    {Operation::kSet, "set", 1},
    {Operation::kInsert, "insert", 1},
    {Operation::kReadModifyWrite, "rmw", 2},
    {Operation::kDelete, "del", 1},
    {Operation::kExists, "exists", 1},
    {Operation::kIncrement, "incr", 1},
    {Operation::kAbsent, "absent", 1},
    {Operation::kScan, "scan", 1},
    {Operation::kPing, "ping", 1},
}};

inline const OperationRow& RowOf(Operation operation) {
  return kOperationRows[static_cast<size_t>(operation)];
}

// How often each operation occurs, relative to the sum.
struct OperationMix {
  std::array<double, kOperations> weights = {};

  double& operator[](Operation operation) { return weights[static_cast<size_t>(operation)]; }
};

}  // namespace firn::bench
