// Matrix products through cuBLASLt, which is looked for when the program runs: without it everything but GEMM
// is measured. The heuristic's first algorithm is taken, as frameworks do by default.
#pragma once

#include <memory>
#include <string>

#include "kernels/measure/machine.hpp"

namespace tessera::cuda {

class CublasLt {
 public:
  virtual ~CublasLt() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  virtual void multiply(const measure::Product& product, void* stream) = 0;

  // Null, with the reason, where the library is not to be had.
  static std::unique_ptr<CublasLt> open(std::string& why);
};

}  // namespace tessera::cuda
