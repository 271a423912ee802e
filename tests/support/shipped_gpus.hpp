// Every card in configs/gpus, read once.
#pragma once

#include <rapidcheck.h>

#include <vector>

#include "models/base/spec.hpp"
#include "models/hardware/gpu.hpp"

namespace tessera::test {

inline const std::vector<Gpu>& all_gpus() {
  static const std::vector<Gpu> gpus = [] {
    std::vector<Gpu> list;
    for (const std::string& name : config_names("gpus")) list.push_back(load_gpu(name));
    return list;
  }();
  return gpus;
}
inline const Gpu& any_gpu() { return all_gpus()[*rc::gen::inRange<std::size_t>(0, all_gpus().size())]; }

}  // namespace tessera::test
