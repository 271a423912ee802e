#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/measure/attention_bench.hpp"
#include "kernels/measure/attention_reference.hpp"
#include "kernels/measure/tensors.hpp"
#include "models/base/check.hpp"

namespace tessera::measure {
namespace {

using cuda::Float16;

// f<head_dim, format>() for the pairs the kernels are compiled for.
template <class F>
void for_kernel(int head_dim, Float16 format, F&& f) {
  TESSERA_CHECK(head_dim == 64 || head_dim == 128, "kernels are compiled for head dimensions 64 and 128");
  if (head_dim == 64 && format == Float16::bf16) return f.template operator()<64, Float16::bf16>();
  if (head_dim == 64) return f.template operator()<64, Float16::fp16>();
  if (format == Float16::bf16) return f.template operator()<128, Float16::bf16>();
  f.template operator()<128, Float16::fp16>();
}

cuda::Grid grid_of(std::int64_t ctas, const CtaResources& resources) {
  return {ctas, resources.threads, resources.smem_bytes};
}

}  // namespace

struct FlashCall::State {
  State(Machine& m, const AttentionProblem& p, const FlashCard& card, Float16 f, std::uint64_t seed)
      : machine(m), format(f), problem(p), launch(fa2::launch(p, card)), place(m) {
    TESSERA_CHECK(p.page_tokens > 0 && p.page_tokens % 8 == 0 && p.head_dim == p.v_head_dim,
                  "measured attention reads a paged cache of one head size");
    const FlashForward& forward = launch.forward;
    for (const AttentionSequence& s : p.sequences) {
      TESSERA_CHECK(s.queries >= 0 && s.queries <= s.keys, "new tokens are among the keys");
      first_token.push_back(first_token.back() + s.queries);
      first_page.push_back(first_page.back() + tiles_of(s.keys, p.page_tokens));
    }
    pages.resize(static_cast<std::size_t>(first_page.back()));
    std::iota(pages.begin(), pages.end(), 0);
    std::mt19937_64 random(seed);
    for (std::size_t i = pages.size(); i > 1; --i) std::swap(pages[i - 1], pages[random() % i]);

    const std::int64_t d = p.head_dim, rows = first_token.back() * p.q_heads;
    const std::int64_t fresh = first_token.back() * p.kv_heads * d;
    const std::int64_t pool = first_page.back() * p.page_tokens * p.kv_heads * d;
    q = RandomTensor(m, rows * d, f, seed + 1);
    k_new = RandomTensor(m, fresh, f, seed + 2), v_new = RandomTensor(m, fresh, f, seed + 3);
    k = RandomTensor(m, pool, f, seed + 4), v = RandomTensor(m, pool, f, seed + 5);
    if (!launch.copies_before.empty()) q_packed = Buffer<std::uint16_t>(m, rows * d);
    o = Buffer<std::uint16_t>(m, rows * d), lse = Buffer<float>(m, rows);
    o_copy = Buffer<std::uint16_t>(m, launch.copies_after.empty() ? 0 : rows * d);
    lse_copy = Buffer<float>(m, launch.copies_after.size() > 1 ? rows : 0);
    if (forward.most_splits > 1) {
      const std::int64_t partials = forward.most_splits * forward.planes() * forward.rows(0);
      o_partial = Buffer<float>(m, partials * d), lse_partial = Buffer<float>(m, partials);
    }
    block_table = uploaded<std::int32_t>(m, pages);
    memory = {.q = q_packed.count() > 0 ? q_packed.get() : q.get(),
              .k = k.get(),
              .v = v.get(),
              .o = o.get(),
              .lse = lse.get(),
              .o_partial = o_partial.get(),
              .lse_partial = lse_partial.get(),
              .block_table = block_table.get(),
              .first_token = place(first_token),
              .first_page = place(first_page)};
    placed_forward = forward.placed(place);
    if (launch.combine) placed_combine = launch.combine->placed(place);
    write = {launch.kv_write->placed(place),
             k_new.get(),
             v_new.get(),
             k.get(),
             v.get(),
             block_table.get(),
             memory.first_page};
  }

  void copy(const RowCopy& program, const void* from, void* to, int halves) {
    machine.launch<cuda::RowCopyKernel>(
        grid_of(program.ctas(), program.resources()),
        {program, static_cast<const std::uint16_t*>(from), static_cast<std::uint16_t*>(to), halves});
  }

  Machine& machine;
  Float16 format;
  AttentionProblem problem;
  FlashLaunch launch;
  std::vector<std::int64_t> first_token{0}, first_page{0};
  std::vector<std::int32_t> pages;
  Placed place;
  RandomTensor q, k, v, k_new, v_new;
  Buffer<std::uint16_t> q_packed, o, o_copy;
  Buffer<float> lse, lse_copy, o_partial, lse_partial;
  Buffer<std::int32_t> block_table;
  cuda::AttentionMemory memory;
  BasicFlashForward<Viewed> placed_forward;
  BasicFlashCombine<Viewed> placed_combine;
  cuda::KvWriteKernel::Arguments write;
};

FlashCall::FlashCall(Machine& machine, const AttentionProblem& problem, const FlashCard& card, Float16 format,
                     std::uint64_t seed)
    : state_(std::make_unique<State>(machine, problem, card, format, seed)) {}
FlashCall::~FlashCall() = default;
FlashCall::FlashCall(FlashCall&&) noexcept = default;

const FlashLaunch& FlashCall::launch() const { return state_->launch; }

void FlashCall::poison() {
  State& s = *state_;
  s.o.poison(), s.lse.poison();
  for (auto* buffer : {&s.o_copy, &s.q_packed})
    if (buffer->count() > 0) buffer->poison();
  if (s.o_partial.count() > 0) s.o_partial.poison(), s.lse_partial.poison();
}

void FlashCall::enqueue() {
  State& s = *state_;
  const KvWrite& write = *s.launch.kv_write;
  s.machine.launch<cuda::KvWriteKernel>(grid_of(write.ctas(), write.resources()), s.write);
  for (const RowCopy& copy : s.launch.copies_before) s.copy(copy, s.q.get(), s.q_packed.get(), 1);
  for_kernel(s.problem.head_dim, s.format, [&]<int kHeadDim, Float16 kFormat>() {
    const FlashForward& forward = s.launch.forward;
    using Forward = cuda::FlashForwardKernel<kHeadDim, kFormat>;
    const CtaResources& needs = forward.resources();
    TESSERA_CHECK(forward.tile.m == Forward::kTile.m && forward.tile.n == Forward::kTile.n &&
                      needs.threads == Forward::kThreads && needs.smem_bytes == Forward::kSharedBytes,
                  "the kernel has the geometry of its tile program");
    s.machine.launch<Forward>(grid_of(forward.ctas(), needs), {s.placed_forward, s.memory});
    if (s.launch.combine)
      s.machine.launch<cuda::FlashCombineKernel<kHeadDim, kFormat>>(
          {s.launch.combine->ctas(), s.launch.combine->threads, 0}, {s.placed_combine, s.memory});
  });
  if (!s.launch.copies_after.empty()) s.copy(s.launch.copies_after[0], s.o.get(), s.o_copy.get(), 1);
  if (s.launch.copies_after.size() > 1) s.copy(s.launch.copies_after[1], s.lse.get(), s.lse_copy.get(), 2);
}

double FlashCall::error(std::int64_t rows, std::uint64_t seed) {
  const State& s = *state_;
  const AttentionProblem& p = s.problem;
  std::vector<double> expected, got;
  for (const AttentionRow& row : draw_rows(p, rows, seed)) {
    const auto sequence = static_cast<std::size_t>(row.sequence);
    const std::int64_t first = ((s.first_token[sequence] + row.query) * p.q_heads + row.head) * p.head_dim;
    const std::int64_t history = p.sequences[sequence].keys - p.sequences[sequence].queries;
    const std::int64_t kv_head = row.head / p.group();
    // A key of this step comes from the model, an older one from the cache.
    const auto element = [&](const RandomTensor& cache, const RandomTensor& fresh, std::int64_t key, int i) {
      if (key >= history)
        return fresh.value(((s.first_token[sequence] + key - history) * p.kv_heads + kv_head) * p.head_dim +
                           i);
      const std::int64_t page =
          s.pages[static_cast<std::size_t>(s.first_page[sequence] + key / p.page_tokens)];
      return cache.value(((page * p.page_tokens + key % p.page_tokens) * p.kv_heads + kv_head) * p.head_dim +
                         i);
    };
    const std::vector<double> o = attention_row(
        p, row, [&](int i) { return s.q.value(first + i); },
        [&](std::int64_t key, int i) { return element(s.k, s.k_new, key, i); },
        [&](std::int64_t key, int i) { return element(s.v, s.v_new, key, i); });
    expected.insert(expected.end(), o.begin(), o.end());
    const auto mine = read_halves(s.o_copy.count() > 0 ? s.o_copy : s.o, first, p.v_head_dim, s.format);
    got.insert(got.end(), mine.begin(), mine.end());
  }
  return relative_error(got, expected);
}

double flash_bytes(const AttentionProblem& p) {
  double queries = 0, keys = 0;
  for (const AttentionSequence& s : p.sequences)
    queries += static_cast<double>(s.queries), keys += static_cast<double>(s.keys) + p.page_tokens;
  return 2.0 * p.head_dim * (3 * queries * p.q_heads + 2 * (keys + queries) * p.kv_heads);
}

}  // namespace tessera::measure
