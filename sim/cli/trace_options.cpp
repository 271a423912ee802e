#include "sim/cli/trace_options.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

namespace tessera {
namespace {

void add_read_options(CLI::App& app, ReadOptions& read) {
  app.add_option("--format", read.format, "trace format; auto: by content");
  app.add_option("--limit", read.limit, "only the first so many requests")->check(CLI::PositiveNumber);
  app.add_option("--seed", read.seed, "seed of what a trace leaves open (client rates)");
}

void add_lengths(CLI::App& app, LengthSpec& lengths) {
  app.add_option("--input", lengths.input, "prompt lengths: fixed:N, lognormal:mean=M,cv=C, quantiles:p50=A,p90=B,max=X");
  app.add_option("--output", lengths.output, "answer lengths, likewise");
  app.add_option("--lengths-from", lengths.trace, "draw lengths from the rows of this trace instead");
}

}  // namespace

void add_trace_commands(CLI::App& app, TraceOptions& o, int& code) {
  CLI::App* trace = app.add_subcommand("trace", "work on traces");
  trace->require_subcommand(1);

  CLI::App* stats = trace->add_subcommand("stats", "requests, rates, lengths, sharing");
  stats->add_option("TRACE", o.stats.file, "trace file")->required();
  add_read_options(*stats, o.stats.read);
  stats->add_flag("--json", o.stats.json, "machine-readable");
  stats->callback([&o, &code] { code = trace_stats(o.stats, std::cout); });

  CLI::App* generate = trace->add_subcommand("generate", "draw a trace");
  generate->add_option("--arrivals", o.arrivals, "poisson | gamma | periodic");
  generate->add_option("--rate", o.generate.spec.arrivals.rate, "requests per second")->required();
  generate->add_option("--cv", o.generate.spec.arrivals.cv, "coefficient of variation of the gaps (gamma)");
  generate->add_option("--requests", o.generate.spec.requests, "how many");
  generate->add_option("--duration", o.generate.spec.duration_s, "until when, s");
  add_lengths(*generate, o.generate.spec.lengths);
  generate->add_flag("--stratified", o.generate.spec.stratified, "every request takes its own quantile");
  generate->add_option("--classes", o.generate.spec.classes, "classes of requests that share a prompt prefix");
  generate->add_option("--prefix", o.generate.spec.prefix_tokens, "tokens of that prefix");
  generate->add_option("--block-tokens", o.generate.spec.block_tokens, "tokens behind one block identity");
  generate->add_option("--seed", o.generate.spec.seed, "seed");
  generate->add_option("--to", o.generate.format, "tessera | mooncake; auto: by the file's name");
  generate->add_option("--out", o.generate.output, "file, compressed by suffix; -: standard output")->required();
  generate->footer(
      "Example: tessera trace generate --arrivals gamma --rate 5.5 --cv 1.1 --requests 1000\n"
      "           --input quantiles:p50=1020,p90=2735,max=14050 --output lognormal:mean=211,cv=0.8 --out load.csv.gz");
  generate->callback([&o, &code] {
    o.generate.spec.arrivals.kind = parse_arrival_kind(o.arrivals);
    code = trace_generate(o.generate, std::cout, std::cerr);
  });

  CLI::App* convert = trace->add_subcommand("convert", "any format to our CSV or Mooncake JSONL");
  convert->add_option("TRACE", o.convert.input, "trace file")->required();
  add_read_options(*convert, o.convert.read);
  convert->add_option("--to", o.convert.format, "tessera | mooncake; auto: by the file's name");
  convert->add_option("--out", o.convert.output, "file, compressed by suffix; -: standard output")->required();
  convert->callback([&o, &code] { code = trace_convert(o.convert, std::cout, std::cerr); });
}

}  // namespace tessera
