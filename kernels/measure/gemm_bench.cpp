#include "kernels/measure/gemm_bench.hpp"

#include <random>

#include "kernels/measure/tensors.hpp"
#include "models/base/error.hpp"

namespace tessera::measure {
namespace {

constexpr int kCheckedElements = 64;

Bench::Work work(const Point& p) {
  const auto m = static_cast<double>(p.number("m")), n = static_cast<double>(p.number("n"));
  const auto k = static_cast<double>(p.number("k"));
  return {.bytes = 2 * (m * k + n * k + m * n),
          .flops = 2 * m * n * k,
          .footprint = 2 * n * k,  // W; x and y are the same for all
          .shared = 2 * (m * k + m * n),
          .host_flops = kCheckedElements * k * 40};
}

Sample run(Machine& machine, const Point& point, const Settings& settings) {
  std::string why;
  Sample sample;
  sample.source = machine.gemm_library(why);
  if (sample.source.empty()) throw RunError(why);
  const std::int64_t m = point.number("m"), n = point.number("n"), k = point.number("k");
  const cuda::Float16 format = format_of(point.text("gemm_dtype"));
  sample.copies = sets_of_buffers(machine.info(), work(point), point.copies);
  const RandomTensor x(machine, m * k, format, settings.seed);
  std::vector<RandomTensor> weights;
  for (std::int64_t i = 0; i < sample.copies; ++i)
    weights.emplace_back(machine, n * k, format, settings.seed + 1 + static_cast<std::uint64_t>(i));
  Buffer<std::uint16_t> y(machine, m * n);
  const auto enqueue = [&](std::int64_t op) {
    const auto i = static_cast<std::size_t>(op % sample.copies);
    machine.multiply({m, n, k, format, x.get(), weights[i].get(), y.get()});
  };
  y.poison();
  enqueue(0);
  machine.finish();
  std::mt19937_64 random(settings.seed);
  std::vector<double> got, expected;
  for (int e = 0; e < kCheckedElements; ++e) {
    const auto row = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(m));
    const auto col = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n));
    double sum = 0;
    for (std::int64_t i = 0; i < k; ++i) sum += x.value(row * k + i) * weights[0].value(col * k + i);
    expected.push_back(sum);
    got.push_back(read_halves(y, row * n + col, 1, format)[0]);
  }
  sample.error = relative_error(got, expected);
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), enqueue);
  sample.results = {work(point).flops / (1e9 * sample.median_ms())};
  return sample;
}

}  // namespace

Bench gemm_bench() { return {"gemm", {"gemm_dtype", "m", "n", "k"}, {"tflops"}, 1e-2, work, run}; }

}  // namespace tessera::measure
