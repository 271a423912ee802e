// timeline.json.gz: Chrome trace events that Perfetto opens.
#include "sim/report/timeline.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <map>
#include <nlohmann/json.hpp>

namespace tessera {
namespace {

using Json = nlohmann::json;
constexpr std::int64_t kMs = 1'000'000'000;  // in ps

std::string gunzip(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(1 << 22, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}
Json events_of(const Timeline& timeline) { return Json::parse(gunzip(timeline.gzipped()))["traceEvents"]; }

StepRecord step(std::int64_t start_ms, std::int64_t decodes, std::int64_t prefill, int engine = 0) {
  StepRecord s;
  s.engine = engine;
  s.start_ps = start_ms * kMs, s.end_ps = (start_ms + 5) * kMs;
  s.decodes = decodes, s.prefill_tokens = prefill;
  s.running = 4, s.waiting = 2, s.used_blocks = 77;
  return s;
}
RequestRecord request(std::uint32_t row) {
  RequestRecord r;
  r.row = row, r.input_tokens = 12, r.output_tokens = 3;
  r.arrival_ps = 1 * kMs, r.scheduled_ps = 2 * kMs, r.first_token_ps = 4 * kMs, r.finish_ps = 9 * kMs;
  return r;
}

TEST(Timeline, AStepIsASliceAndTwoCounters) {
  Timeline timeline;
  timeline.step(step(10, 3, 0));
  timeline.step(step(20, 0, 64));
  timeline.step(step(30, 3, 64));
  std::vector<std::string> kinds;
  int counters = 0;
  for (const Json& e : events_of(timeline)) {
    if (e["ph"] == "C") ++counters;
    if (e["ph"] != "X") continue;
    kinds.push_back(e["name"]);
    EXPECT_DOUBLE_EQ(e["dur"], 5000) << "microseconds";
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"decode", "prefill", "mixed"}));
  EXPECT_EQ(counters, 6);
}

TEST(Timeline, ARequestWaitsIsPrefilledAndDecodesWithoutAGap) {
  Timeline timeline;
  timeline.request(request(5), "req \"5\"");
  std::map<std::string, std::pair<double, double>> slices;
  for (const Json& e : events_of(timeline)) {
    if (e["ph"] == "b") {
      slices[e["name"]].first = e["ts"];
      EXPECT_EQ(e["args"]["request"], "req \"5\"");
      EXPECT_EQ(e["args"]["input"], 12);
    }
    if (e["ph"] == "e") slices[e["name"]].second = e["ts"];
  }
  EXPECT_EQ(slices["waiting"], std::make_pair(1000.0, 2000.0));
  EXPECT_EQ(slices["prefill"], std::make_pair(2000.0, 4000.0));
  EXPECT_EQ(slices["decode"], std::make_pair(4000.0, 9000.0));
}

TEST(Timeline, RejectedRequestsHaveNoSlice) {
  Timeline timeline;
  RequestRecord r = request(0);
  r.finish_ps = -1;
  timeline.request(r, "x");
  for (const Json& e : events_of(timeline)) EXPECT_EQ(e["ph"], "M");
}

TEST(Timeline, EveryEngineHasAProcessWithAName) {
  Timeline timeline;
  for (const int engine : {0, 2, 1, 2}) timeline.step(step(engine, 1, 0, engine));
  std::map<int, std::string> names;
  for (const Json& e : events_of(timeline))
    if (e["ph"] == "M" && e["name"] == "process_name") {
      EXPECT_FALSE(names.contains(e["pid"])) << "named once";
      names[e["pid"]] = e["args"]["name"];
    }
  for (const Json& e : events_of(timeline)) EXPECT_TRUE(names.contains(e["pid"])) << e.dump();
  EXPECT_EQ(names.size(), 4U) << "three engines and the requests";
}

TEST(Timeline, LongRunsAreCutAndSaySo) {
  Timeline timeline(3);
  for (int i = 0; i < 10; ++i) timeline.step(step(i, 1, 0));
  const Json json = Json::parse(gunzip(timeline.gzipped()));
  EXPECT_EQ(json["otherData"]["events_left_out"], "7");
  int steps = 0;
  for (const Json& e : json["traceEvents"]) steps += e["ph"] == "X";
  EXPECT_EQ(steps, 3);
}

TEST(Timeline, PicosecondsStayExact) {
  Timeline timeline;
  StepRecord s = step(0, 1, 0);
  s.start_ps = 1, s.end_ps = 1'000'002;
  timeline.step(s);
  const std::string text = gunzip(timeline.gzipped());
  EXPECT_NE(text.find("\"ts\":0.000001,\"dur\":1.000001"), std::string::npos) << text;
}

TEST(Timeline, JunkInANameDoesNotBreakTheDocument) {
  Timeline timeline;
  timeline.request(request(0), "\xff\xfe\x01 </script> \\");
  EXPECT_NO_THROW(static_cast<void>(events_of(timeline)));
}

}  // namespace
}  // namespace tessera
