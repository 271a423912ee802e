#include "sim/report/requests_csv.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/report/files.hpp"

namespace tessera {
namespace {

std::string seconds_text(std::int64_t ps) {
  return ps < 0 ? "" : fmt::format("{:.9f}", static_cast<double>(ps) * 1e-12);
}

std::string ms_text(std::int64_t ps) { return fmt::format("{:.6f}", static_cast<double>(ps) * 1e-9); }

// A cell with a comma, a quote or a line break is quoted.
std::string cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

void RequestsCsv::add(const RequestRecord& record, std::string_view id) {
  rows_.push_back({record, id.empty() ? std::to_string(record.row) : std::string(id)});
}

std::string RequestsCsv::text() const {
  std::vector<const Row*> order;
  order.reserve(rows_.size());
  for (const Row& row : rows_) order.push_back(&row);
  std::sort(order.begin(), order.end(),
            [](const Row* a, const Row* b) { return a->record.row < b->record.row; });
  std::string out =
      "request_id,arrival_s,input_tokens,output_tokens,cached_tokens,queued_s,scheduled_s,first_token_s,"
      "finish_s,"
      "ttft_ms,tpot_ms,e2el_ms,preemptions\n";
  for (const Row* row : order) {
    const RequestRecord& r = row->record;
    const bool done = r.finish_ps >= 0;
    const std::string tpot = done && r.output_tokens > 1
                                 ? fmt::format("{:.6f}", static_cast<double>(r.finish_ps - r.first_token_ps) *
                                                             1e-9 / (r.output_tokens - 1))
                                 : "";
    fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{},{},{},{},{},{}\n", cell(row->id),
                   seconds_text(r.arrival_ps), r.input_tokens, r.output_tokens, r.cached_tokens,
                   seconds_text(r.queued_ps), seconds_text(r.scheduled_ps), seconds_text(r.first_token_ps),
                   seconds_text(r.finish_ps), done ? ms_text(r.first_token_ps - r.arrival_ps) : "", tpot,
                   done ? ms_text(r.finish_ps - r.arrival_ps) : "", r.preemptions);
  }
  return out;
}

void RequestsCsv::write(const std::string& path) const { write_file(path, text()); }

}  // namespace tessera
