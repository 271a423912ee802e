// Where each fitted figure of a behaviour file comes from, written beside it as a comment:
//   floor_us: 2.513  # 2.49 to 2.54 (95 % jointly), 14199 rows of h100_gemm.csv.gz, 2026-11-28
#pragma once

#include <span>
#include <string>

#include "models/hardware/kernel_behaviour.hpp"

namespace tessera {

struct FitRecord {
  std::string parameter;  // its path in the file, e.g. "gemm.floor_us"
  double value = 0;
  double low = 0, high = 0;  // 95 % that all intervals of the fit hold
  // rows: they determine it; pair: only together with another; bound: held by the end of its range; prior:
  // the figure it had, of this or another card, which the rows did not narrow.
  std::string how = "rows";
  std::string source;  // which rows, how many, when; with a prior also whose
};

std::string comment_of(const FitRecord& record);

// The behaviour as YAML with the records' comments. A figure without a record keeps the comment that
// `previous`, the file's text so far, has beside the same value; "" where there was none.
std::string annotated_yaml(const KernelBehaviour& behaviour, std::span<const FitRecord> records,
                           const std::string& previous);

}  // namespace tessera
