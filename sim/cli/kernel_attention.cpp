// `tessera kernel attention-standard | attention-flash | attention-decode`: one attention call at tile grain.
// fa1 and unfused attention run with the card's published rates (no table was fitted for them); fa2 and fa3
// with the fitted ones. A backward pass is counted in bytes and FLOPs, not timed.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "kernels/tiles/launch_figures.hpp"
#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"
#include "sim/cli/kernel_layout.hpp"
#include "sim/cli/kernel_report.hpp"
#include "sim/cli/number_check.hpp"
#include "sim/gpu/attention_sim.hpp"
#include "sim/gpu/program_sim.hpp"

namespace tessera {
namespace {

struct AttentionOptions {
  std::string gpu = "h100-sxm", impl = "auto", dtype = "bf16", kv_dtype = "auto", l2 = "warm", out;
  std::int64_t batch = 1;
  int heads = 32, kv_heads = 0, head_dim = 128;
  std::string q_len, kv_len, window = "0";
  LayoutChoice layout;  // of a model, in place of heads, window and types
  bool causal = false, mask = false, paged = false, backward = false, json = false;
  int block_tokens = 16;
  double dropout = 0;
};

L2Mode l2_mode(const std::string& name) {
  if (name == "off") return L2Mode::off;
  if (name == "on") return L2Mode::on;
  if (name == "warm") return L2Mode::warm;
  throw InputError("--l2 " + name + ": not known, expected on, off or warm" +
                   did_you_mean(name, {"on", "off", "warm"}));
}

AttentionProblem problem_of(const AttentionOptions& o, bool decode) {
  AttentionProblem p;
  p.q_heads = o.heads;
  p.kv_heads = o.kv_heads > 0 ? o.kv_heads : o.heads;
  if (o.heads < 1 || p.q_heads % p.kv_heads != 0)
    throw InputError(fmt::format("--kv-heads {}: does not divide --heads {}", p.kv_heads, o.heads));
  p.head_dim = p.v_head_dim = o.head_dim;
  p.causal = o.causal || decode;
  p.window = parse_tokens(o.window, "--window");
  p.element_bytes = bytes_of(parse_dtype(o.dtype));
  const bool own_type = o.kv_dtype != "auto" && o.layout.model.empty();  // a model has formats of its own
  p.kv_element_bytes = own_type ? bytes_of(parse_dtype(o.kv_dtype)) : p.element_bytes;
  p.page_tokens = o.paged || decode ? o.block_tokens : 0;
  const std::int64_t queries = o.q_len.empty() ? 1 : parse_tokens(o.q_len, "--q-len");
  const std::int64_t keys = o.kv_len.empty() ? queries : parse_tokens(o.kv_len, "--kv-len");
  if (queries < 1 || keys < 1 || o.batch < 1)
    throw InputError("--q-len, --kv-len and --batch: expected at least 1 each");
  constexpr std::int64_t kMostSequences = 1 << 20;
  if (o.batch > kMostSequences)
    throw InputError(fmt::format("--batch: {} sequences, expected at most {}", o.batch, kMostSequences));
  p.sequences.assign(static_cast<std::size_t>(o.batch), {queries, keys});
  return p;
}

std::string title_of(const std::string& what, const AttentionProblem& p) {
  return fmt::format("{}: {} x {} queries, {} keys, {} of {} heads, head dim {}{}", what, p.sequences.size(),
                     p.sequences[0].queries, p.sequences[0].keys, p.kv_heads, p.q_heads, p.head_dim,
                     p.causal ? ", causal" : "");
}

// Kernels without a fit, one after another through one L2.
template <class Launch>
KernelReport unfitted(const Gpu& gpu, const AttentionOptions& o, const Launch& launch,
                      const LaunchFigures& figures, std::vector<CtaSpan>* spans) {
  KernelReport report;
  const bool warm = l2_mode(o.l2) == L2Mode::warm;
  L2Tags tags = whole_l2(gpu, l2_mode(o.l2) != L2Mode::off);
  if (warm)
    throw InputError(
        "--l2 warm: only fitted kernels (fa2, fa3) know what a replay leaves, expected on or off");
  std::int64_t read = 0, written = 0;
  const auto run = [&](const char* name, const auto& program) {
    const bool main = report.parts.size() == figures.main;
    const LaunchResult launched = simulate_program(gpu, program, tags, main ? spans : nullptr);
    const double us = static_cast<double>(launched.time_ps) * 1e-6 + gpu.graph_launch_us;
    report.parts.push_back({name, us, launched});
    report.time.total += us;
    report.time.launch += gpu.graph_launch_us;
    read += launched.hbm_read_bytes, written += launched.hbm_write_bytes;
    const KernelRates rates = published_rates(gpu);
    report.time.compute += (static_cast<double>(launched.executed_flops) * rates.ps_per_flop +
                            static_cast<double>(launched.exponentials) * rates.ps_per_exp) *
                           1e-6 / static_cast<double>(gpu.sms.value);
    report.time.hbm += static_cast<double>(launched.hbm_read_bytes + launched.hbm_write_bytes) /
                       rates.hbm_bytes_per_ps * 1e-6;
    report.time.l2 +=
        static_cast<double>(launched.loaded_bytes + launched.stored_bytes) / rates.l2_bytes_per_ps * 1e-6;
  };
  if constexpr (requires { launch.for_each(run); })
    launch.for_each(run);
  else
    run("attention", launch);
  report.time.in_range = false;
  report.main = figures.main;
  report.useful_flops = figures.useful_flops;
  report.extra_bytes = figures.peak_extra_bytes;
  report.sram_bytes_per_cta = figures.sram_bytes_per_cta();
  return report;
}

void add_backward(KernelReport& report, const LaunchFigures& with, const LaunchFigures& without) {
  report.unsimulated_read = with.hbm_read_bytes() - without.hbm_read_bytes();
  report.unsimulated_write = with.hbm_write_bytes() - without.hbm_write_bytes();
  report.extra_bytes = with.peak_extra_bytes;
}

int standard_command(const AttentionOptions& o) {
  const Gpu gpu = load_gpu(o.gpu);
  const AttentionProblem problem = problem_of(o, false);
  const StandardAttention launch(
      problem,
      {.key_mask = o.mask, .dropout = o.dropout > 0, .sms = gpu.sms, .smem_per_cta = gpu.smem_per_cta_bytes});
  std::vector<CtaSpan> spans;
  const LaunchFigures forward = figures_of(launch);
  KernelReport report = unfitted(gpu, o, launch, forward, o.out.empty() ? nullptr : &spans);
  if (o.backward) add_backward(report, figures_of(launch, true), forward);
  report.title = title_of("attention-standard", problem);
  report.gpu = &gpu;
  print_report(report, o.json, o.out, spans);
  return kOk;
}

KernelReport flash(const Gpu& gpu, const AttentionOptions& o, const AttentionProblem& problem,
                   std::vector<CtaSpan>* spans) {
  AttentionSimOptions options;
  options.kernel = o.impl == "auto" ? "" : o.impl;
  options.l2 = l2_mode(o.l2);
  options.count_small_kernels = true;
  options.spans = spans;
  const AttentionSimulation sim = simulate_attention(gpu, problem, options);
  KernelReport report;
  report.time = sim.time;
  for (const AttentionSimulation::Part& part : sim.parts) {
    if (std::string_view(part.kernel) == "attention") report.main = report.parts.size();
    report.parts.push_back({part.kernel, part.us, part.launch});
  }
  report.useful_flops = problem.useful_flops();
  report.extra_bytes = sim.program.extra_bytes();
  report.sram_bytes_per_cta = sim.program.forward.resources().smem_bytes;
  return report;
}

int flash_command(const AttentionOptions& o, bool decode) {
  const std::vector<std::string> impls = {"auto", "fa1", "fa2", "fa3"};
  if (std::find(impls.begin(), impls.end(), o.impl) == impls.end())
    throw InputError("--impl " + o.impl + ": not known, expected auto, fa1, fa2 or fa3" +
                     did_you_mean(o.impl, impls));
  const Gpu gpu = load_gpu(o.gpu);
  AttentionProblem problem = problem_of(o, decode);
  const std::string layer = o.layout.model.empty() ? "" : take_layout(problem, o.layout, o.kv_dtype);
  std::vector<CtaSpan> spans;
  std::vector<CtaSpan>* wanted = o.out.empty() ? nullptr : &spans;
  KernelReport report;
  if (o.impl == "fa1") {
    const FlashAttention1 program(problem, gpu.smem_per_cta_bytes, o.mask);
    const LaunchFigures forward = figures_of(program);
    report = unfitted(gpu, o, program, forward, wanted);
    if (o.backward) add_backward(report, figures_of(program, true), forward);
  } else {
    if (o.backward || o.mask || o.dropout > 0)
      throw InputError(
          "--backward, --mask and --dropout: counted for attention-standard and --impl fa1 only");
    report = flash(gpu, o, problem, wanted);
  }
  report.title = title_of(decode ? "attention-decode" + layer : "attention-flash " + o.impl, problem);
  report.gpu = &gpu;
  print_report(report, o.json, o.out, spans);
  return kOk;
}

std::shared_ptr<AttentionOptions> add_shape(CLI::App& kernel) {
  auto o = std::make_shared<AttentionOptions>();
  kernel.add_option("--gpu", o->gpu, "a name under configs/gpus, or a path");
  kernel.add_option("--batch", o->batch, "sequences");
  kernel.add_option("--heads", o->heads, "query heads")->check(CLI::Range(1, 4096));
  kernel.add_option("--kv-heads", o->kv_heads, "default: as many as query heads")->check(CLI::Range(1, 4096));
  kernel.add_option("--head-dim", o->head_dim, "of Q, K and V")->check(CLI::Range(8, 512));
  kernel.add_option("--kv-len", o->kv_len, "keys of a sequence, e.g. 16k; default: as many as queries");
  kernel.add_option("--window", o->window, "sliding window in tokens; 0: none");
  kernel.add_option("--dtype", o->dtype, "bf16, fp16 or fp32");
  kernel.add_option("--kv-dtype", o->kv_dtype, "of the cache; auto: as --dtype");
  kernel.add_option("--l2", o->l2, "off, on (empty at the start) or warm (what replays leave)");
  kernel.add_option("--out", o->out, "write a Chrome trace of the SMs");
  kernel.add_flag("--json", o->json, "machine-readable");
  return o;
}

void add_prompt(CLI::App& kernel, AttentionOptions& o) {
  kernel.add_option("--q-len", o.q_len, "queries of a sequence")->required();
  kernel.add_flag("--causal", o.causal, "mask the future");
  kernel.add_flag("--mask", o.mask, "a key-padding mask");
  kernel.add_option("--dropout", o.dropout, "probability; 0: none")->check(probability());
  kernel.add_flag("--backward", o.backward, "count the backward pass too");
}

}  // namespace

void add_kernel_attention_standard(CLI::App& kernel, int& code) {
  const auto o = add_shape(kernel);
  o->l2 = "on";
  add_prompt(kernel, *o);
  kernel.callback([o, &code] { code = standard_command(*o); });
}

void add_kernel_attention_flash(CLI::App& kernel, int& code) {
  const auto o = add_shape(kernel);
  add_prompt(kernel, *o);
  kernel.add_option("--impl", o->impl, "fa1, fa2, fa3 or auto: what the card runs");
  kernel.add_flag("--paged", o->paged, "keys from a paged cache, as engines call it");
  kernel.add_option("--block-tokens", o->block_tokens, "page size")->check(CLI::Range(1, 4096));
  kernel.callback([o, &code] {
    if (o->impl == "fa1" && o->l2 == "warm") o->l2 = "on";
    code = flash_command(*o, false);
  });
}

void add_kernel_attention_decode(CLI::App& kernel, int& code) {
  const auto o = add_shape(kernel);
  kernel.get_option("--kv-len")->required();
  kernel.add_option("--q-len", o->q_len, "new tokens of a sequence; default 1");
  kernel.add_option("--impl", o->impl, "fa2, fa3 or auto: what the card runs");
  kernel.add_option("--block-tokens", o->block_tokens, "page size")->check(CLI::Range(1, 4096));
  kernel.add_flag("--paged", o->paged, "decode always reads pages");
  const auto model = kernel.add_option("--model", o->layout.model, "one layer of a model as it is served");
  for (const char* own : {"--heads", "--kv-heads", "--head-dim", "--window", "--dtype"})
    model->excludes(kernel.get_option(own));
  kernel.add_option("--shape", o->layout.shape, "its cache in another shape (list shapes)")->needs(model);
  kernel.add_option("--group", o->layout.group, "which of its KV groups, where it has several")->needs(model);
  kernel.add_option("--tp", o->layout.tp, "of one tensor-parallel rank")
      ->needs(model)
      ->check(CLI::Range(1, 1024));
  kernel.callback([o, &code] { code = flash_command(*o, true); });
}

}  // namespace tessera
