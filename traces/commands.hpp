// `trace stats | generate | convert` and `list formats` behind a command line: each takes a struct of
// options, writes data to `out` or a file, words for people to `log`, and returns the exit code. Bad input
// and contradictory options throw InputError.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "traces/generate.hpp"
#include "traces/options.hpp"

namespace tessera {

struct TraceStatsOptions {
  std::string file;
  ReadOptions read;  // need_arrivals is ignored: statistics of lengths need none
  bool json = false;
};
int trace_stats(const TraceStatsOptions& options, std::ostream& out);

struct TraceGenerateOptions {
  GenerateSpec spec;
  std::string output;                // a file, compressed by suffix; "-": `out`
  std::string format = "auto";       // tessera, mooncake, auto: by the file's name
  std::vector<std::string> comment;  // lines for the head of our CSV, after what made it
};
int trace_generate(const TraceGenerateOptions& options, std::ostream& out, std::ostream& log);

struct TraceConvertOptions {
  std::string input;
  ReadOptions read;
  std::string output;  // as above
  std::string format = "auto";
};
int trace_convert(const TraceConvertOptions& options, std::ostream& out, std::ostream& log);

int list_trace_formats(std::ostream& out);

}  // namespace tessera
