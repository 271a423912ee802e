#include "sim/cli/trace_options.hpp"

#include <CLI/CLI.hpp>
#include <iostream>

#include "models/base/error.hpp"
#include "sim/cli/number_check.hpp"

namespace tessera {
namespace {

void add_read_options(CLI::App& app, ReadOptions& read) {
  app.add_option("--format", read.format, "trace format; auto: by content");
  app.add_option("--limit", read.limit, "only the first so many requests")
      ->check(number_from(1, 9007199254740992.0, "a whole number of at least 1"));
  app.add_option("--seed", read.seed, "seed of what a trace leaves open (client rates)");
}

void add_lengths(CLI::App& app, LengthSpec& lengths, std::string& lengths_from) {
  app.add_option("--input-lengths", lengths.input,
                 "prompt lengths: fixed:N, lognormal:mean=M,cv=C, quantiles:p50=A,p90=B,max=X");
  app.add_option("--output-lengths", lengths.output, "answer lengths, likewise");
  app.add_option("--lengths", lengths_from, "trace:FILE: draw lengths from the rows of this trace instead");
}

std::string file_of(const std::string& text) {
  if (text.empty()) return "";
  if (text.rfind("trace:", 0) != 0)
    throw InputError({"--lengths", 0, 0}, "'" + text + "' is not valid, expected trace:FILE");
  return text.substr(6);
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
  add_lengths(*generate, o.generate.spec.lengths, o.lengths_from);
  generate->add_flag("--stratified", o.generate.spec.stratified, "every request takes its own quantile");
  generate->add_option("--classes", o.generate.spec.classes,
                       "classes of requests that share a prompt prefix");
  generate->add_option("--prefix-tokens", o.generate.spec.prefix_tokens, "tokens of that prefix");
  generate->add_option("--block-tokens", o.generate.spec.block_tokens, "tokens behind one block identity");
  generate->add_option("--seed", o.generate.spec.seed, "seed");
  generate->add_option("--to", o.generate.format, "tessera | mooncake; auto: by the file's name");
  generate->add_option("--out", o.generate.output, "file, compressed by suffix; -: standard output")
      ->required();
  generate->add_option("--comment", o.generate.comment, "a line for the head of the file (may be repeated)")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  generate->footer(
      "Example: tessera trace generate --arrivals gamma --rate 5.5 --cv 1.1 --requests 1000\n"
      "           --input-lengths quantiles:p50=1020,p90=2735,max=14050 --output-lengths "
      "lognormal:mean=211,cv=0.8 --out load.csv.gz");
  generate->callback([&o, &code] {
    o.generate.spec.arrivals.kind = parse_arrival_kind(o.arrivals);
    o.generate.spec.lengths.trace = file_of(o.lengths_from);
    code = trace_generate(o.generate, std::cout, std::cerr);
  });

  CLI::App* zipf = trace->add_subcommand("zipf", "draw cache keys from a Zipf law (oracleGeneral records)");
  zipf->add_option("--requests", o.zipf.requests, "how many (10,000,000)");
  zipf->add_option("--objects", o.zipf.objects, "different keys to draw from (1,000,000)");
  zipf->add_option("--alpha", o.zipf.alpha, "skew: key k has weight k^-alpha (1.0)");
  zipf->add_option("--size", o.zipf.size, "bytes of every object (1)");
  zipf->add_option("--seed", o.zipf.seed, "seed");
  zipf->add_option("--out", o.zipf_output, "file, compressed by suffix; -: standard output")->required();
  zipf->footer(
      "Example: tessera trace zipf --alpha 1.0 --out zipf.bin && tessera cache zipf.bin --blocks 100k");
  zipf->callback([&o, &code] { code = trace_zipf(o.zipf, o.zipf_output, std::cout, std::cerr); });

  CLI::App* convert = trace->add_subcommand("convert", "any format to our CSV or Mooncake JSONL");
  convert->add_option("TRACE", o.convert.input, "trace file")->required();
  add_read_options(*convert, o.convert.read);
  convert->add_option("--arrivals", o.convert_arrivals,
                      "for a trace without arrival times: poisson | gamma | periodic");
  convert->add_option("--rate", o.convert_rate.rate, "requests per second of those");
  convert->add_option("--cv", o.convert_rate.cv, "coefficient of variation of those (gamma)");
  LengthSpec& lengths = o.convert_lengths;
  convert->add_option("--input-lengths", lengths.input, "for client rates: prompt lengths");
  convert->add_option("--output-lengths", lengths.output, "for client rates: answer lengths");
  convert->add_option("--to", o.convert.format, "tessera | mooncake; auto: by the file's name");
  convert->add_option("--out", o.convert.output, "file, compressed by suffix; -: standard output")
      ->required();
  convert->callback([&o, &code] {
    if (!o.convert_arrivals.empty()) {
      o.convert_rate.kind = parse_arrival_kind(o.convert_arrivals);
      o.convert.read.arrivals = o.convert_rate;
    }
    if (!o.convert_lengths.input.empty() || !o.convert_lengths.output.empty())
      o.convert.read.lengths = o.convert_lengths;
    code = trace_convert(o.convert, std::cout, std::cerr);
  });
}

}  // namespace tessera
