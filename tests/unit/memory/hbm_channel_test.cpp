// One HBM channel: latencies and bandwidths that follow from a formula, and the policy in small scenes.
#include "sim/memory/hbm/channel.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sim/engine/random.hpp"
#include "sim/memory/hbm/run.hpp"
#include "tests/support/hbm_checker.hpp"

namespace tessera {
namespace {

using Kind = HbmCommand::Kind;

constexpr HbmTick ck(double clocks) { return static_cast<HbmTick>(clocks * 2); }

HbmRequest read(std::uint8_t bank, std::uint32_t row, std::uint16_t column = 0, std::uint8_t half = 0) {
  return {row, column, bank, half, false};
}
HbmRequest write(std::uint8_t bank, std::uint32_t row, std::uint16_t column = 0) {
  return {row, column, bank, 0, true};
}

// A channel without refresh and the commands it has issued.
struct Scene {
  explicit Scene(const HbmSpec& memory, bool refresh = false) : spec(memory), channel(memory, refresh) {}
  explicit Scene(const std::string& memory) : Scene(load_hbm(memory)) {}

  Scene& at(HbmTick now, const HbmRequest& request) {
    channel.enqueue(request, now);
    return *this;
  }
  std::vector<HbmCommand> drain() {
    std::vector<HbmCommand> commands;
    while (channel.pending() > 0) commands.push_back(channel.issue());
    return commands;
  }
  // "ACT0 RD0 PRE0": kinds and banks in order.
  static std::string names(const std::vector<HbmCommand>& commands) {
    static const char* const kNames[] = {"-", "ACT", "PRE", "PREab", "REF", "RD", "WR"};
    std::string text;
    for (const HbmCommand& c : commands)
      text += (text.empty() ? "" : " ") + std::string(kNames[static_cast<int>(c.kind)]) +
              std::to_string(c.at.bank);
    return text;
  }

  HbmSpec spec;
  HbmChannel channel;
};

class HbmMemories : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Shipped, HbmMemories, ::testing::Values("hbm2-2.0", "hbm3-6.4"),
                         [](const auto& memory) { return std::string(memory.param).substr(0, 4); });

TEST_P(HbmMemories, AReadOfAClosedBankTakesRcdPlusClPlusBurst) {
  Scene scene(GetParam());
  const HbmTiming& t = scene.spec.timing;
  const auto commands = scene.at(0, read(3, 7)).drain();
  EXPECT_EQ(Scene::names(commands), "ACT3 RD3");
  EXPECT_EQ(commands.back().done, 2 * (t.rcd_read + t.cl + t.burst));
}

TEST_P(HbmMemories, AReadOfAnotherRowTakesRpMore) {
  Scene scene(GetParam());
  const HbmTiming& t = scene.spec.timing;
  scene.at(0, read(3, 7)).drain();
  const HbmTick later = 1000;
  const auto commands = scene.at(later, read(3, 8)).drain();
  EXPECT_EQ(Scene::names(commands), "PRE3 ACT3 RD3");
  EXPECT_EQ(commands.back().done - later, 2 * (t.rp + t.rcd_read + t.cl + t.burst));
  EXPECT_EQ(scene.spec.time_of(commands.back().done - later), scene.spec.conflict_latency());
}

TEST_P(HbmMemories, ARowHitTakesClPlusBurst) {
  Scene scene(GetParam());
  scene.at(0, read(3, 7)).drain();
  const auto commands = scene.at(1000, read(3, 7, 5)).drain();
  EXPECT_EQ(Scene::names(commands), "RD3");
  EXPECT_TRUE(commands.back().row_hit);
  EXPECT_EQ(commands.back().done - 1000, 2 * (scene.spec.timing.cl + scene.spec.timing.burst));
}

TEST_P(HbmMemories, BackToBackReadsOfOneRowAreCcdLongApartAndOfTwoGroupsCcdShort) {
  const HbmSpec spec = load_hbm(GetParam());
  Scene same(spec);
  const auto one_row = same.at(0, read(0, 1, 0)).at(0, read(0, 1, 1)).drain();
  EXPECT_EQ(one_row[2].time - one_row[1].time, 2 * spec.timing.ccd_long);
  Scene other(spec);
  const auto group = static_cast<std::uint8_t>(spec.organisation.banks);  // first bank of the next group
  other.at(0, read(0, 1)).at(0, read(group, 1)).drain();
  const auto two_groups = other.at(1000, read(0, 1, 1)).at(1000, read(group, 1, 1)).drain();
  EXPECT_EQ(two_groups[1].time - two_groups[0].time, 2 * spec.timing.ccd_short);
}

TEST_P(HbmMemories, StreamingWithoutRefreshComesWithinAPercentOfThePins) {
  const HbmSpec spec = load_hbm(GetParam());
  HbmChannel channel(spec, false);
  const HbmRun run = run_saturated(channel, HbmStream(HbmShape(spec)), 100'000);
  const double percent = figures_of(spec, run).percent_of_peak;
  EXPECT_GT(percent, 99);
  EXPECT_LE(percent, 100);
}

// One row alone gives a burst per CCD long, and the other pseudo-channel idles.
TEST_P(HbmMemories, OneBankAloneReachesTheBusShareOfCcdLong) {
  const HbmSpec spec = load_hbm(GetParam());
  HbmChannel channel(spec, false);
  HbmRun run;
  std::uint16_t column = 0;
  for (HbmTick now = 0; run.reads() < 10'000;) {
    while (channel.has_room(false)) channel.enqueue(read(0, 0, column++ % 32), now);
    const HbmCommand command = channel.issue();
    now = command.time;
    run.count(command);
  }
  const double halves = static_cast<double>(spec.organisation.pseudo_channels);
  const double share = static_cast<double>(spec.timing.burst) / static_cast<double>(spec.timing.ccd_long);
  EXPECT_NEAR(figures_of(spec, run).percent_of_peak, 100 * share / halves, 0.1);
}

// A bank that changes its row for every read gives one burst per RC.
TEST_P(HbmMemories, ConflictsInOneBankAreBoundByRc) {
  const HbmSpec spec = load_hbm(GetParam());
  HbmChannel channel(spec, false);
  HbmRun run;
  std::uint32_t row = 0;
  for (HbmTick now = 0; run.reads() < 1'000;) {
    while (channel.has_room(false)) channel.enqueue(read(0, row++ % 8192), now);
    const HbmCommand command = channel.issue();
    now = command.time;
    run.count(command);
  }
  const std::int64_t cycle = std::max(spec.timing.rc, spec.timing.ras + spec.timing.rp);
  EXPECT_NEAR(static_cast<double>(run.elapsed) / 1'000, static_cast<double>(2 * cycle), 0.2);
  EXPECT_EQ(run.row_hits, 0);
  EXPECT_EQ(run.activates(), 1'000);
  EXPECT_EQ(run.row_conflicts(), 999);
}

TEST_P(HbmMemories, RefreshComesOncePerIntervalAndHalf) {
  const HbmSpec spec = load_hbm(GetParam());
  HbmChannel channel(spec);
  const HbmRun run = run_saturated(channel, HbmStream(HbmShape(spec)), 200'000);
  const std::int64_t intervals = run.elapsed / (2 * spec.timing.refi);
  EXPECT_GT(intervals, 20);
  EXPECT_NEAR(static_cast<double>(run.refreshes()),
              static_cast<double>(intervals * spec.organisation.pseudo_channels), 2);
}

double percent_of_mix(const HbmSpec& spec, double write_fraction, bool refresh) {
  HbmChannel channel(spec, refresh);
  const HbmMixed<HbmStream> mix(HbmStream(HbmShape(spec)), write_fraction);
  const HbmRun run = run_saturated(channel, mix, 100'000);
  EXPECT_NEAR(static_cast<double>(run.writes()), write_fraction * 100'000, 10);
  return figures_of(spec, run).percent_of_peak;
}

TEST_P(HbmMemories, WritesAloneAreAsFastAsReads) {
  const HbmSpec spec = load_hbm(GetParam());
  EXPECT_NEAR(percent_of_mix(spec, 1, true), percent_of_mix(spec, 0, true), 1.5);
}

// One drain from watermark to watermark and as many reads; the bus idles once for RTW and once for WTR.
TEST_P(HbmMemories, AMixOfHalfWritesPaysTwoTurnaroundsPerDrain) {
  const HbmSpec spec = load_hbm(GetParam());
  const HbmTiming& t = spec.timing;
  const double bursts = static_cast<double>(2 * (spec.controller.drain_high - spec.controller.drain_low) /
                                            spec.organisation.pseudo_channels);
  const double busy = bursts * static_cast<double>(t.burst);
  const double idle = static_cast<double>(t.rtw + t.cwl + t.burst + t.wtr_long - 2 * t.burst);
  EXPECT_NEAR(percent_of_mix(spec, 0.5, false), 100 * busy / (busy + idle), 4);
}

TEST_P(HbmMemories, TheSameRequestsGiveTheSameCommands) {
  const HbmSpec spec = load_hbm(GetParam());
  const auto play = [&] {
    HbmChannel channel(spec);
    const HbmMixed<HbmRandom> mix(HbmRandom(HbmShape(spec), 1), 0.3);
    return run_saturated(channel, mix, 20'000);
  };
  const HbmRun a = play(), b = play();
  EXPECT_EQ(a.elapsed, b.elapsed);
  EXPECT_EQ(a.read_latency(), b.read_latency());
  EXPECT_EQ(a.activates(), b.activates());
  EXPECT_EQ(a.row_hits, b.row_hits);
}

// --- policy ---------------------------------------------------------------------------------------

TEST(HbmPolicy, ARowHitOvertakesAnOlderConflict) {
  Scene scene("hbm2-2.0");
  scene.at(0, read(0, 1)).drain();
  const auto commands = scene.at(1000, read(0, 2)).at(1000, read(0, 1, 9)).drain();
  EXPECT_EQ(Scene::names(commands), "RD0 PRE0 ACT0 RD0");
  EXPECT_EQ(commands[0].at.row, 1u);
}

TEST(HbmPolicy, AmongHitsTheOldestGoesFirst) {
  Scene scene("hbm2-2.0");
  scene.at(0, read(0, 1)).at(0, read(4, 1)).drain();
  const auto commands = scene.at(1000, read(4, 1, 1)).at(1000, read(0, 1, 1)).at(1000, read(4, 1, 2)).drain();
  EXPECT_EQ(Scene::names(commands), "RD4 RD0 RD4");
}

TEST(HbmPolicy, ARowStaysOpenWhileNobodyWantsAnother) {
  Scene scene("hbm2-2.0");
  scene.at(0, read(0, 1)).drain();
  EXPECT_EQ(scene.channel.issue(1'000'000).kind, Kind::none);
  EXPECT_EQ(Scene::names(scene.at(1'000'000, read(0, 1)).drain()), "RD0");
}

TEST(HbmPolicy, WritesWaitForTheWatermarkWhileThereAreReads) {
  HbmSpec spec = load_hbm("hbm2-2.0");
  spec.controller.drain_high = 3;
  spec.controller.drain_low = 0;
  Scene few(spec);
  few.at(0, write(0, 1)).at(0, write(4, 1)).at(0, read(8, 1));
  EXPECT_EQ(Scene::names(few.drain()), "ACT8 RD8 ACT0 ACT4 WR0 WR4");
  Scene many(spec);
  many.at(0, write(0, 1)).at(0, write(4, 1)).at(0, write(12, 1)).at(0, read(8, 1));
  EXPECT_EQ(Scene::names(many.drain()), "ACT0 ACT4 ACT12 WR0 WR4 WR12 ACT8 RD8");
}

TEST(HbmPolicy, ARequestLeavesItsQueueWhenARowIsOpenedForIt) {
  HbmSpec spec = load_hbm("hbm2-2.0");
  spec.controller.read_queue = 1;
  Scene scene(spec);
  scene.at(0, read(0, 1));
  EXPECT_FALSE(scene.channel.has_room(false));
  EXPECT_TRUE(scene.channel.has_room(true));
  EXPECT_EQ(scene.channel.issue().kind, Kind::activate);
  EXPECT_TRUE(scene.channel.has_room(false));
  EXPECT_EQ(scene.channel.pending(), 1);
}

TEST(HbmPolicy, RefreshClosesEveryRowAndReadsWaitForIt) {
  Scene scene(load_hbm("hbm2-2.0"), true);
  const HbmTiming& t = scene.spec.timing;
  scene.at(0, read(0, 1)).drain();
  const HbmTick due = 2 * t.refi;
  scene.at(due - 1, read(4, 1));  // too late for an activate: these start at whole clocks
  const auto commands = scene.drain();
  EXPECT_EQ(Scene::names(commands).substr(0, 11), "PREab0 REF0");
  EXPECT_EQ(commands[0].time, due);
  const HbmCommand& last = commands.back();
  EXPECT_EQ(last.time, due + 2 * (t.rp + t.rfc + t.rcd_read));
}

TEST(HbmPolicy, NothingIsIssuedAfterTheTimeAsked) {
  Scene scene("hbm2-2.0");
  scene.at(0, read(0, 1));
  EXPECT_EQ(scene.channel.issue(0).kind, Kind::activate);
  EXPECT_EQ(scene.channel.issue(ck(13.5)).kind, Kind::none);
  EXPECT_EQ(scene.channel.issue(ck(14)).kind, Kind::read);
}

// --- patterns and halves --------------------------------------------------------------------------

// Each choice of a random request is even over its range, also in memories with 2^37 places: with n draws a
// count of mean n / range strays by 6 standard deviations in one of 10^9 cases.
TEST(HbmPatterns, RandomRequestsReachEveryPlaceEvenly) {
  for (const char* name : {"hbm2-2.0", "hbm3-6.4", "large"}) {
    HbmSpec spec = load_hbm(std::string(name) == "large" ? "hbm3-6.4" : name);
    if (std::string(name) == "large") spec.organisation = {2, 4, 4, 4, 1 << 20, 1024, 32};
    const HbmShape shape(spec);
    HbmRandom random(shape, 7);
    constexpr std::int64_t kDraws = 200'000;
    std::map<std::string, std::vector<std::int64_t>> counts = {
        {"half", std::vector<std::int64_t>(shape.pseudo_channels)},
        {"bank", std::vector<std::int64_t>(shape.banks)},
        {"column", std::vector<std::int64_t>(shape.columns)},
        {"row", std::vector<std::int64_t>(64)}};  // in 64 parts
    for (std::int64_t i = 0; i < kDraws; ++i) {
      const HbmRequest r = random.next();
      ASSERT_LT(r.row, shape.rows);
      ++counts["half"].at(r.pseudo_channel), ++counts["bank"].at(r.bank), ++counts["column"].at(r.column);
      ++counts["row"].at(std::uint64_t{r.row} * 64 / shape.rows);
    }
    for (const auto& [what, seen] : counts) {
      const double mean = static_cast<double>(kDraws) / static_cast<double>(seen.size());
      for (const std::int64_t count : seen)
        EXPECT_NEAR(static_cast<double>(count), mean, 6 * std::sqrt(mean)) << name << " " << what;
    }
  }
}

// A pseudo-channel alone streams as fast as its data bus allows, half of the pair's peak.
TEST(HbmChannelTest, ALonePseudoChannelIsHalfAChannel) {
  HbmSpec spec = load_hbm("hbm2-2.0");
  spec.organisation.pseudo_channels = 1;
  HbmChannel channel(spec, false);
  const HbmRun run = run_saturated(channel, HbmStream(HbmShape(spec)), 50'000);
  EXPECT_EQ(run.requests(), 50'000);
  EXPECT_EQ(run.refreshes(), 0);
  EXPECT_NEAR(figures_of(spec, run).gb_s, 16, 0.2);  // 32 B in 2 ns
}

TEST(HbmChannelDeath, RequestsForBanksItDoesNotHaveAreRefused) {
  HbmSpec spec = load_hbm("hbm2-2.0");
  spec.organisation.pseudo_channels = 1;
  HbmChannel channel(spec);
  EXPECT_DEATH(channel.enqueue({.pseudo_channel = 1}, 0), "a bank of the channel");
  EXPECT_DEATH(channel.enqueue({.bank = 16}, 0), "a bank of the channel");
}

// --- the tests' own checker -----------------------------------------------------------------------

// Shorten one timing of the simulated memory: the checker, which keeps the true one, must name that rule.
TEST(HbmCheckerTest, NamesEveryConstraintThatIsBroken) {
  struct Broken {
    const char* rule;
    void (*shorten)(HbmSpec&);
  };
  const Broken cases[] = {
      {"RCD read", [](HbmSpec& s) { --s.timing.rcd_read; }},
      {"RCD write", [](HbmSpec& s) { --s.timing.rcd_write; }},
      {"RP", [](HbmSpec& s) { --s.timing.rp; }},
      {"RC", [](HbmSpec& s) { s.timing.rc -= 2, s.timing.rp -= 2; }},
      {"RAS", [](HbmSpec& s) { s.timing.ras -= 20; }},
      {"RTP", [](HbmSpec& s) { s.timing.rtp = 1; }},
      {"WR", [](HbmSpec& s) { s.timing.wr -= 4; }},
      {"CCD", [](HbmSpec& s) { s.timing.ccd_long = 2; }},
      {"RRD", [](HbmSpec& s) { --s.timing.rrd_short, --s.timing.rrd_long; }},
      {"FAW", [](HbmSpec& s) { s.timing.faw = 1; }},
      {"WTR", [](HbmSpec& s) { s.timing.wtr_short = s.timing.wtr_long = 2; }},
      {"RTW", [](HbmSpec& s) { s.timing.rtw -= 3; }},
      {"RFC", [](HbmSpec& s) { --s.timing.rfc; }},
      {"row bus", [](HbmSpec& s) { s.command_bus.activate = 0.5; }},
      {"column bus", [](HbmSpec& s) { s.command_bus.column = 0.5; }},
  };
  HbmSpec truth = load_hbm("hbm3-6.4");
  truth.organisation.rows = 16;
  truth.organisation.bursts_per_row = 2;  // few hits per row: precharges soon after activates
  truth.command_bus.column = 2;
  for (const Broken& broken : cases) {
    HbmSpec shortened = truth;
    broken.shorten(shortened);
    std::set<std::string> found;
    for (const std::uint32_t banks : {1U, 64U}) {  // conflicts in one bank; activates all over
      test::HbmChecker checker(truth);
      HbmChannel channel(shortened);
      sim::RandomStream random(1, banks);
      HbmTick now = 0;
      for (int i = 0; i < 20'000; ++i) {
        const std::uint64_t draw = random();
        const HbmRequest request{static_cast<std::uint32_t>(draw >> 8 & 15), 0,
                                 static_cast<std::uint8_t>((draw >> 16) % banks % 32),
                                 static_cast<std::uint8_t>((draw >> 32) % banks / 32), draw % 3 == 0};
        if (channel.has_room(request.write)) channel.enqueue(request, now);
        const HbmCommand command = channel.issue(now + 2000);
        if (command.kind == Kind::none) continue;
        now = command.time;
        const std::string problem = checker.problem(command);
        checker.accept(command);
        if (!problem.empty()) found.insert(problem.substr(problem.rfind(": ") + 2));
      }
    }
    EXPECT_TRUE(found.contains(broken.rule)) << broken.rule << " was not seen";
  }
}

}  // namespace
}  // namespace tessera
