// The report as `validate --json` prints it and as a table for people.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "validation/validate.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

double rounded(double value) { return std::round(value * 1e4) / 1e4; }

Json json_of(const ErrorSummary& s) {
  return {{"rows", s.rows},
          {"mape", rounded(s.mape)},
          {"median_ape", rounded(s.median_ape)},
          {"p90_ape", rounded(s.p90_ape)},
          {"bias", rounded(s.bias)},
          {"rank_correlation", rounded(s.rank_correlation)}};
}

Json terms_of(const OpTime& t) {
  return {{"compute_us", rounded(t.compute)}, {"hbm_us", rounded(t.hbm)},       {"l2_us", rounded(t.l2)},
          {"link_us", rounded(t.link)},       {"launch_us", rounded(t.launch)}, {"host_us", rounded(t.host)}};
}

std::string line(const std::string& name, const ErrorSummary& s) {
  return fmt::format(
      "  {:<52} {:>7} rows  median {:>5.1f} %  mean {:>5.1f} %  p90 {:>5.1f} %  bias {:>+6.1f} %  rank "
      "{:>6.3f}\n",
      name, s.rows, s.median_ape, s.mape, s.p90_ape, s.bias, s.rank_correlation);
}

}  // namespace

std::string to_json(const ValidationReport& r) {
  Json root = {{"kernel", r.kernel},
               {"gpu", r.gpu},
               {"rows", r.rows},
               {"used", r.used.rows},
               {"flagged", r.flagged},
               {"unsupported", r.unsupported},
               {"mape", rounded(r.used.mape)},
               {"median_ape", rounded(r.used.median_ape)},
               {"p90_ape", rounded(r.used.p90_ape)},
               {"bias", rounded(r.used.bias)},
               {"rank_correlation", rounded(r.used.rank_correlation)},
               {"in_sample", json_of(r.in_sample)},
               {"held_out", json_of(r.held_out)},
               {"out_of_range", json_of(r.out_of_range)}};
  root["groups"] = Json::array();
  for (const auto& [name, summary] : r.groups) {
    const std::size_t equals = name.find('=');
    Json group = {{"by", name.substr(0, equals)}, {"value", name.substr(equals + 1)}};
    group.update(json_of(summary));
    root["groups"].push_back(group);
  }
  root["worst"] = Json::array();
  for (const WorstRow& w : r.worst)
    root["worst"].push_back({{"file", w.file},
                             {"line", w.line},
                             {"shape", w.shape},
                             {"measured_us", rounded(w.measured_us)},
                             {"predicted_us", rounded(w.predicted.total)},
                             {"ratio", rounded(w.predicted.total / w.measured_us)},
                             {"terms", terms_of(w.predicted)}});
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string to_text(const ValidationReport& r) {
  std::string text = fmt::format("{} on {}: {} rows, {} used, {} flagged, {} unsupported\n", r.kernel, r.gpu,
                                 r.rows, r.used.rows, r.flagged, r.unsupported);
  text += line("all", r.used);
  if (r.in_sample.rows > 0) text += line("in sample", r.in_sample);
  if (r.held_out.rows > 0) text += line("held out", r.held_out);
  if (r.out_of_range.rows > 0) text += line("out of range", r.out_of_range);
  for (const auto& [name, summary] : r.groups) text += line(name, summary);
  for (const WorstRow& w : r.worst)
    text += fmt::format(
        "  line {}: {}: measured {:.2f} us, predicted {:.2f} us (compute {:.2f}, hbm {:.2f}, l2 {:.2f}, "
        "link {:.2f}, launch {:.2f}, host {:.2f})\n",
        w.line, w.shape, w.measured_us, w.predicted.total, w.predicted.compute, w.predicted.hbm,
        w.predicted.l2, w.predicted.link, w.predicted.launch, w.predicted.host);
  return text;
}

}  // namespace tessera
