// Block tables per group of layers against a slow model that keeps, for every block, what is in it, finds
// prefixes by trying every length and decides from the definition of each retention which pages a token
// reads.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <list>
#include <map>
#include <set>

#include "models/base/units.hpp"
#include "sim/memory/block_hash.hpp"
#include "sim/serving/kv_grouped.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kBlock = 4, kChunk = 16;
constexpr std::uint32_t kSlots = 4;

const std::vector<std::string> kModels{
    "layers: 4\nkinds: [{name: w, retention: window, window: 8}, {name: g}]\npattern: [w, g]\n",
    "layers: 3\nkinds: [{name: w, retention: window, window: 6}, {name: g}]\npattern: [w*2, g]\n",
    "layers: 2\nkinds: [{name: s, retention: window, window: 8, sinks: 9}]\npattern: [s]\n",
    "layers: 4\nkinds: [{name: c, retention: chunked, window: 12}, {name: g}]\npattern: [c, g]\n",
    "layers: 4\nkinds: [{name: m, mixer: recurrent}, {name: g}]\npattern: [m, g]\n"
    "recurrent: {kind: mamba2, heads: 4, head_dim: 8, state: 8, groups: 1, conv_kernel: 4}\n",
    "layers: 2\n"};

KvMemorySpec spec_of(const std::string& rest, std::int64_t blocks, bool reuse) {
  Model model;
  read_spec(parse_yaml("hidden: 128\nvocab: 1000\nmax_position: 100000\nattention: {heads: 8, kv_heads: 2, "
                       "head_dim: 16}\nffn: {intermediate: 256}\n" +
                           rest,
                       "m.yaml"),
            model);
  KvMemorySpec spec;
  spec.block_tokens = kBlock;
  spec.kv_blocks = blocks;
  spec.max_batched_tokens = kChunk;
  spec.reuse_passed = reuse;
  spec.plan = std::make_shared<const KvPagePlan>(plan_pages(make_kv_layout(model, DType::bf16), kBlock, 8));
  return spec;
}

class SlowGroups {
 public:
  explicit SlowGroups(const KvMemorySpec& spec) : spec_(spec), groups_(spec.plan->groups) {
    for (std::int64_t b = 0; b < spec.kv_blocks; ++b) free_.push_back(b);
    blocks_.resize(static_cast<std::size_t>(spec.kv_blocks));
    held_.resize(kSlots);
  }

  void arrive(std::uint32_t slot, std::vector<std::uint64_t> hashes) {
    held_[slot] = {};
    held_[slot].hashes = std::move(hashes);
    held_[slot].tables.resize(groups_.size());
    held_[slot].before.resize(groups_.size());
  }

  std::optional<std::int64_t> admit(std::uint32_t slot, std::int64_t target, std::int64_t budget) {
    Holder& h = held_[slot];
    std::int64_t hit = 0;
    for (std::int64_t length = target - 1; length > 0 && hit == 0; --length)
      if (usable(h, length)) hit = length;
    const std::int64_t chunk_end = hit + std::min(target - hit, budget);
    std::set<std::int64_t> revived;
    std::int64_t fresh = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const std::int64_t upto = spec_.reserve_full_prompt && groups_[g].keeps_prefix() ? target : chunk_end;
      fresh += groups_[g].tables * (ceil_div(upto, groups_[g].page_tokens) - hit / groups_[g].page_tokens);
      for (const std::int64_t page : pages_read(g, hit))
        for (std::int64_t k = 0; k < groups_[g].tables; ++k)
          if (const std::int64_t b = found(h, g, page, k); users(b) == 0) revived.insert(b);
    }
    if (fresh + static_cast<std::int64_t>(revived.size()) > available()) return std::nullopt;
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      for (const std::int64_t page : pages_read(g, hit))
        for (std::int64_t k = 0; k < groups_[g].tables; ++k) {
          const std::int64_t b = found(h, g, page, k);
          h.tables[g][page].push_back(b);
          if (users(b) == 0) std::erase(free_, b), std::erase(passed_, b);
          ++block(b).users;
        }
      h.end.push_back(hit / groups_[g].page_tokens);
    }
    h.before.assign(groups_.size(), {});
    h.covered = hit;
    return hit;
  }

  bool extend(std::uint32_t slot, std::int64_t before, std::int64_t after) {
    Holder& h = held_[slot];
    for (std::size_t g = 0; g < groups_.size(); ++g) pass(h, g, before);
    if (!cover(h, ceil_div(after, kBlock) * kBlock)) return false;
    for (std::size_t g = 0; g < groups_.size(); ++g)
      for (auto& [page, blocks] : h.tables[g]) {
        const std::int64_t end = (page + 1) * groups_[g].page_tokens;
        const auto last = static_cast<std::size_t>(end / kBlock);
        if (end > after || end <= before || last > h.hashes.size()) continue;
        for (std::size_t k = 0; k < blocks.size(); ++k) {
          block(blocks[k]).name = {static_cast<std::int64_t>(h.hashes[last - 1]),
                                   static_cast<std::int64_t>(g), page, static_cast<std::int64_t>(k)};
          published_[block(blocks[k]).name].push_back(blocks[k]);
        }
      }
    return true;
  }

  bool grow(std::uint32_t slot) {
    Holder& h = held_[slot];
    for (std::size_t g = 0; g < groups_.size(); ++g) pass(h, g, h.covered);
    return cover(h, h.covered + kBlock);
  }

  void leave(std::uint32_t slot, std::int64_t computed, bool comes_back) {
    Holder& h = held_[slot];
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      const std::int64_t newest = first_recent(h, g);
      std::vector<std::int64_t> recent, sinks;
      for (auto& [page, blocks] : h.tables[g]) {
        auto& list = page < newest ? sinks : recent;
        list.insert(list.end(), blocks.begin(), blocks.end());
        if (comes_back && (page + 1) * groups_[g].page_tokens <= computed)
          for (std::size_t k = 0; k < blocks.size(); ++k)
            h.before[g][{page, static_cast<std::int64_t>(k)}] = {blocks[k], block(blocks[k]).content};
      }
      for (auto* list : {&recent, &sinks})
        for (auto b = list->rbegin(); b != list->rend(); ++b)
          if (--block(*b).users == 0) free_.push_back(*b);
    }
    h.tables.assign(groups_.size(), {});
    h.end.clear();
    h.covered = 0;
  }

  [[nodiscard]] std::int64_t available() const {
    return static_cast<std::int64_t>(free_.size() + passed_.size());
  }
  [[nodiscard]] std::int64_t blocks_of(std::uint32_t slot, std::size_t g) const {
    std::int64_t sum = 0;
    for (const auto& [page, blocks] : held_[slot].tables[g]) sum += static_cast<std::int64_t>(blocks.size());
    return sum;
  }
  [[nodiscard]] std::int64_t evictions() const { return evictions_; }

 private:
  using Name = std::array<std::int64_t, 4>;
  struct Block {
    int users = 0;
    std::int64_t content = 0;  // changes whenever the block is given to someone new
    Name name{};               // as published; all zero: not
  };
  struct Left {
    std::int64_t block, content;
  };
  struct Holder {
    std::vector<std::uint64_t> hashes;
    std::vector<std::map<std::int64_t, std::vector<std::int64_t>>> tables;  // page -> blocks, by group
    std::vector<std::int64_t> end;                                          // first page never covered
    std::vector<std::map<std::pair<std::int64_t, std::int64_t>, Left>> before;
    std::int64_t covered = 0;
  };

  Block& block(std::int64_t b) { return blocks_[static_cast<std::size_t>(b)]; }
  int users(std::int64_t b) { return block(b).users; }

  // Whether the token at `position` attends to token t before it, or needs the state at its end.
  [[nodiscard]] bool reads(std::size_t g, std::int64_t t, std::int64_t position) const {
    const RetentionRule& rule = groups_[g].rule;
    if (groups_[g].snapshot) return t == position - 1;
    if (rule.kind == Retention::window) return t > position - rule.window || t < rule.sinks;
    if (rule.kind == Retention::chunked) return t / rule.window == position / rule.window;
    return true;
  }
  [[nodiscard]] std::set<std::int64_t> pages_read(std::size_t g, std::int64_t position) const {
    std::set<std::int64_t> pages;
    for (std::int64_t t = 0; t < position; ++t)
      if (reads(g, t, position)) pages.insert(t / groups_[g].page_tokens);
    return pages;
  }

  std::int64_t found(const Holder& h, std::size_t g, std::int64_t page, std::int64_t k) {
    const auto own = h.before[g].find({page, k});
    if (own != h.before[g].end() && block(own->second.block).content == own->second.content)
      return own->second.block;
    const auto last = static_cast<std::size_t>((page + 1) * groups_[g].page_tokens / kBlock);
    if (last > h.hashes.size()) return -1;
    const auto by_name = published_.find(
        {static_cast<std::int64_t>(h.hashes[last - 1]), static_cast<std::int64_t>(g), page, k});
    return by_name == published_.end() || by_name->second.empty() ? -1 : by_name->second.front();
  }
  bool usable(const Holder& h, std::int64_t length) {
    for (std::size_t g = 0; g < groups_.size(); ++g) {
      if (length % groups_[g].page_tokens != 0) return false;
      for (const std::int64_t page : pages_read(g, length))
        for (std::int64_t k = 0; k < groups_[g].tables; ++k)
          if (found(h, g, page, k) < 0) return false;
    }
    return true;
  }

  // Pages from here on are kept as recent, those below as sinks.
  [[nodiscard]] std::int64_t first_recent(const Holder& h, std::size_t g) const {
    std::int64_t page = h.end.empty() ? 0 : h.end[g];
    while (page > 0 && h.tables[g].contains(page - 1)) --page;
    return page;
  }

  void pass(Holder& h, std::size_t g, std::int64_t position) {
    std::set<std::int64_t> needed = pages_read(g, position);
    needed.insert(position / groups_[g].page_tokens);  // where the token itself is stored
    for (auto at = h.tables[g].begin(); at != h.tables[g].end();) {
      if (at->first >= *needed.rbegin() || needed.contains(at->first)) {
        ++at;
        continue;
      }
      for (const std::int64_t b : at->second) {
        if (spec_.reuse_passed && users(b) == 1)
          block(b).users = 0, passed_.push_back(b);
        else if (--block(b).users == 0)
          free_.push_back(b);
      }
      at = h.tables[g].erase(at);
    }
  }

  bool cover(Holder& h, std::int64_t tokens) {
    std::int64_t need = 0;
    for (std::size_t g = 0; g < groups_.size(); ++g)
      need +=
          groups_[g].tables * std::max<std::int64_t>(0, ceil_div(tokens, groups_[g].page_tokens) - h.end[g]);
    if (need > available()) return false;
    for (std::size_t g = 0; g < groups_.size(); ++g)
      for (; h.end[g] < ceil_div(tokens, groups_[g].page_tokens); ++h.end[g])
        for (std::int64_t k = 0; k < groups_[g].tables; ++k) h.tables[g][h.end[g]].push_back(take());
    h.covered = tokens;
    return true;
  }
  std::int64_t take() {
    std::int64_t b = 0;
    if (!passed_.empty())
      b = passed_.back(), passed_.pop_back();
    else
      b = free_.front(), free_.pop_front();
    Block& taken = block(b);
    if (taken.name != Name{}) std::erase(published_[taken.name], b), ++evictions_;
    taken = {1, taken.content + 1, {}};
    return b;
  }

  KvMemorySpec spec_;
  const std::vector<KvPageGroup>& groups_;
  std::list<std::int64_t> free_;
  std::vector<std::int64_t> passed_;
  std::vector<Block> blocks_;
  std::vector<Holder> held_;
  std::map<Name, std::vector<std::int64_t>> published_;
  std::int64_t evictions_ = 0;
};

// Full prompt blocks of a family; prompts that branch off at `fork` share what lies before.
std::vector<std::uint64_t> hashes(std::int64_t tokens, std::uint64_t family, std::int64_t fork) {
  std::vector<std::uint64_t> list;
  BlockHash parent = kChainRoot;
  for (std::int64_t i = 0; i < tokens / kBlock; ++i) {
    const std::uint64_t tail = i * kBlock >= fork ? 50 + family : 1;
    list.push_back(parent = chain_hash(parent, tail * 1000 + static_cast<std::uint64_t>(i)));
  }
  return list;
}

struct Request {
  bool in = false, waits = false;
  std::int64_t prompt = 0, computed = 0;
};

void play(const std::string& model, std::int64_t blocks, bool reuse,
          const std::vector<std::uint32_t>& script) {
  const KvMemorySpec spec = spec_of(model, blocks, reuse);
  GroupedKv kv(spec);
  SlowGroups slow(spec);
  std::vector<Request> live(kSlots);
  for (const std::uint32_t word : script) {
    const std::uint32_t slot = word % kSlots, action = word / kSlots % 8;
    const std::uint32_t size = word / 64 % 97, family = word / 8192 % 3, fork = word / 32768 % 5;
    Request& r = live[slot];
    if (!r.in && !r.waits) {
      r.prompt = 1 + size;
      const auto list = action < 6 ? hashes(r.prompt, family, 12 * fork) : std::vector<std::uint64_t>{};
      kv.arrive(slot, r.prompt, 20, list);
      slow.arrive(slot, list);
    }
    if (!r.in) {
      const std::int64_t target = std::max(r.prompt, r.computed);
      const auto hit = kv.admit(slot, target, kChunk), expected = slow.admit(slot, target, kChunk);
      RC_ASSERT(hit == expected);
      r.waits = !hit;
      if (!hit) continue;
      r.in = true, r.prompt = target, r.computed = *hit;
      continue;
    }
    const bool prefills = r.computed < r.prompt;
    if (action == 0 || (action == 1 && !prefills)) {
      kv.leave(slot, r.computed, action == 1);
      slow.leave(slot, r.computed, action == 1);
      r.in = false, r.waits = action == 1;
      if (action == 0) r = {};
    } else if (prefills) {
      const std::int64_t after = std::min(r.prompt, r.computed + 1 + size % kChunk);
      const bool fits = kv.extend(slot, r.computed, after, r.prompt);
      RC_ASSERT(fits == slow.extend(slot, r.computed, after));
      if (fits) r.computed = after;
    } else if (kv.room_to_grow() > 0) {
      const KvMemory::Slot slots[] = {slot};
      kv.grow(slots);
      RC_ASSERT(slow.grow(slot));
      r.computed = ceil_div(r.computed, kBlock) * kBlock + kBlock;
    }
    RC_ASSERT(kv.evictions() == slow.evictions());
    for (std::uint32_t s = 0; s < kSlots; ++s)
      for (std::size_t g = 0; live[s].in && g < spec.plan->groups.size(); ++g)
        RC_ASSERT(kv.blocks_of(s, g) == slow.blocks_of(s, g));
  }
  kv.pool().audit();
  for (std::uint32_t s = 0; s < kSlots; ++s)
    if (live[s].in) kv.leave(s, live[s].computed, false), slow.leave(s, live[s].computed, false);
  RC_ASSERT(kv.empty());
  RC_ASSERT(slow.available() == blocks);
}

TEST(GroupedKvProperty, TablesHitsAndEvictionsAreThoseOfTheSlowModel) {
  for (const std::string& model : kModels)
    for (const bool reuse : {false, true})
      EXPECT_TRUE(rc::check(model + (reuse ? " reuse" : ""), [&] {
        const auto blocks = *rc::gen::inRange<std::int64_t>(24, 120);
        const auto script = *rc::gen::container<std::vector<std::uint32_t>>(
            200, rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::uint32_t>(0, 1U << 20U)));
        play(model, blocks, reuse, script);
      }));
}

}  // namespace
}  // namespace tessera
