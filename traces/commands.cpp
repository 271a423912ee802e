#include "traces/commands.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <ostream>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "traces/formats.hpp"
#include "traces/open.hpp"
#include "traces/stats.hpp"
#include "traces/writer.hpp"

namespace tessera {
namespace {

std::unique_ptr<ByteSink> open_output(const std::string& path, std::ostream& out) {
  if (path.empty()) throw InputError("output: no file is named, expected one, or - for standard output");
  return path == "-" ? to_stream(out) : create_file(path);
}

std::int64_t copy(TraceReader& from, TraceWriter& to) {
  std::int64_t requests = 0;
  Request request;
  while (from.next(request)) {
    to.write(request);
    ++requests;
  }
  to.finish();
  return requests;
}

bool same_file(const std::string& a, const std::string& b) {
  std::error_code no_such_file;
  return std::filesystem::equivalent(a, b, no_such_file);
}

}  // namespace

int trace_stats(const TraceStatsOptions& options, std::ostream& out) {
  ReadOptions read = options.read;
  read.need_arrivals = false;
  const auto trace = open_trace(options.file, read);
  const TraceStats stats = trace_statistics(*trace);
  out << (options.json ? stats_json(stats, trace->info()) : stats_table(stats, trace->info()));
  return 0;
}

int trace_generate(const TraceGenerateOptions& options, std::ostream& out, std::ostream& log) {
  const std::string format = output_format(options.format, options.output);
  std::vector<std::string> comment{"Drawn by Tessera's trace generator; no row is a measured request."};
  comment.push_back(command_line(options.spec));
  comment.insert(comment.end(), options.comment.begin(), options.comment.end());
  for (const std::string& line : comment)
    if (line.find_first_of("\r\n") != std::string::npos)
      throw InputError("comment: holds a line break, expected one line per comment");
  if (!options.comment.empty() && format != "tessera")
    throw InputError("comment: JSONL has no comments, expected CSV output");
  const auto trace = generate_trace(options.spec);
  const auto writer = make_writer(format, open_output(options.output, out), trace->info(), comment);
  const std::int64_t requests = copy(*trace, *writer);
  log << fmt::format("{} requests written to {}\n", human_count(requests), options.output);
  return 0;
}

int trace_convert(const TraceConvertOptions& options, std::ostream& out, std::ostream& log) {
  const std::string format = output_format(options.format, options.output);
  if (same_file(options.input, options.output))
    throw InputError(options.output + ": is the input itself, expected another file to write");
  const auto trace = open_trace(options.input, options.read);
  const TraceInfo& info = trace->info();
  const auto writer = make_writer(format, open_output(options.output, out), info);
  const std::int64_t requests = copy(*trace, *writer);
  log << fmt::format("{} requests written to {} ({})\n", human_count(requests), options.output, format);
  for (const SkippedRows& skipped : info.skipped)
    log << fmt::format("{} rows skipped: {}\n", human_count(skipped.rows), skipped.reason);
  for (const std::string& note : info.notes) log << "note: " << note << '\n';
  if (format == "mooncake" && (info.has_sessions || info.has_classes || info.has_tenants))
    log << "note: Mooncake JSONL has no sessions, prompt classes and tenants; they were left out\n";
  return 0;
}

int list_trace_formats(std::ostream& out) {
  for (const TraceFormat& format : trace_formats())
    out << fmt::format("{:<10} {}\n", format.name, format.description);
  return 0;
}

}  // namespace tessera
