// What cascade attention saves in one decode step: B sequences of n tokens whose first p are the same.
//   KV read without: B n          with: p + B (n - p)        per token and layer, useful bytes
// Times are the step pricer's: with cascade, one launch of B queries over the prefix and one decode launch
// over what is each sequence's own.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/serving/roofline_operators.hpp"
#include "sim/serving/run_config.hpp"
#include "sim/serving/step_pricer.hpp"

namespace tessera {
namespace {

struct Priced {
  double step_us = 0, attention_us = 0, saved_bytes = 0;
};

}  // namespace

int explain_cascade(const ExplainOptions& options, const Model& model) {
  if (options.gpu.empty()) throw InputError("explain cascade: --gpu is missing, expected a GPU name");
  const std::int64_t context = parse_tokens(options.context, "--context");
  const std::int64_t prefix = parse_tokens(options.prefix, "--prefix");
  if (context < 1 || prefix < 1 || prefix >= context)
    throw InputError(fmt::format("--prefix: {} tokens of a context of {}, expected 1 to {}", prefix, context,
                                 context - 1));
  Gpu gpu = load_gpu(options.gpu);
  carry_over_kernels(gpu);
  const EngineProfile engine = load_engine_profile(kDefaultEngineProfile);
  Parallel parallel;
  parallel.tp = options.tp;
  const RankModel rank = partition(model, parallel, resolve_kv_precision(model, options.kv_dtype));
  if (rank.kv.bytes_per_token() == 0)
    throw InputError(fmt::format("explain cascade: {} stores no keys and values to share", model.name));
  auto all = nlohmann::ordered_json::array();
  if (!options.json)
    fmt::print(
        "One decode step of {} on {} (rank of tp {}), context {}, of it {} shared by all\n\n"
        "{:>8} {:>14} {:>14} {:>8} {:>12} {:>12} {:>10} {:>10}\n",
        model.name, gpu.name, options.tp, human_count(context), human_count(prefix), "batch", "KV read",
        "with cascade", "saved", "attention", "with", "step", "with");
  for (const std::int64_t asked : options.batches) {
    const std::int64_t batch = asked > 0 ? asked : 64;
    std::array<Priced, 2> priced;
    for (const Cascade mode : {Cascade::off, Cascade::always}) {
      StepPricer pricer(roofline_operators(gpu, rank, engine, engine.block_tokens, nullptr, false), mode);
      StepShape shape;
      shape.decodes = shape.sampled = batch;
      shape.decode_kv[0] = batch * context;
      for (std::size_t i = 0; i < pricer.windows().size(); ++i)
        shape.decode_kv[i + 1] = batch * std::min(context, pricer.windows()[i]);
      const std::vector<std::int32_t> lengths(static_cast<std::size_t>(batch),
                                              static_cast<std::int32_t>(context));
      shape.lengths = lengths;
      shape.shared = {1, batch, prefix};
      const StepPrice price = pricer.price(shape);
      priced[mode == Cascade::off ? 0 : 1] = {static_cast<double>(price.base_ps) * 1e-6,
                                              price.terms.part[static_cast<std::size_t>(StepPart::attention)],
                                              price.terms.cascade_saved_bytes};
    }
    const double per_token = static_cast<double>(rank.kv.bytes_per_token());
    const double without = static_cast<double>(batch * context) * per_token;
    const double with = without - priced[1].saved_bytes;
    all.push_back({{"batch", batch},
                   {"context", context},
                   {"prefix", prefix},
                   {"kv_read_bytes", without},
                   {"kv_read_bytes_cascade", with},
                   {"saved_fraction", priced[1].saved_bytes / without},
                   {"attention_us", priced[0].attention_us},
                   {"attention_us_cascade", priced[1].attention_us},
                   {"step_us", priced[0].step_us},
                   {"step_us_cascade", priced[1].step_us}});
    if (!options.json)
      fmt::print("{:>8} {:>14} {:>14} {:>6.1f} % {:>9.0f} us {:>9.0f} us {:>7.2f} ms {:>7.2f} ms\n", batch,
                 human_bytes(without), human_bytes(with), 100 * priced[1].saved_bytes / without,
                 priced[0].attention_us, priced[1].attention_us, priced[0].step_us * 1e-3,
                 priced[1].step_us * 1e-3);
  }
  if (options.json) {
    fmt::print("{}\n", all.dump(2));
  } else {
    fmt::print(
        "\nread: batch x context x {} a token; with cascade (prefix + batch x (context - prefix)) x the "
        "same\n"
        "engine.profile.cascade: on | auto applies it in runs\n",
        human_bytes(static_cast<double>(rank.kv.bytes_per_token())));
  }
  return kOk;
}

}  // namespace tessera
