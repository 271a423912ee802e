#include "kernels/measure/attention_bench.hpp"

#include <fmt/format.h>

#include "kernels/measure/tensors.hpp"

namespace tessera::measure {
namespace {

constexpr std::int64_t kCheckedRows = 8;
constexpr int kPageTokens = 64;      // as the public tables were measured
constexpr double kTolerance = 1e-2;  // bf16 probabilities and outputs: 8 bits each

AttentionProblem heads_of(const Point& point) {
  AttentionProblem p;
  p.q_heads = static_cast<int>(point.number("num_heads"));
  p.kv_heads = static_cast<int>(point.number("num_key_value_heads"));
  p.head_dim = p.v_head_dim = static_cast<int>(point.number("head_dim"));
  p.window = point.number("window_size_tokens");
  return p;
}

StandardOptions standard_options(const DeviceInfo& device) {
  return {.sms = device.sms, .smem_per_cta = device.smem_per_cta};
}

double keys_read(const AttentionProblem& p) {
  double keys = 0;
  for (const AttentionSequence& s : p.sequences)
    keys += static_cast<double>(p.window > 0 ? std::min(s.keys, p.window + s.queries) : s.keys);
  return keys;
}

double checked_flops(const AttentionProblem& p) {
  double longest = 0;
  for (const AttentionSequence& s : p.sequences) longest = std::max(longest, static_cast<double>(s.keys));
  return static_cast<double>(kCheckedRows) * longest * 4 * p.head_dim * 20;  // 20: drawing the numbers
}

Bench::Work flash_work(const Point& point) {
  const AttentionProblem p = attention_problem(point);
  double queries = 0;
  for (const AttentionSequence& s : p.sequences) queries += static_cast<double>(s.queries);
  const double token = 2.0 * p.head_dim;
  const double bytes = token * (2 * p.kv_heads * keys_read(p) + 2 * p.q_heads * queries);
  return {.bytes = bytes,
          .flops = p.useful_flops(),
          .footprint = flash_bytes(p),
          .touched = bytes,  // of a cache behind a window only its end
          .host_flops = checked_flops(p)};
}

// Runs every set of buffers once for the check of the first, then times them in turn.
template <class Call>
Sample run_calls(Machine& machine, std::vector<Call>& calls, const Settings& settings) {
  Sample sample;
  calls[0].poison();
  calls[0].enqueue();
  machine.finish();
  sample.error = calls[0].error(kCheckedRows, settings.seed);
  sample.copies = std::ssize(calls);
  sample.times_ms = machine.time_ms(timing_of(settings, sample.copies), [&](std::int64_t op) {
    calls[static_cast<std::size_t>(op) % calls.size()].enqueue();
  });
  return sample;
}

Sample run_flash(Machine& machine, const Point& point, const Settings& settings) {
  const AttentionProblem p = attention_problem(point);
  const DeviceInfo device = machine.info();
  const std::int64_t copies = sets_of_buffers(device, flash_work(point), point.copies);
  std::vector<FlashCall> calls;
  for (std::int64_t i = 0; i < copies; ++i)
    calls.emplace_back(machine, p, flash_card(device), format_of(point.text("attn_dtype")),
                       settings.seed + 100 * static_cast<std::uint64_t>(i));
  Sample sample = run_calls(machine, calls, settings);
  sample.source = "tessera_fa2";
  sample.results = {p.useful_flops() / (1e9 * sample.median_ms())};
  return sample;
}

AttentionProblem standard_problem(const Point& point) {
  AttentionProblem p = heads_of(point);
  p.sequences.assign(static_cast<std::size_t>(point.number("batch_size")),
                     {point.number("isl_tokens"), point.number("isl_tokens")});
  return p;
}

Bench::Work standard_work(const Point& point) {
  const AttentionProblem p = standard_problem(point);
  // Scores are written, masked in place, read, and probabilities written and read: six passes.
  const double square = static_cast<double>(point.number("batch_size")) * p.q_heads *
                        std::pow(static_cast<double>(point.number("isl_tokens")), 2);
  return {.bytes = 12 * square,
          .flops = 4 * square * p.head_dim,
          .footprint = standard_bytes(p),
          .host_flops = checked_flops(p)};
}

Sample run_standard(Machine& machine, const Point& point, const Settings& settings) {
  const AttentionProblem p = standard_problem(point);
  const DeviceInfo device = machine.info();
  const std::int64_t copies = sets_of_buffers(device, standard_work(point), point.copies);
  std::vector<StandardCall> calls;
  for (std::int64_t i = 0; i < copies; ++i)
    calls.emplace_back(machine, p, standard_options(device),
                       settings.seed + 100 * static_cast<std::uint64_t>(i));
  Sample sample = run_calls(machine, calls, settings);
  sample.source = "tessera_standard";
  sample.results = {p.useful_flops() / (1e9 * sample.median_ms())};
  return sample;
}

const std::vector<std::string> kColumns = {"batch_size",          "isl_tokens",     "num_heads",
                                           "num_key_value_heads", "head_dim",       "attn_dtype",
                                           "kv_cache_dtype",      "past_kv_tokens", "window_size_tokens"};

}  // namespace

FlashCard flash_card(const DeviceInfo& device) {
  const bool sm8x = device.major == 8 && device.minor > 0;
  return {device.sms, device.smem_per_cta, device.smem_per_sm, sm8x};
}

AttentionProblem attention_problem(const Point& point) {
  AttentionProblem p = heads_of(point);
  p.page_tokens = kPageTokens;
  const std::int64_t fresh = point.number("isl_tokens"), past = point.number("past_kv_tokens");
  p.sequences.assign(static_cast<std::size_t>(point.number("batch_size")), {fresh, past + fresh});
  return p;
}

Bench context_attention_bench() {
  return {"context_attention", kColumns, {"tflops"}, kTolerance, flash_work, run_flash};
}
Bench generation_attention_bench() {
  return {"generation_attention", kColumns, {"tflops"}, kTolerance, flash_work, run_flash};
}
Bench attention_standard_bench() {
  return {"attention_standard",
          {"batch_size", "isl_tokens", "num_heads", "num_key_value_heads", "head_dim", "attn_dtype",
           "window_size_tokens"},
          {"tflops"},
          2 * kTolerance,  // scores and probabilities are stored in bf16
          standard_work,
          run_standard};
}

}  // namespace tessera::measure
