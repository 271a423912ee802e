// Any bytes as a plan: an InputError, or points whose estimates are finite and which tell one another apart.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "kernels/measure/plan.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  try {
    const measure::Plan plan =
        measure::parse_plan(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.yaml");
    std::set<std::string> seen;
    for (const measure::Point& point : measure::points_of(plan)) {
      if (!seen.insert(point.bench->kernel + point.key()).second) std::abort();
      if (seen.size() > 1000) break;
      if (!std::isfinite(measure::estimated_seconds(point, measure::settings_of(plan)))) std::abort();
    }
  } catch (const InputError& error) {
    if (std::string_view(error.what()).size() < 10) std::abort();
  }
  return 0;
}
