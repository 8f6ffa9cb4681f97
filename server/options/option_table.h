// All options, in families.
#pragma once

#include <span>
#include <string_view>

#include "server/options/option_row.h"

namespace firn::server {

struct OptionFamily {
  std::string_view title;
  std::span<const OptionRow> rows;
};

// Every option of Redis 7.2 and of Firn, in the order of the reference. Lives as long as the
// program.
std::span<const OptionFamily> OptionFamilies();

// The families, each in a file of its own.
std::span<const OptionRow> TieringRows();
std::span<const OptionRow> NetworkRows();
std::span<const OptionRow> ClientRows();
std::span<const OptionRow> ProcessRows();
std::span<const OptionRow> MemoryRows();
std::span<const OptionRow> LogRows();
std::span<const OptionRow> SnapshotRows();
std::span<const OptionRow> ReplicationRows();
std::span<const OptionRow> ClusterRows();
std::span<const OptionRow> TlsRows();
std::span<const OptionRow> EncodingRows();
std::span<const OptionRow> ObservationRows();
std::span<const OptionRow> SecurityRows();

}  // namespace firn::server
