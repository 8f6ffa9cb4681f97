#include "server/options/option_table.h"

#include <array>

namespace firn::server {

std::span<const OptionFamily> OptionFamilies() {
  static const std::array kFamilies = {
      OptionFamily{"Tiering", TieringRows()},
      OptionFamily{"Memory", MemoryRows()},
      OptionFamily{"Network", NetworkRows()},
      OptionFamily{"Clients", ClientRows()},
      OptionFamily{"Process", ProcessRows()},
      OptionFamily{"Log", LogRows()},
      OptionFamily{"Snapshots", SnapshotRows()},
      OptionFamily{"Security", SecurityRows()},
      OptionFamily{"Observation", ObservationRows()},
      OptionFamily{"Data types", EncodingRows()},
      OptionFamily{"Replication", ReplicationRows()},
      OptionFamily{"Cluster", ClusterRows()},
      OptionFamily{"TLS", TlsRows()},
  };
  return kFamilies;
}

}  // namespace firn::server
