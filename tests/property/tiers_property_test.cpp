// Tiers against slow versions that are right at a glance: a link integrated by hand, a hierarchy of plain
// lists.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <list>
#include <set>
#include <vector>

#include "sim/memory/tiers/tier_stack.hpp"

namespace tessera {
namespace {

struct Random {
  std::uint64_t state;
  std::uint64_t operator()(std::uint64_t below) { return mix64(state += 0x9E3779B97F4A7C15) % below; }
};

// --- a link -------------------------------------------------------------------------------------

// The busy time of both directions as plain lists of intervals, looked through from end to end for every
// step.
struct SlowLink {
  struct Interval {
    double from, to;
  };
  std::vector<Interval> busy[2];
  double rate[2], both;  // bytes a nanosecond

  static bool in(const std::vector<Interval>& all, double t) {
    return std::any_of(all.begin(), all.end(), [t](const Interval& i) { return i.from <= t && t < i.to; });
  }
  double submit(std::size_t d, double bytes, double at) {
    std::vector<Interval> mine;
    while (bytes > 0) {
      double next = 1e18;  // when anything changes
      for (const auto& all : busy)
        for (const Interval& i : all)
          for (const double edge : {i.from, i.to})
            if (edge > at) next = std::min(next, edge);
      const double r = in(busy[d], at)       ? 0
                       : in(busy[1 - d], at) ? std::min(rate[d], both - rate[1 - d])
                                             : rate[d];
      const double end = r > 0 ? std::min(next, at + bytes / r) : next;
      if (r > 0) {
        mine.push_back({at, end});
        bytes = end < next ? 0 : bytes - r * (end - at);
        if (bytes < 1e-6) bytes = 0;
      }
      at = end;
    }
    busy[d].insert(busy[d].end(), mine.begin(), mine.end());
    return at;
  }
};

TEST(TierLinkProperty, AgreesWithIntegrationOverPlainLists) {
  EXPECT_TRUE(rc::check([] {
    Random random{*rc::gen::arbitrary<std::uint64_t>()};
    SlowLink slow;
    // Powers of two throughout, so that both count the same picoseconds.
    for (double& r : slow.rate) r = static_cast<double>(1U << random(3));
    const double most = std::max(slow.rate[0], slow.rate[1]);
    // The later direction keeps all, some or none of its rate.
    slow.both = most + (random(3) == 0 ? 0 : static_cast<double>(1U << random(3)));
    slow.both = std::min(slow.both, slow.rate[0] + slow.rate[1]);
    TierLink::Spec spec;
    spec.gb_s = {slow.rate[0], slow.rate[1]};
    spec.both_gb_s = slow.both;
    TierLink link(spec);
    std::int64_t now = 0;
    for (int i = 0; i < 60; ++i) {
      now += 1'048'576 * static_cast<std::int64_t>(random(40));
      const std::size_t d = random(2);
      const auto size = 1'048'576 * static_cast<std::int64_t>(1 + random(300));
      const std::int64_t earliest =
          now + (random(3) == 0 ? 1'048'576 * static_cast<std::int64_t>(random(200)) : 0);
      const auto t =
          link.submit(d == 0 ? Direction::read : Direction::write, 1, size, now * 1000, earliest * 1000);
      const double end = slow.submit(d, static_cast<double>(size), static_cast<double>(earliest));
      RC_ASSERT(std::abs(static_cast<double>(t.end_ps) / 1000 - end) <
                0.5);  // each stretch rounds up to 1 ps
    }
  }));
}

TEST(TierLinkProperty, NoDirectionIsFasterThanItsRateNorBothThanTheirSum) {
  EXPECT_TRUE(rc::check([] {
    Random random{*rc::gen::arbitrary<std::uint64_t>()};
    TierLink::Spec spec;
    spec.gb_s = {1 + static_cast<double>(random(9)), 1 + static_cast<double>(random(9))};
    const double most = std::max(spec.gb_s[0], spec.gb_s[1]);
    spec.both_gb_s = most + static_cast<double>(random(10)) / 10 * (spec.gb_s[0] + spec.gb_s[1] - most);
    spec.copy_ps = static_cast<std::int64_t>(random(2000));
    TierLink link(spec);
    std::int64_t now = 0, last_end = 0;
    double all = 0;
    for (int i = 0; i < 200; ++i) {
      now += static_cast<std::int64_t>(random(20'000));
      const Direction d = random(2) == 0 ? Direction::read : Direction::write;
      const auto pieces = static_cast<std::int64_t>(1 + random(5)),
                 size = static_cast<std::int64_t>(1 + random(9000));
      const auto guess = link.estimate(d, pieces, size, now);
      const auto t = link.submit(d, pieces, size, now, now);
      RC_ASSERT(guess.end_ps == t.end_ps);
      RC_ASSERT(t.end_ps - now >= link.duration(d, pieces, size) - 2);
      RC_ASSERT(t.first_ps <= t.end_ps && t.first_ps > now);
      last_end = std::max(last_end, t.end_ps);
      all += static_cast<double>(pieces * size);
    }
    RC_ASSERT(all <= spec.both_gb_s * static_cast<double>(last_end + 400) / 1000 * (1 + 1e-9));
    for (const Direction d : {Direction::read, Direction::write}) {
      const auto busy = static_cast<double>(link.use(d).busy_ps + 2 * link.use(d).transfers);
      RC_ASSERT(static_cast<double>(link.use(d).bytes) <=
                spec.gb_s[static_cast<std::size_t>(d)] * busy / 1000 * (1 + 1e-9));
    }
  }));
}

// --- a hierarchy --------------------------------------------------------------------------------

// LRU lists by the rules of tier_stack.hpp, no times: what a call reads or writes is pinned until it ends.
class SlowStack {
 public:
  struct Level {
    TierSpec spec;
    std::list<BlockHash> lru;  // oldest first
    std::set<BlockHash> pinned;
    std::vector<BlockHash> falling;
    std::int64_t read = 0, written = 0, evicted = 0, refused = 0;
  };
  std::vector<Level> levels;
  std::int64_t host_read = 0, host_written = 0;

  static bool has(const Level& l, BlockHash h) {
    return std::find(l.lru.begin(), l.lru.end(), h) != l.lru.end();
  }
  static void touch(Level& l, BlockHash h) {
    l.lru.remove(h);
    l.lru.push_back(h);
  }
  std::size_t where(BlockHash h) const {
    std::size_t i = 0;
    while (i < levels.size() && !has(levels[i], h)) ++i;
    return i;
  }
  void begin() {
    for (Level& l : levels) l.pinned.clear();
  }
  bool insert(std::size_t at, BlockHash h, bool pin) {
    Level& l = levels[at];
    if (l.lru.size() == l.spec.capacity_blocks) {
      std::vector<BlockHash> aside;
      while (!l.lru.empty() && l.pinned.count(l.lru.front()) > 0) {
        aside.push_back(l.lru.front());
        l.lru.pop_front();
      }
      const bool found = !l.lru.empty();
      BlockHash gone = 0;
      if (found) {
        gone = l.lru.front();
        l.lru.pop_front();
      }
      for (const BlockHash a : aside) l.lru.push_back(a);
      if (!found) {
        ++l.refused;
        return false;
      }
      ++l.evicted;
      if (at + 1 < levels.size() && !levels[at + 1].spec.write_through)
        levels[at + 1].falling.push_back(gone);
    }
    l.lru.push_back(h);
    if (pin) l.pinned.insert(h);
    return true;
  }
  // Those of `blocks` that the tier lacks and has room for.
  std::set<BlockHash> write(std::size_t at, const std::vector<BlockHash>& blocks, bool comes_later) {
    std::set<BlockHash> in;
    for (const BlockHash h : blocks)
      if (!has(levels[at], h) && insert(at, h, comes_later)) in.insert(h);
    levels[at].written += static_cast<std::int64_t>(in.size());
    for (const BlockHash h : in)
      if (has(levels[at], h)) levels[at].pinned.insert(h);
    return in;
  }
  void settle() {
    for (std::size_t i = 1; i < levels.size(); ++i) {
      std::set<BlockHash> missing;
      for (const BlockHash h : levels[i].falling) {
        if (has(levels[i], h))
          touch(levels[i], h);
        else
          missing.insert(h);
      }
      levels[i].falling.clear();
      write(i, {missing.begin(), missing.end()}, false);
    }
  }
  void load(const std::vector<BlockHash>& blocks) {
    begin();
    std::vector<std::vector<BlockHash>> by(levels.size());
    for (const BlockHash h : blocks) by[where(h)].push_back(h);
    for (std::size_t i = 0; i < levels.size(); ++i)
      for (const BlockHash h : by[i]) {
        ++levels[i].read, ++host_read;
        const bool kept = i > 0 && !levels[0].spec.device && !levels[0].spec.exclusive && insert(0, h, true);
        if (kept && levels[i].spec.exclusive) {
          levels[i].lru.remove(h);
        } else {
          touch(levels[i], h);
          levels[i].pinned.insert(h);
        }
      }
    settle();
  }
  void arrived(const std::vector<BlockHash>& blocks) {
    for (Level& l : levels)
      for (const BlockHash h : blocks)
        if (l.spec.exclusive) l.lru.remove(h);
  }
  void computed(const std::vector<BlockHash>& blocks) {
    begin();
    const auto lacks = [&](BlockHash h) {
      return std::any_of(levels.begin(), levels.end(),
                         [&](Level& l) { return l.spec.write_through && !has(l, h); });
    };
    for (std::size_t i = 0; i < blocks.size();) {
      if (!lacks(blocks[i])) {
        for (Level& l : levels)
          if (has(l, blocks[i])) touch(l, blocks[i]);
        ++i;
        continue;
      }
      std::vector<BlockHash> run;
      while (i < blocks.size() && lacks(blocks[i])) run.push_back(blocks[i++]);
      std::set<BlockHash> crossed;
      for (std::size_t t = 0; t < levels.size(); ++t)
        if (levels[t].spec.write_through) crossed.merge(write(t, run, true));
      host_written += static_cast<std::int64_t>(crossed.size());
      settle();
    }
  }
  void dropped(const std::vector<BlockHash>& blocks) {
    if (levels[0].spec.write_through) return;
    begin();
    std::set<BlockHash> missing;
    for (const BlockHash h : blocks) {
      if (has(levels[0], h))
        touch(levels[0], h);
      else
        missing.insert(h);
    }
    host_written += static_cast<std::int64_t>(write(0, {missing.begin(), missing.end()}, true).size());
    settle();
  }
  void prefetch(std::vector<BlockHash> blocks) {
    if (levels.size() < 2 || levels[0].spec.device) return;
    begin();
    std::size_t most = 0;
    while (most < blocks.size() && where(blocks[most]) < levels.size()) ++most;
    blocks.resize(std::min<std::size_t>(most, levels[0].spec.capacity_blocks));
    std::vector<std::vector<BlockHash>> by(levels.size());
    for (const BlockHash h : blocks) by[where(h)].push_back(h);
    for (const BlockHash h : by[0]) touch(levels[0], h);
    for (std::size_t i = 1; i < levels.size(); ++i) {
      if (!levels[i].spec.prefetch) continue;
      std::vector<BlockHash> kept;
      for (const BlockHash h : by[i])
        if (insert(0, h, false)) kept.push_back(h);
      for (const BlockHash h : kept) {
        ++levels[i].read;
        if (has(levels[0], h)) levels[0].pinned.insert(h);
        if (levels[i].spec.exclusive) {
          levels[i].lru.remove(h);
        } else {
          touch(levels[i], h);
          levels[i].pinned.insert(h);
        }
      }
    }
    settle();
  }
};

TierDevice device() {
  TierDevice d;
  d.name = "device";
  d.read_gb_s = d.write_gb_s = {1, ""};
  d.both_gb_s = {2, ""};
  d.latency_us = {1, ""};
  return d;
}

TEST(TierStackProperty, AgreesWithPlainListsOverMillionsOfBlockOperations) {
  std::int64_t operations = 0, loads = 0, evictions = 0;
  EXPECT_TRUE(rc::check([&] {
    Random random{*rc::gen::arbitrary<std::uint64_t>()};
    const BlockShape block{1000, 1 + static_cast<std::int64_t>(random(3))};
    std::vector<TierSpec> specs(1 + random(3));
    SlowStack slow;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      TierSpec& spec = specs[i];
      spec.name = "t";
      spec.name += std::to_string(i);
      spec.capacity_blocks = 1 + static_cast<std::uint32_t>(random(i == 0 ? 12 : 25));
      if (i > 0 || random(4) == 0) spec.device = device();
      spec.write_through = random(2) == 0;
      spec.exclusive = !spec.write_through && random(2) == 0;
      spec.prefetch = random(3) != 0;
      spec.ratio = random(2) == 0 ? 1 : 2.5;
      if (random(3) == 0) spec.compress_gb_s = 3, spec.decompress_gb_s = 5;
      spec.most_backlog_ps = std::int64_t{1} << 60;
      slow.levels.push_back({spec, {}, {}, {}});
    }
    TierLink::Spec host;
    host.gb_s = {5, 4};
    host.both_gb_s = 8;
    host.copy_ps = 10;
    TierStack stack{TierLink(host), block, specs};
    const std::uint64_t universe = 5 + random(60);
    std::int64_t now = 0;
    for (int step = 0; step < 4000; ++step) {
      now += 1'000'000'000;  // all that was under way is over
      std::vector<BlockHash> blocks;
      const std::uint64_t from = random(universe), length = 1 + random(9);
      for (std::uint64_t i = 0; i < length; ++i) blocks.push_back(1 + (from + i) % universe);
      if (length > universe) blocks.resize(universe);
      operations += static_cast<std::int64_t>(blocks.size());
      const auto kind = random(4);
      if (kind == 0) {
        const std::size_t found = stack.find(blocks);
        std::size_t expected = 0;
        while (expected < blocks.size() && slow.where(blocks[expected]) < specs.size()) ++expected;
        RC_ASSERT(found == expected);
        blocks.resize(found);
        if (blocks.empty()) continue;
        const bool one_tier = std::all_of(blocks.begin(), blocks.end(), [&](BlockHash h) {
          return slow.where(h) == slow.where(blocks.front());
        });
        const auto guess = stack.estimate(blocks, now);
        const auto got = stack.load(blocks, 0, now);
        RC_ASSERT(guess.end_ps >= got.end_ps);
        RC_ASSERT(!one_tier || guess.end_ps == got.end_ps);
        RC_ASSERT(got.end_ps > now && got.first_ps <= got.end_ps);
        slow.load(blocks);
        if (random(4) != 0) {  // else it was cancelled
          stack.arrived(blocks);
          slow.arrived(blocks);
        }
        ++loads;
      } else if (kind == 1) {
        stack.computed(blocks, 0, now, now + static_cast<std::int64_t>(random(1'000'000)));
        slow.computed(blocks);
      } else if (kind == 2) {
        RC_ASSERT(stack.dropped(blocks, now) >= now);
        slow.dropped(blocks);
      } else {
        stack.prefetch(blocks, now);
        slow.prefetch(blocks);
      }
      for (std::size_t i = 0; i < specs.size(); ++i) {
        RC_ASSERT(stack.store(i).resident() == slow.levels[i].lru.size());
        for (const BlockHash h : slow.levels[i].lru) RC_ASSERT(stack.store(i).contains(h));
      }
    }
    stack.audit();
    const std::int64_t piece = stack.piece_bytes();
    RC_ASSERT(stack.host().use(Direction::read).bytes == slow.host_read * block.pieces * piece);
    RC_ASSERT(stack.host().use(Direction::write).bytes == slow.host_written * block.pieces * piece);
    for (std::size_t i = 0; i < specs.size(); ++i) {
      const SlowStack::Level& level = slow.levels[i];
      RC_ASSERT(stack.store(i).count().evicted == level.evicted);
      RC_ASSERT(stack.store(i).count().refused == level.refused);
      evictions += level.evicted;
      if (!specs[i].device) continue;
      const std::int64_t bytes = specs[i].ratio > 1 ? 400 : 1000;
      RC_ASSERT(stack.device(i)->use(Direction::read).bytes == level.read * bytes);
      RC_ASSERT(stack.device(i)->use(Direction::write).bytes == level.written * bytes);
    }
  }));
  RecordProperty("block_operations", std::to_string(operations));
  EXPECT_GT(operations, 1'000'000);
  EXPECT_GT(loads, 1000);
  EXPECT_GT(evictions, 1000);
}

// With calls close together reads and writes overlap: nothing pinned may go, whatever the policy.
TEST(TierStackProperty, NothingInFlightIsGivenUpUnderAnyPolicy) {
  EXPECT_TRUE(rc::check([] {
    Random random{*rc::gen::arbitrary<std::uint64_t>()};
    const std::vector<std::string> policies = tier_policy_names();
    TierStore store(policies[random(policies.size())], 1 + static_cast<std::uint32_t>(random(20)));
    std::vector<std::int64_t> pinned(60, -1);
    std::int64_t now = 0, inserted = 0, gone = 0;
    for (int step = 0; step < 3000; ++step) {
      now += static_cast<std::int64_t>(random(4));
      const BlockHash hash = 1 + random(pinned.size() - 1);
      if (store.contains(hash)) {
        store.touch(hash, 0);
        if (random(3) == 0) {
          store.pin(hash, now + 30);
          pinned[hash] = std::max(pinned[hash], now + 30);
        }
        continue;
      }
      const std::int64_t ready = now + static_cast<std::int64_t>(random(25));
      const bool in =
          store.insert(hash, static_cast<std::uint32_t>(random(9)), ready, now, [&](BlockHash victim) {
            RC_ASSERT(pinned[victim] <= now);
            RC_ASSERT(!store.contains(victim));
            ++gone;
          });
      RC_ASSERT(in == store.contains(hash));
      if (in) pinned[hash] = ready, ++inserted;
      RC_ASSERT(static_cast<std::int64_t>(store.resident()) == inserted - gone);
    }
    store.audit();
  }));
}

}  // namespace
}  // namespace tessera
