#include "sim/serving/compare_shapes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/parallel/capacity.hpp"
#include "models/parallel/partition.hpp"
#include "sim/serving/simulate.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kLongest = 1'000'000'000;

// Bytes admission must count on for one sequence of this length.
std::int64_t seat_bytes(const KvLayout& layout, std::int64_t context, std::int64_t block_tokens) {
  return layout.peak_bytes_in_group_blocks(context, block_tokens) + layout.sequence_bytes();
}

// The longest single sequence in `memory`; 0 if none is too long.
std::int64_t longest_context(const KvLayout& layout, std::int64_t memory, std::int64_t block_tokens) {
  if (seat_bytes(layout, kLongest, block_tokens) <= memory) return 0;
  std::int64_t fits = 0, too_long = kLongest;
  while (too_long - fits > 1) {
    const std::int64_t middle = fits + (too_long - fits) / 2;
    (seat_bytes(layout, middle, block_tokens) <= memory ? fits : too_long) = middle;
  }
  return fits;
}

// Memory for sequences before any is there: state and buffers are counted per seat here, not set aside.
std::int64_t kv_memory(const CompareSetup& setup, RankModel rank) {
  std::erase_if(rank.kv.groups, [](const KvGroup& g) { return g.rule.kind == Retention::state; });
  for (KvGroup& group : rank.kv.groups)
    for (KvPart& part : group.parts) part.scheme.residual = 0;
  StepLimits limits;
  limits.max_batched_tokens = setup.engine.default_max_num_batched_tokens;
  limits.max_num_seqs = setup.seats;
  limits.block_tokens = setup.block_tokens;
  return derive_kv_capacity(rank, setup.gpu.memory_bytes, setup.utilization, setup.engine.memory, limits)
      .kv_bytes;
}

StepShape decode_shape(std::int64_t batch, std::int64_t context, std::span<const std::int64_t> windows) {
  StepShape shape;
  shape.decodes = shape.sampled = batch;
  shape.decode_kv[0] = batch * context;
  for (std::size_t i = 0; i < windows.size(); ++i)
    shape.decode_kv[1 + i] = batch * std::min(context, windows[i]);
  return shape;
}

double ms(std::int64_t ps) { return static_cast<double>(ps) * 1e-9; }

double prefill_ms(StepCost& cost, std::int64_t prompt, std::int64_t budget) {
  double sum = 0;
  for (std::int64_t done = 0; done < prompt; done += budget) {
    const PrefillChunk chunk{std::min(budget, prompt - done), done};
    StepShape shape;
    shape.chunks = {&chunk, 1};
    shape.prefill_tokens = chunk.tokens;
    shape.sampled = done + chunk.tokens == prompt ? 1 : 0;
    sum += ms(cost.price(shape).base_ps);
  }
  return sum;
}

void describe_step(ShapeReport& report, const StepTerms& terms) {
  const auto part = [&](StepPart p) { return terms.part[static_cast<std::size_t>(p)]; };
  double total = 0;
  for (const double us : terms.part) total += us;
  report.attention_share = part(StepPart::attention) / total;
  report.weight_share = (part(StepPart::gemm) + part(StepPart::moe) + part(StepPart::head)) / total;
  report.compute_bound = terms.compute > terms.hbm;
}

std::string reason_of(const ShapeReport& r, const CompareSetup& setup) {
  const char* limit = r.compute_bound ? "compute" : "bandwidth";
  const std::string step = r.attention_share > r.weight_share
                               ? fmt::format("{:.0f} % of a step is KV {}", 100 * r.attention_share, limit)
                               : fmt::format("{:.0f} % of a step is weight {}", 100 * r.weight_share, limit);
  if (setup.batch > 0) return "batch given; " + step;
  return (r.max_batch <= setup.seats ? "capacity ends the batch; " : "seats end the batch; ") + step;
}

}  // namespace

ShapeReport report_shape(const CompareSetup& setup, const ShapedModel& shaped) {
  ShapeReport r;
  r.shape = shaped.shape;
  r.kv_dtype = shaped.precision.name;
  RunConfig config;
  config.gpu.value = setup.gpu;
  config.model.value = shaped.model;
  config.engine.profile.value = setup.engine;
  config.engine.max_num_seqs = setup.seats;
  config.parallel.tp = setup.tp;
  config.memory.block_tokens = setup.block_tokens;
  try {
    const RankModel rank = partition(shaped.model, config.parallel, shaped.precision);
    r.weight_bytes = rank.weight_bytes();
    r.bytes_per_token = rank.kv.bytes_per_token();
    r.bytes_at_context = rank.kv.bytes_held(setup.context) + rank.kv.state_bytes();
    r.decode_read_bytes = rank.kv.decode_read_bytes(setup.context) + rank.kv.state_bytes();
    r.seat_bytes = seat_bytes(rank.kv, setup.context, setup.block_tokens);
    r.kv_memory_bytes = kv_memory(setup, rank);
    r.max_batch = r.kv_memory_bytes / r.seat_bytes;
    r.max_context = longest_context(rank.kv, r.kv_memory_bytes, setup.block_tokens);
    if (r.max_batch == 0) throw InputError("not one sequence of this context fits");
    r.batch = setup.batch > 0 ? setup.batch : std::min(r.max_batch, setup.seats);
    if (r.batch > r.max_batch)
      throw InputError(fmt::format("a batch of {} does not fit, {} do", r.batch, r.max_batch));
    std::vector<std::string> ignored;
    const std::unique_ptr<StepCost> cost = make_step_cost(config, rank, ignored);
    const StepPrice step = cost->price(decode_shape(r.batch, setup.context, cost->windows()));
    r.step_ms = ms(step.base_ps);
    r.decode_tokens_s = static_cast<double>(r.batch) / r.step_ms * 1e3;
    r.prefill_ms = prefill_ms(*cost, setup.context, setup.engine.default_max_num_batched_tokens);
    describe_step(r, step.terms);
    r.reason = reason_of(r, setup);
  } catch (const InputError& error) {
    const std::string text = error.what();
    r.refusal = text.substr(0, text.find('\n'));
  }
  return r;
}

}  // namespace tessera
