// `tessera`: the command line. Options only; what the commands do is in the files beside this one.
#include <fmt/format.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>
#include <new>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/cli/kernel_command.hpp"
#include "sim/cli/number_check.hpp"
#include "sim/cli/trace_options.hpp"

namespace {

using namespace tessera;

// CLI11 says which word it did not know; this adds the nearest one it does.
std::string suggestion(const CLI::App& app, int argc, char** argv) {
  const CLI::App* at = &app;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.rfind("-", 0) == 0) {
      const std::string name = word.substr(0, word.find('='));
      std::vector<std::string> names;
      bool known = false;
      for (const CLI::Option* option : at->get_options()) {
        known = known || option->check_name(name);
        for (const std::string& l : option->get_lnames()) names.push_back("--" + l);
      }
      if (!known && name.rfind("--", 0) == 0) return did_you_mean(name, names);
      continue;
    }
    const CLI::App* next = nullptr;
    std::vector<std::string> names;
    for (const CLI::App* sub : at->get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(sub->get_name());
      if (sub->get_name() == word) next = sub;
    }
    if (next == nullptr && !names.empty()) return did_you_mean(word, names);
    if (next != nullptr) at = next;
  }
  return "";
}

int run(int argc, char** argv) {
  CLI::App app{"Simulates where the bytes of LLM inference live and move, and how long that takes.",
               "tessera"};
  app.footer(
      "Examples:\n"
      "  tessera run configs/quickstart.yaml\n"
      "  tessera run my.yaml --trace trace.csv.gz --set memory.kv_blocks=4000 --out results\n"
      "  tessera explain kv --model llama-3.1-70b --context 128k --tp 8\n"
      "  tessera cache trace.jsonl.gz --blocks 1k,10k,unbounded\n"
      "Exit codes: 0 ok, 1 failed, 2 bad usage or input, 3 a gate missed, 130 interrupted (results so far "
      "are kept).");
  app.set_version_flag("--version", "tessera " TESSERA_VERSION);
  app.require_subcommand(1);
  int code = kOk;

  RunOptions run_options;
  CLI::App* run_app = app.add_subcommand("run", "simulate serving a trace");
  run_app->add_option("CONFIG", run_options.config, "run config (YAML)")->required();
  run_app->add_option("--trace", run_options.trace, "trace file, in place of the config's");
  run_app
      ->add_option("--set", run_options.overrides, "override a key: memory.kv_blocks=4000 (may be repeated)")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)
      ->trigger_on_parse(false);
  run_app->add_option("--out", run_options.out,
                      "folder for summary.json, requests.csv, timeline.json.gz, ...");
  run_app->add_option("--seed", run_options.seed, "seed, in place of the config's")
      ->check(number_from(0, 9007199254740992.0, "a whole number from 0 to 2^53"));
  run_app->add_flag("--memory-map", run_options.memory_map,
                    "which block belongs to whom over time: a picture here, memory_map.json in --out");
  run_app->add_flag("--json", run_options.json, "print summary.json");
  run_app->add_flag("--quiet", run_options.quiet, "no progress, no table");
  run_app->footer("Example: tessera run configs/quickstart.yaml --set gpu=l40s --json");
  run_app->callback([&] { code = run_command(run_options); });

  CacheOptions cache_options;
  CLI::App* cache_app =
      app.add_subcommand("cache", "replay a block or key trace through replacement policies");
  cache_app
      ->add_option("TRACE", cache_options.trace,
                   "trace with block identities, or one key per line, or oracleGeneral")
      ->required();
  cache_app
      ->add_option("--policy", cache_options.policies,
                   "policies, comma-separated (see: tessera list policies)")
      ->delimiter(',');
  cache_app->add_option("--blocks", cache_options.blocks, "capacities, comma-separated: 1000,50k,unbounded")
      ->delimiter(',');
  cache_app->add_option("--format", cache_options.format, "trace format; auto: by content");
  cache_app->add_option("--bytes", cache_options.bytes, "capacities in bytes, for key traces with sizes: 64M")
      ->delimiter(',');
  cache_app->add_option("--cost", cache_options.cost,
                        "of a miss, for gdsf: uniform | size | depth in its prompt");
  cache_app->add_option("--ttl", cache_options.ttl_s, "seconds a block lives unused (ttl)");
  cache_app->add_option("--seed", cache_options.seed, "seed of random eviction and of sampling");
  cache_app->add_option("--replicas", cache_options.replicas, "local caches, each of the capacity given")
      ->check(CLI::Range(1, 100'000));
  cache_app->add_option("--routing", cache_options.routing, "requests to replicas: round-robin | session");
  cache_app->add_flag("--mrc", cache_options.mrc, "LRU hit ratio at every power of two, in one pass");
  cache_app->add_option("--shards", cache_options.shards,
                        "the same from a sample of keys: a rate (0.01) or how many keys (8192)");
  cache_app->add_flag("--json", cache_options.json, "machine-readable");
  cache_app->footer(
      "Examples:\n"
      "  tessera cache trace.jsonl.gz --policy lru,s3-fifo,arc,belady --blocks 1k,10k,unbounded\n"
      "  tessera cache trace.jsonl.gz --blocks 5000 --replicas 20 --routing session\n"
      "  tessera trace zipf --alpha 1.0 --out zipf.bin && tessera cache zipf.bin --mrc --shards 0.01");
  cache_app->callback([&] { code = cache_command(cache_options); });

  ExplainOptions explain_options;
  CLI::App* explain_app = app.add_subcommand("explain", "a quantity with its formula, values and source");
  explain_app->add_option("WHAT", explain_options.what, "kv | capacity | cascade | kv-claims | tier | swap")
      ->required();
  explain_app->add_option("--model", explain_options.model, "model name or file (all but kv-claims)");
  explain_app->add_option("--gpu", explain_options.gpu, "GPU name or file (capacity, cascade, tier, swap)");
  explain_app->add_option("--context", explain_options.context,
                          "tokens of one sequence, e.g. 128k; several with --compare: 4k,32k");
  explain_app->add_option("--kv-dtype", explain_options.kv_dtype,
                          "auto | bf16 | fp8 | fp8-skip-window | int4 | kivi-4 | kivi-2 | nvfp4 | ..");
  explain_app->add_option("--tp", explain_options.tp, "tensor-parallel ranks")->check(CLI::Range(1, 1024));
  explain_app->add_option("--utilization", explain_options.utilization, "gpu_memory_utilization (capacity)")
      ->check(number_from(1e-6, 1, "a share above 0 and at most 1"));
  explain_app->add_option("--set", explain_options.overrides, "what-if: model.attention.kv_heads=4")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false)
      ->trigger_on_parse(false);
  explain_app
      ->add_option(
          "--compare", explain_options.compare,
          "cache shapes side by side, e.g. base,mqa,mla,cla-2,local-5-1024+fp8 (kv; see list shapes)")
      ->delimiter(',');
  explain_app
      ->add_option("--batch", explain_options.batches,
                   "decoding sequences, one or several; 0: as many as fit (--compare)")
      ->delimiter(',')
      ->check(CLI::Range(0, 65536));
  explain_app->add_option("--seats", explain_options.seats, "most sequences at once (--compare)")
      ->check(CLI::Range(1, 65536));
  explain_app
      ->add_option("--link", explain_options.links,
                   "devices to compare, comma-separated: pcie5-h100,rdma-400g (tier; see list tiers)")
      ->delimiter(',');
  explain_app
      ->add_option("--tflops", explain_options.tflops, "of one GPU, in place of its datasheet's (tier)")
      ->check(number_from(1e-6, 1e9, "a number of TFLOP/s above 0"));
  explain_app->add_option("--engine", explain_options.engine, "engine profile (tier, swap)");
  explain_app->add_option("--copy-unit", explain_options.copy_unit, "block | layer (swap)");
  explain_app->add_option("--layers", explain_options.layers, "a pipeline stage, e.g. 16-31 (kv)");
  explain_app->add_option("--prefix", explain_options.prefix,
                          "tokens that all sequences of the batch share (cascade)");
  explain_app->add_flag("--json", explain_options.json, "machine-readable");
  explain_app->callback([&] { code = explain_command(explain_options); });

  std::string list_what;
  bool list_json = false;
  CLI::App* list_app = app.add_subcommand(
      "list", "what there is: gpus, models, shapes, policies, schedulers, formats, engines, fabrics, tiers");
  list_app
      ->add_option("WHAT", list_what,
                   "gpus | models | shapes | policies | schedulers | formats | engines | fabrics | tiers")
      ->required();
  list_app->add_flag("--json", list_json, "machine-readable");
  list_app->callback([&] { code = list_command(list_what, list_json); });

  CLI::App* config_app = app.add_subcommand("config", "keys of the run config");
  config_app->require_subcommand(1);
  bool schema_json = false;
  CLI::App* schema_app = config_app->add_subcommand("schema", "every key with type, default, unit and range");
  schema_app->add_flag("--json", schema_json, "machine-readable");
  schema_app->callback([&] { code = config_schema_command(schema_json); });
  std::string key;
  CLI::App* key_app = config_app->add_subcommand("explain", "one key, or all below one");
  key_app->add_option("KEY", key, "e.g. memory.block_tokens")->required();
  key_app->callback([&] { code = config_explain_command(key); });

  TraceOptions trace_options;
  add_trace_commands(app, trace_options, code);
  add_kernel_commands(app, code);

  for (const auto& [name, doc] : {std::pair{"calibrate", "fit a GPU's kernel behaviour to measurements"},
                                  std::pair{"validate", "predictions against measured rows"},
                                  std::pair{"measure", "run the CUDA kernels of a plan on the GPU here"}}) {
    CLI::App* sibling = app.add_subcommand(name, doc);
    sibling->prefix_command();
    sibling->set_help_flag();
    sibling->callback([&code, sibling, name = name] { code = run_sibling(name, sibling->remaining()); });
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, std::cout, std::cerr);  // --help, --version
    std::cerr << "tessera: " << error.what() << suggestion(app, argc, argv)
              << "\nRun 'tessera --help' for usage.\n";
    return kBadInput;
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef __GLIBC__
  // Room that growing tables leave behind is used again instead of going back to the kernel page by page.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
#endif
  try {
    const int code = run(argc, argv);
    // A write that failed earlier left nothing to flush, but the mark of it.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw RunError("cannot write to standard output");
    return code;
  } catch (const InputError& error) {
    fmt::print(stderr, "tessera: {}\n", error.what());
    return kBadInput;
  } catch (const RunError& error) {
    fmt::print(stderr, "tessera: {}\n", error.what());
    return kFailed;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "tessera: out of memory\n");
    return kFailed;
  } catch (const std::exception& error) {
    fmt::print(stderr, "tessera: unexpected error: {}\n", error.what());
    return kFailed;
  }
}
