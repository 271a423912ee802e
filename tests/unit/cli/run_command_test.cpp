// `tessera run`: what it writes where, that equal runs are equal, and that its files agree with one another.
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "models/base/yaml.hpp"
#include "sim/cli/commands.hpp"
#include "tests/support/captured.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

const char* const kQuickstart = TESSERA_SOURCE_DIR "/configs/quickstart.yaml";

RunOptions short_run() {
  RunOptions o;
  o.config = kQuickstart;
  o.overrides = {"trace.limit=50"};
  o.quiet = true;
  return o;
}
test::Captured run(const RunOptions& o) {
  return test::captured([&] { return run_command(o); });
}
Json summary_of(RunOptions o) {
  o.json = true;
  return run(o).json();
}
Json without_volatile(Json json) {
  json.erase("volatile");
  return json;
}
std::string unpacked(const std::string& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  EXPECT_NE(file, nullptr);
  std::string text, buffer(1 << 16, '\0');
  for (int n; (n = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0;)
    text.append(buffer, 0, static_cast<std::size_t>(n));
  gzclose(file);
  return text;
}
std::vector<std::string> lines_of(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(RunCommand, QuietPrintsNothingAndJsonOnlyTheSummary) {
  RunOptions o = short_run();
  const test::Captured quiet = run(o);
  EXPECT_EQ(quiet.code, kOk);
  EXPECT_EQ(quiet.out, "");
  EXPECT_EQ(quiet.err, "");
  o.quiet = false, o.json = true;
  const test::Captured json = run(o);
  EXPECT_EQ(json.json()["completed"], 50);
  EXPECT_EQ(json.err, "");
}

TEST(RunCommand, APipeGetsNoColours) {
  RunOptions o = short_run();
  o.quiet = false;
  const test::Captured people = run(o);
  EXPECT_NE(people.out.find("50 requests completed"), std::string::npos);
  EXPECT_EQ(people.out.find('\x1b'), std::string::npos);
  EXPECT_EQ(people.err, "") << "and no progress bar";
}

TEST(RunCommand, SummariesHaveTheKeysOfTheInterface) {
  const Json json = summary_of(short_run());
  for (const char* key :
       {"completed", "rejected", "duration", "total_input_tokens", "total_output_tokens",
        "request_throughput", "output_throughput", "total_token_throughput", "request_goodput", "kv", "bytes",
        "steps", "calibration", "definitions", "warnings", "volatile"})
    EXPECT_TRUE(json.contains(key)) << key;
  for (const char* metric : {"ttft", "tpot", "itl", "e2el"})
    for (const char* of : {"mean", "median", "p90", "p95", "p99"})
      EXPECT_TRUE(json.contains(std::string(of) + "_" + metric + "_ms")) << of << ' ' << metric;
  for (const char* key : {"capacity_blocks", "peak_blocks", "useful_fraction", "internal_waste_fraction",
                          "external_waste_fraction", "reserved_fraction", "prefix_hit_ratio", "preemptions",
                          "evictions", "mean_batched_requests"})
    EXPECT_TRUE(json["kv"].contains(key)) << key;
}

TEST(RunCommand, TheFolderHoldsWhatTheInterfaceSays) {
  RunOptions o = short_run();
  o.out = test::scratch("results/of/this");
  const Json printed = summary_of(o);
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(o.out)) names.insert(entry.path().filename());
  for (const char* name :
       {"summary.json", "requests.csv", "resolved.yaml", "manifest.json", "timeline.json.gz"})
    EXPECT_TRUE(names.contains(name)) << name;
  const Json stored = Json::parse(std::ifstream(o.out + "/summary.json"));
  EXPECT_EQ(stored.dump(), printed.dump()) << "--json prints the file";

  const std::vector<std::string> rows = lines_of(o.out + "/requests.csv");
  ASSERT_EQ(rows.size(), 1u + 50);
  EXPECT_EQ(
      rows[0],
      "request_id,arrival_s,input_tokens,output_tokens,cached_tokens,queued_s,scheduled_s,first_token_s,"
      "finish_s,ttft_ms,tpot_ms,e2el_ms,preemptions");
  EXPECT_TRUE(Json::parse(unpacked(o.out + "/timeline.json.gz")).contains("traceEvents"));
}

TEST(RunCommand, TotalsAreThoseOfTheRequestsWritten) {
  RunOptions o = short_run();
  o.out = test::scratch("results");
  const Json json = summary_of(o);
  std::map<std::string, std::vector<double>> columns = test::read_columns(o.out + "/requests.csv");
  double input = 0, output = 0, last = 0, preemptions = 0;
  for (std::size_t i = 0; i < columns["arrival_s"].size(); ++i) {
    input += columns["input_tokens"][i], output += columns["output_tokens"][i];
    preemptions += columns["preemptions"][i];
    last = std::max(last, columns["finish_s"][i]);
    // Times are written to the nanosecond: three roundings of half a one.
    EXPECT_NEAR(columns["e2el_ms"][i], 1e3 * (columns["finish_s"][i] - columns["arrival_s"][i]), 2e-6);
    EXPECT_NEAR(columns["ttft_ms"][i], 1e3 * (columns["first_token_s"][i] - columns["arrival_s"][i]), 2e-6);
    EXPECT_LE(columns["arrival_s"][i], columns["queued_s"][i]);
    EXPECT_LE(columns["queued_s"][i], columns["scheduled_s"][i]);
  }
  EXPECT_EQ(json["total_input_tokens"], input);
  EXPECT_EQ(json["total_output_tokens"], output);
  EXPECT_EQ(json["kv"]["preemptions"], preemptions);
  EXPECT_NEAR(json["duration"].get<double>(), last, 1e-9);
  EXPECT_NEAR(json["mean_ttft_ms"].get<double>(), test::mean(columns["ttft_ms"]), 1e-6);
}

TEST(RunCommand, EqualRunsDifferInVolatileAlone) {
  const Json a = summary_of(short_run()), b = summary_of(short_run());
  EXPECT_EQ(without_volatile(a).dump(), without_volatile(b).dump());
}

TEST(RunCommand, TheResolvedConfigGivesTheSameRun) {
  RunOptions o = short_run();
  o.overrides = {"trace.limit=50", "memory.kv_blocks=700", "slo.ttft_ms=123", "model.layers=16",
                 "engine.profile.async_depth=1"};
  o.out = test::scratch("first");
  const Json first = summary_of(o);
  RunOptions again;
  again.config = o.out + "/resolved.yaml";
  EXPECT_EQ(without_volatile(summary_of(again)).dump(), without_volatile(first).dump());
}

TEST(RunCommand, TheSeedOfTheCommandLineIsTheOneOfTheRun) {
  RunOptions o = short_run();
  o.seed = 77;
  EXPECT_EQ(summary_of(o)["seed"], 77);
  o.overrides.emplace_back("seed=5");
  EXPECT_EQ(summary_of(o)["seed"], 77) << "before --set";
}

TEST(RunCommand, ALaterOverrideOfAKeyCounts) {
  RunOptions o = short_run();
  o.overrides.emplace_back("trace.limit=3");
  EXPECT_EQ(summary_of(o)["completed"], 3);
}

TEST(RunCommand, ARequestThatNeverFitsIsRejectedAndTheRunSucceeds) {
  RunOptions o = short_run();
  o.trace = test::scratch("trace.csv");
  std::ofstream(o.trace) << "request_id,arrival_s,input_tokens,output_tokens\na,0,1000,5\nb,1,10,5\n";
  o.overrides = {"memory.kv_blocks=10"};  // nine of 16 tokens beside the null block
  o.json = true;
  const test::Captured result = run(o);
  EXPECT_EQ(result.code, kOk);
  EXPECT_EQ(result.json()["completed"], 1);
  EXPECT_EQ(result.json()["rejected"], 1);
  EXPECT_EQ(result.json()["rejected_reasons"].size(), 1u);
}

TEST(RunCommand, TheManifestNamesWhatItRead) {
  RunOptions o = short_run();
  o.out = test::scratch("results");
  run(o);
  const Json manifest = Json::parse(std::ifstream(o.out + "/manifest.json"));
  EXPECT_EQ(manifest["config"]["file"], kQuickstart);
  EXPECT_EQ(manifest["config"]["bytes"], fs::file_size(kQuickstart));
  EXPECT_EQ(manifest["program"].get<std::string>().rfind("tessera ", 0), 0u);
  EXPECT_EQ(manifest["seed"], 0);
  // FNV-1a of 64 bits, as its authors publish it.
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : read_file(kQuickstart))
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  std::ostringstream hex;
  hex << std::hex << std::setw(16) << std::setfill('0') << hash;
  EXPECT_EQ(manifest["config"]["fnv1a64"], hex.str());
}

TEST(RunErrors, LeaveNoHalfWrittenResults) {
  RunOptions o = short_run();
  o.out = test::scratch("results");
  o.overrides = {"memory.kv_blocks=1"};
  EXPECT_NE(test::complaint([&] { return run_command(o); }).find("at least 2"), std::string::npos);
  EXPECT_FALSE(fs::exists(o.out + "/summary.json"));
}

TEST(RunErrors, AFileInTheWayOfTheFolderIsSaid) {
  RunOptions o = short_run();
  o.out = test::scratch("taken");
  std::ofstream(o.out) << "a file";
  try {
    run(o);
    FAIL() << "a file is no folder";
  } catch (const std::exception& error) {
    EXPECT_NE(std::string(error.what()).find(o.out), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace tessera
