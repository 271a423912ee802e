// Laws of whole runs: what must come out the same, and what must move one way, whatever the model and card.
#include <gtest/gtest.h>

#include <fstream>
#include <tuple>

#include "sim/serving/simulate.hpp"
#include "tests/support/run_data.hpp"

namespace tessera {
namespace {

using Keys = std::vector<std::string>;

struct Row {
  std::int64_t arrival_ms;
  int input, output;
  std::string blocks = {};  // of 16 tokens
};

// A burst now and then, prompts from short to beyond the budget of a step, a third of them of one family.
std::vector<Row> load(int requests) {
  std::vector<Row> rows;
  std::int64_t at = 0;
  for (int i = 0; i < requests; ++i) {
    at += i % 7 == 0 ? 900 : 13 * (i % 4);
    Row row{at, 40 + (i * 977) % 3000, 1 + (i * 61) % 150};
    for (int b = 0; b < row.input / 16; ++b)
      row.blocks += (b > 0 ? " " : "") + std::to_string(i % 3 == 0 && b < 30 ? b + 1 : 1000 * (i + 1) + b);
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string written(const std::string& name, const std::vector<Row>& rows, bool with_blocks) {
  const std::string path = test::scratch(name);
  std::ofstream out(path);
  out << "request_id,arrival_s,input_tokens,output_tokens" << (with_blocks ? ",block16_ids\n" : "\n");
  char seconds[32];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::int64_t ms = rows[i].arrival_ms;
    std::snprintf(seconds, sizeof seconds, "%lld.%03lld", static_cast<long long>(ms / 1000),
                  static_cast<long long>(ms % 1000));
    out << rows[i].arrival_ms << '-' << i << ',' << seconds << ',' << rows[i].input << ',' << rows[i].output;
    if (with_blocks) out << ',' << rows[i].blocks;
    out << '\n';
  }
  return path;
}

// Of one request, from its arrival on.
struct Outcome {
  std::int64_t queued_ps, scheduled_ps, first_ps, finish_ps;
  std::int32_t cached, preemptions;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

struct Ran {
  RunResult result;
  std::vector<Outcome> by_row;
};

Ran ran(const std::string& trace, const Keys& keys) {
  Ran out;
  RunHooks hooks;
  hooks.on_request = [&out](const RequestRecord& r, std::string_view) {
    if (out.by_row.size() <= r.row) out.by_row.resize(r.row + 1);
    out.by_row[r.row] = {r.queued_ps - r.arrival_ps,
                         r.scheduled_ps - r.arrival_ps,
                         r.first_token_ps - r.arrival_ps,
                         r.finish_ps - r.arrival_ps,
                         r.cached_tokens,
                         r.preemptions};
  };
  out.result = simulate(load_run_config(TESSERA_SOURCE_DIR "/configs/quickstart.yaml", keys, trace), hooks);
  return out;
}

// Enough room for two of the longest, so that requests wait and give way.
const Keys kTight{"memory.kv_blocks=500"};

Keys plus(Keys keys, const Keys& more) {
  keys.insert(keys.end(), more.begin(), more.end());
  return keys;
}

TEST(RunLaws, ReplicasAreAsManyEnginesWithTheirShareOfTheTrace) {
  const std::vector<Row> rows = load(60);
  const Ran together = ran(written("all.csv", rows, true), plus(kTight, {"replicas=3"}));
  std::int64_t preemptions = 0;
  for (std::size_t part = 0; part < 3; ++part) {
    std::vector<Row> share;
    for (std::size_t i = part; i < rows.size(); i += 3) share.push_back(rows[i]);
    const Ran alone = ran(written("part" + std::to_string(part) + ".csv", share, true), kTight);
    ASSERT_EQ(alone.by_row.size(), share.size());
    for (std::size_t i = 0; i < share.size(); ++i)
      EXPECT_EQ(alone.by_row[i], together.by_row[part + 3 * i]) << "request " << part + 3 * i;
    preemptions += alone.result.metrics.preemptions;
  }
  EXPECT_EQ(together.result.metrics.preemptions, preemptions);
}

TEST(RunLaws, ARateScaleIsTheSameAsDenserArrivals) {
  std::vector<Row> rows = load(40);
  for (Row& row : rows) row.arrival_ms *= 4;
  const Ran scaled = ran(written("sparse.csv", rows, false), {"trace.rate_scale=4"});
  for (Row& row : rows) row.arrival_ms /= 4;
  const Ran dense = ran(written("dense.csv", rows, false), {});
  EXPECT_EQ(scaled.by_row, dense.by_row);
}

TEST(RunLaws, ALimitIsAShorterTrace) {
  std::vector<Row> rows = load(40);
  const Ran limited = ran(written("long.csv", rows, true), {"trace.limit=25"});
  rows.resize(25);
  EXPECT_EQ(limited.by_row, ran(written("short.csv", rows, true), {}).by_row);
}

TEST(RunLaws, WithoutBlocksInTheTraceNoKindOfReuseChangesAnything) {
  const std::string trace = written("plain.csv", load(40), false);
  const Ran plain = ran(trace, {});
  for (const Keys& keys :
       {Keys{"memory.prefix_cache=off"}, Keys{"memory.cache_salt=session"},
        Keys{"memory.tiers=[{name: host, capacity_gib: 4}]"}, Keys{"memory.preemption=swap"}})
    EXPECT_EQ(ran(trace, keys).by_row, plain.by_row) << keys.front();
}

TEST(RunLaws, ARequestAloneIsServedTheSameByEverySchedulerAndAllocator) {
  for (const Row& row : {Row{0, 700, 40}, Row{0, 5000, 3}, Row{0, 1, 1}}) {
    const std::string trace = written("one.csv", {row}, false);
    const Ran paged = ran(trace, {"memory.kv_blocks=1000"});
    for (const char* key :
         {"engine.scheduler=sarathi", "engine.scheduler=sglang", "memory.allocator=contiguous-oracle",
          "memory.allocator=contiguous-pow2", "memory.prefix_cache=radix", "memory.block_scope=group",
          "engine.profile.async_depth=1"})
      EXPECT_EQ(ran(trace, {"memory.kv_blocks=1000", key}).by_row, paged.by_row) << key << ", " << row.input;
  }
}

TEST(RunLaws, MappedMemoryThatMapsInNoTimeIsPagedMemory) {
  const std::string trace = written("plain.csv", load(30), false);
  const Ran mapped = ran(trace, {"memory.allocator=vmm", "memory.vmm.map_us=0", "memory.vmm.unmap_us=0"});
  EXPECT_EQ(mapped.by_row, ran(trace, {}).by_row) << "with room for all";
  EXPECT_EQ(mapped.result.metrics.map_stall_ps, 0);
}

TEST(RunLaws, HostTimeOfASynchronousEngineIsAddedToEveryStep) {
  const std::string trace = written("one.csv", {Row{0, 500, 21}}, false);
  const Keys quiet{"engine.profile=ideal"};
  const Ran without = ran(trace, quiet);
  const Ran with = ran(trace, plus(quiet, {"engine.profile.host_base_us=300"}));
  // One prefill step and twenty decode steps wait for it.
  EXPECT_EQ(with.by_row[0].finish_ps - without.by_row[0].finish_ps, 21 * 300'000'000LL);
  EXPECT_EQ(with.by_row[0].first_ps - without.by_row[0].first_ps, 300'000'000LL);
}

TEST(RunLaws, TheFrontendDelaysEveryFirstTokenAndNothingElseOfALoneRequest) {
  const std::string trace = written("one.csv", {Row{0, 500, 21}}, false);
  const Ran without = ran(trace, {"engine.profile.frontend_ttft_ms=0"});
  const Ran with = ran(trace, {"engine.profile.frontend_ttft_ms=25"});
  EXPECT_EQ(with.by_row[0].first_ps - without.by_row[0].first_ps, 25'000'000'000LL);
  EXPECT_EQ(with.by_row[0].finish_ps - without.by_row[0].finish_ps, 25'000'000'000LL);
}

TEST(RunLaws, AReusedPrefixIsExactlyTheTokensNotComputed) {
  const std::string trace = written("blocks.csv", load(60), true);
  const Ran off = ran(trace, {"memory.prefix_cache=off"}), on = ran(trace, {});
  const Metrics &a = off.result.metrics, &b = on.result.metrics;
  EXPECT_EQ(a.preemptions, 0);
  EXPECT_EQ(b.preemptions, 0);
  EXPECT_GT(b.prompt_tokens_hit, 0);
  EXPECT_EQ(a.prefill_tokens - b.prefill_tokens, b.prompt_tokens_hit);
  EXPECT_EQ(a.decode_tokens, b.decode_tokens);
}

TEST(RunLaws, TokensAreConservedWhateverMemoryDoes) {
  const std::vector<Row> rows = load(60);
  const std::string trace = written("blocks.csv", rows, true);
  std::int64_t input = 0, output = 0;
  for (const Row& row : rows) input += row.input, output += row.output;
  for (const Keys& keys :
       {Keys{}, kTight, plus(kTight, {"memory.prefix_cache=off"}), plus(kTight, {"engine.scheduler=sarathi"}),
        plus(kTight, {"engine.scheduler=sglang"}), plus(kTight, {"memory.preemption=swap"}),
        plus(kTight, {"memory.prefix_cache=radix"}), plus(kTight, {"memory.allocator=contiguous-oracle"}),
        plus(kTight, {"memory.tiers=[{name: host, capacity_gib: 4}]"})}) {
    const Metrics m = ran(trace, keys).result.metrics;
    const std::string what = keys.empty() ? "plain" : keys.back();
    EXPECT_EQ(m.completed, 60) << what;
    EXPECT_EQ(m.input_tokens, input) << what;
    EXPECT_EQ(m.output_tokens, output) << what;
    EXPECT_EQ(m.itl_ps.count(), output - 60) << what << ": a gap before each token but the first";
  }
}

TEST(RunLaws, LooserLimitsAreMetByNoFewerRequests) {
  const std::string trace = written("plain.csv", load(60), false);
  std::int64_t before = 0;
  for (const char* ttft : {"0", "20", "60", "200", "100000"}) {
    const Metrics m = ran(trace, {std::string("slo.ttft_ms=") + ttft, "slo.tpot_ms=100000"}).result.metrics;
    EXPECT_GE(m.good, before) << ttft;
    before = m.good;
    if (std::string(ttft) == "0") {
      EXPECT_EQ(m.good, 0) << "no token comes in no time";
    }
  }
  EXPECT_EQ(before, 60);
}

TEST(RunLaws, ALargerMemoryNeverPreemptsWhereASmallerOneDoesNot) {
  const std::string trace = written("plain.csv", load(60), false);
  std::int64_t last = -1, peak = 0;
  for (const char* blocks : {"400", "800", "3000", "20000"}) {
    const Metrics m = ran(trace, {std::string("memory.kv_blocks=") + blocks}).result.metrics;
    if (last == 0) {
      EXPECT_EQ(m.preemptions, 0) << blocks;
      EXPECT_GE(m.peak_blocks, peak) << blocks;
    }
    EXPECT_LT(m.peak_blocks, std::stoll(blocks)) << "one block is never handed out";
    last = m.preemptions, peak = m.peak_blocks;
  }
  EXPECT_EQ(last, 0);
}

}  // namespace
}  // namespace tessera
