// requests.csv: one row per request that left, in trace order; the columns of the interface.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/serving/metrics.hpp"

namespace tessera {

class RequestsCsv {
 public:
  void add(const RequestRecord& record, std::string_view id);
  // Writes rows sorted by position in the trace. Throws RunError if the file cannot be written.
  void write(const std::string& path) const;
  [[nodiscard]] std::string text() const;

 private:
  struct Row {
    RequestRecord record;
    std::string id;
  };
  std::vector<Row> rows_;
};

}  // namespace tessera
