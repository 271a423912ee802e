#include <algorithm>

#include "kernels/measure/attention_bench.hpp"
#include "kernels/measure/attention_reference.hpp"
#include "kernels/measure/tensors.hpp"
#include "models/base/check.hpp"

namespace tessera::measure {

using cuda::Float16;

namespace {

std::int64_t most_queries(const AttentionProblem& p) {
  std::int64_t most = 0;
  for (const AttentionSequence& s : p.sequences) most = std::max(most, s.queries);
  return most;
}
// A row of scores is padded to whole tiles of keys.
std::int64_t row_stride(const AttentionProblem& p) {
  std::int64_t most = 0;
  for (const AttentionSequence& s : p.sequences) most = std::max(most, s.keys);
  return cuda::kStandardKeys * tiles_of(most, cuda::kStandardKeys);
}
std::int64_t planes(const AttentionProblem& p) { return std::ssize(p.sequences) * p.q_heads; }

}  // namespace

struct StandardCall::State {
  State(Machine& m, const AttentionProblem& p, const StandardOptions& options, std::uint64_t seed)
      : machine(m), problem(p), launch(p, options), place(m) {
    TESSERA_CHECK(!options.dropout && !options.key_mask, "measured without dropout and padding masks");
    for (const AttentionSequence& s : p.sequences) {
      first_token.push_back(first_token.back() + s.queries);
      first_key.push_back(first_key.back() + s.keys);
    }
    const std::int64_t queries = first_token.back() * p.q_heads * p.head_dim;
    const std::int64_t keys = first_key.back() * p.kv_heads * p.head_dim;
    const std::int64_t square = planes(p) * most_queries(p) * row_stride(p);
    q = RandomTensor(m, queries, Float16::bf16, seed + 1);
    k = RandomTensor(m, keys, Float16::bf16, seed + 2), v = RandomTensor(m, keys, Float16::bf16, seed + 3);
    scores = Buffer<std::uint16_t>(m, square), probabilities = Buffer<std::uint16_t>(m, square);
    o = Buffer<std::uint16_t>(m, queries);
    const cuda::StandardMemory memory{.q = q.get(),
                                      .k = k.get(),
                                      .v = v.get(),
                                      .scores = scores.get(),
                                      .probabilities = probabilities.get(),
                                      .o = o.get(),
                                      .rows = most_queries(p),
                                      .row_stride = row_stride(p),
                                      .first_token = place(first_token),
                                      .first_key = place(first_key)};
    for (const StandardKernel& kernel : launch.kernels) arguments.push_back({kernel.placed(place), memory});
  }

  template <class Kernel>
  void start(std::size_t i) {
    const CtaResources needs = launch.kernels[i].resources();
    TESSERA_CHECK(needs.threads <= Kernel::kThreads, "the kernel has the threads of its tile program");
    machine.launch<Kernel>({launch.kernels[i].ctas(), needs.threads, needs.smem_bytes}, arguments[i]);
  }
  template <int kHeadDim>
  void start_all() {
    for (std::size_t i = 0; i < launch.kernels.size(); ++i) switch (launch.kernels[i].kind) {
        case StandardStep::scores:
          start<cuda::StandardScoresKernel<kHeadDim, Float16::bf16>>(i);
          break;
        case StandardStep::mask:
          start<cuda::StandardMaskKernel<Float16::bf16>>(i);
          break;
        case StandardStep::softmax:
          start<cuda::StandardSoftmaxKernel<Float16::bf16>>(i);
          break;
        case StandardStep::output:
          start<cuda::StandardOutputKernel<kHeadDim, Float16::bf16>>(i);
          break;
        case StandardStep::dropout:
          break;
      }
  }

  Machine& machine;
  AttentionProblem problem;
  StandardAttention launch;
  std::vector<std::int64_t> first_token{0}, first_key{0};
  Placed place;
  RandomTensor q, k, v;
  Buffer<std::uint16_t> scores, probabilities, o;
  std::vector<cuda::StandardArguments> arguments;
};

StandardCall::StandardCall(Machine& machine, const AttentionProblem& problem, const StandardOptions& options,
                           std::uint64_t seed)
    : state_(std::make_unique<State>(machine, problem, options, seed)) {}
StandardCall::~StandardCall() = default;
StandardCall::StandardCall(StandardCall&&) noexcept = default;

void StandardCall::poison() { state_->scores.poison(), state_->probabilities.poison(), state_->o.poison(); }

void StandardCall::enqueue() {
  TESSERA_CHECK(state_->problem.head_dim == 64 || state_->problem.head_dim == 128,
                "kernels are compiled for head dimensions 64 and 128");
  if (state_->problem.head_dim == 64)
    state_->start_all<64>();
  else
    state_->start_all<128>();
}

double StandardCall::error(std::int64_t rows, std::uint64_t seed) {
  const State& s = *state_;
  const AttentionProblem& p = s.problem;
  std::vector<double> expected, got;
  for (const AttentionRow& row : draw_rows(p, rows, seed)) {
    const auto sequence = static_cast<std::size_t>(row.sequence);
    const std::int64_t first = ((s.first_token[sequence] + row.query) * p.q_heads + row.head) * p.head_dim;
    const auto element = [&](const RandomTensor& from, std::int64_t key, int i) {
      const std::int64_t head = row.head / p.group();
      return from.value(((s.first_key[sequence] + key) * p.kv_heads + head) * p.head_dim + i);
    };
    const std::vector<double> o = attention_row(
        p, row, [&](int i) { return s.q.value(first + i); },
        [&](std::int64_t key, int i) { return element(s.k, key, i); },
        [&](std::int64_t key, int i) { return element(s.v, key, i); });
    expected.insert(expected.end(), o.begin(), o.end());
    const auto mine = read_halves(s.o, first, p.v_head_dim, Float16::bf16);
    got.insert(got.end(), mine.begin(), mine.end());
  }
  return relative_error(got, expected);
}

double standard_bytes(const AttentionProblem& p) {
  double tokens = 0;
  for (const AttentionSequence& s : p.sequences)
    tokens +=
        2.0 * static_cast<double>(s.queries) * p.q_heads + 2.0 * static_cast<double>(s.keys) * p.kv_heads;
  const auto square = static_cast<double>(planes(p) * most_queries(p) * row_stride(p));
  return 2 * (tokens * p.head_dim + 2 * square);
}

}  // namespace tessera::measure
