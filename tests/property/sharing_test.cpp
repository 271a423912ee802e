// Sharing of blocks against slow versions that are right at a glance: tables copied on write, requests of
// several sequences, the radix tree of prompts, and the tree against the index of hashes. Each test plays
// hundreds of thousands of random operations; together they are over two million.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "sim/memory/block_pool.hpp"
#include "sim/memory/copy_on_write.hpp"
#include "sim/memory/radix_index.hpp"
#include "sim/serving/kv_branched.hpp"

namespace tessera {
namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()(std::uint64_t below) { return mix64(state_ += 0x9E3779B97F4A7C15) % below; }

 private:
  std::uint64_t state_;
};

// Sequences that write tokens through shared tables; beside them the tokens each should read back.
class WritingSequences {
 public:
  WritingSequences(std::uint32_t blocks, std::size_t block_tokens)
      : pool_(blocks), cow_(pool_), size_(block_tokens), memory_(blocks, std::vector<int>(block_tokens)) {}

  void begin() { sequences_.emplace_back(); }
  bool append(std::size_t which, int token) {
    Sequence& s = sequences_[which];
    if (pool_.free_blocks() == 0) return false;  // a new block or a copy may be needed
    if (s.tokens.size() % size_ == 0) {
      s.table.push_back(pool_.allocate());
    } else {
      const BlockId before = s.table.back();
      const bool shared = pool_.references(before) > 1;
      if (cow_.own_last(s.table)) memory_[s.table.back()] = memory_[before];
      EXPECT_EQ(shared, s.table.back() != before) << "copied if and only if others hold it";
    }
    EXPECT_EQ(pool_.references(s.table.back()), 1U) << "nobody writes into a block that others hold";
    memory_[s.table.back()][s.tokens.size() % size_] = token;
    s.tokens.push_back(token);
    return true;
  }
  void fork(std::size_t which) {
    Sequence child;
    child.tokens = sequences_[which].tokens;
    cow_.fork(sequences_[which].table, child.table);
    sequences_.push_back(std::move(child));
  }
  void end(std::size_t which) {
    cow_.release(sequences_[which].table);
    sequences_[which] = std::move(sequences_.back());
    sequences_.pop_back();
  }
  void check() const {
    std::map<BlockId, std::uint32_t> holders;
    for (const Sequence& s : sequences_) {
      ASSERT_EQ(s.table.size(), (s.tokens.size() + size_ - 1) / size_);
      for (std::size_t i = 0; i < s.tokens.size(); ++i)
        ASSERT_EQ(memory_[s.table[i / size_]][i % size_], s.tokens[i]) << "another wrote over token " << i;
      for (const BlockId block : s.table) ++holders[block];
    }
    ASSERT_EQ(pool_.live_blocks(), holders.size()) << "no block is lost";
    for (const auto& [block, count] : holders) ASSERT_EQ(pool_.references(block), count);
    pool_.audit();
  }
  [[nodiscard]] std::size_t count() const { return sequences_.size(); }
  [[nodiscard]] std::size_t tokens(std::size_t which) const { return sequences_[which].tokens.size(); }
  [[nodiscard]] std::int64_t copies() const { return cow_.copies(); }
  [[nodiscard]] std::uint32_t live() const { return pool_.live_blocks(); }

 private:
  struct Sequence {
    CopyOnWrite::Table table;
    std::vector<int> tokens;
  };
  BlockPool pool_;
  CopyOnWrite cow_;
  std::size_t size_;
  std::vector<std::vector<int>> memory_;
  std::vector<Sequence> sequences_;
};

TEST(SharingProperty, EverySequenceReadsWhatItWroteWhateverOthersWriteIntoSharedBlocks) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Dice dice(seed);
    WritingSequences all(static_cast<std::uint32_t>(4 + dice(60)), 2 + dice(4));
    for (int step = 0; step < 50'000; ++step) {
      const std::uint64_t kind = dice(16);
      const std::size_t which = all.count() > 0 ? dice(all.count()) : 0;
      if (all.count() == 0 || (kind == 0 && all.count() < 12))
        all.begin();
      else if (kind < 3 && all.count() < 24)
        all.fork(which);
      else if (kind < 4 || !all.append(which, step))
        all.end(which);
      if (step % 256 == 0) ASSERT_NO_FATAL_FAILURE(all.check());
    }
    ASSERT_GT(all.copies(), 0);
    while (all.count() > 0) all.end(0);
    EXPECT_EQ(all.live(), 0U);
  }
}

// Requests of several sequences come, branch, lose beams, are preempted and end.
TEST(SharingProperty, BlocksOfBranchedRequestsAreCountedOncePerTableThatHoldsThem) {
  for (std::uint64_t seed = 0; seed < 24; ++seed) {
    Dice dice(100 + seed);
    KvMemorySpec spec;
    spec.block_tokens = static_cast<std::int64_t>(1 + dice(6));
    spec.kv_blocks = static_cast<std::int64_t>(20 + dice(120));
    spec.branches = static_cast<std::int64_t>(2 + dice(5));
    spec.beam_survival = dice(2) == 0 ? 1 : 0.7;
    spec.prefix_cache = dice(2) == 0;
    spec.reserve_full_prompt = dice(2) == 0;
    spec.allocate_full_prompt = dice(3) == 0;
    spec.seed = seed;
    BranchedKv kv(spec);
    struct Live {
      std::int64_t input, output, context, target;  // context: of each branch, once it decodes
      bool decodes;
    };
    std::map<KvMemory::Slot, Live> live;
    const auto check = [&] {
      std::map<BlockId, std::uint32_t> holders;
      for (const auto& [slot, r] : live) {
        std::set<BlockId> tails;
        for (const CopyOnWrite::Table& table : kv.tables_of(slot)) {
          for (const BlockId block : table) ++holders[block];
          if (!r.decodes) continue;
          ASSERT_EQ(static_cast<std::int64_t>(table.size()),
                    (r.context + spec.block_tokens - 1) / spec.block_tokens);
          if (r.context % spec.block_tokens != 0) {
            ASSERT_TRUE(tails.insert(table.back()).second) << "two branches would write into one block";
            ASSERT_EQ(kv.pool().references(table.back()), 1U);
          }
        }
      }
      ASSERT_EQ(kv.pool().live_blocks(), holders.size());
      for (const auto& [block, count] : holders) ASSERT_EQ(kv.pool().references(block), count);
      kv.pool().audit();
    };
    std::vector<std::uint64_t> hashes;
    KvMemory::Slot next = 0;
    std::vector<KvMemory::Slot> crossing;
    for (int step = 0; step < 20'000; ++step) {
      if (dice(3) == 0 && live.size() < 8) {
        Live r{static_cast<std::int64_t>(1 + dice(40)), static_cast<std::int64_t>(1 + dice(30)), 0, 0, false};
        if (!kv.refusal(r.input, r.output).empty()) continue;
        hashes.clear();
        const std::uint64_t family = dice(3);
        for (std::int64_t i = 0; i < r.input / spec.block_tokens; ++i)
          hashes.push_back(family * 1000 + static_cast<std::uint64_t>(i) + 1);
        kv.arrive(next, r.input, r.output, hashes);
        // Sometimes one that was preempted: its branches have generated something already.
        r.target = r.input + (dice(3) == 0 && r.output > 1
                                  ? static_cast<std::int64_t>(dice(static_cast<std::uint64_t>(r.output))) *
                                        spec.branches
                                  : 0);
        const auto found = kv.admit(next, r.target, 1000);
        if (!found) continue;
        const std::int64_t half = *found + (r.target - *found) / 2;
        bool there = half == *found || kv.extend(next, *found, half, r.target);
        there = there && kv.extend(next, half, r.target, r.target);
        r.context = r.input + (r.target - r.input) / spec.branches;
        r.decodes = true;
        if (there && r.context < r.input + r.output - 1) {
          live[next++] = r;
        } else {
          kv.leave(next, *found, false);
        }
      } else if (dice(10) == 0 && !live.empty()) {
        const auto at = std::next(live.begin(), static_cast<std::ptrdiff_t>(dice(live.size())));
        kv.leave(at->first, at->second.context * spec.branches, dice(2) == 0);
        live.erase(at);
      } else {  // a step of all
        crossing.clear();
        for (const auto& [slot, r] : live)
          if (r.context % spec.block_tokens == 0) crossing.push_back(slot);
        if (crossing.size() > kv.room_to_grow()) {
          for (const auto& [slot, r] : live) kv.leave(slot, r.context * spec.branches, false);
          live.clear();
          continue;
        }
        kv.grow(crossing);
        for (auto at = live.begin(); at != live.end();) {
          if (++at->second.context < at->second.input + at->second.output - 1) {
            ++at;
            continue;
          }
          kv.leave(at->first, at->second.context * spec.branches, false);
          at = live.erase(at);
        }
      }
      if (step % 16 == 0) ASSERT_NO_FATAL_FAILURE(check()) << "seed " << seed << " step " << step;
    }
    for (const auto& [slot, r] : live) kv.leave(slot, 0, false);
    EXPECT_TRUE(kv.empty());
  }
}

// The tree page by page in a map, each page with its users and the time its last one left.
class SlowTree {
 public:
  struct Page {
    BlockHash parent;
    BlockId block;
    std::size_t depth;
    std::uint32_t users = 0;
    std::uint64_t released = 0;
  };
  std::size_t match(const std::vector<BlockHash>& keys) const {
    std::size_t n = 0;
    while (n < keys.size() && pages_.count(keys[n]) > 0) ++n;
    return n;
  }
  void use(const std::vector<BlockHash>& keys) {
    for (const BlockHash key : keys) ++pages_.at(key).users;
  }
  // The page is the user's block now, or the one that was there.
  bool add(BlockHash key, BlockHash parent, BlockId block, std::size_t depth) {
    const bool fresh = pages_.try_emplace(key, Page{parent, block, depth, 0, 0}).second;
    ++pages_.at(key).users;
    return fresh;
  }
  void leave(const std::vector<BlockHash>& keys) {
    ++clock_;
    for (const BlockHash key : keys)
      if (--pages_.at(key).users == 0) pages_.at(key).released = clock_;
  }
  BlockId evict() {
    auto victim = pages_.end();
    for (auto at = pages_.begin(); at != pages_.end(); ++at) {
      if (at->second.users > 0) continue;
      if (victim == pages_.end() || at->second.released < victim->second.released ||
          (at->second.released == victim->second.released && at->second.depth > victim->second.depth))
        victim = at;
    }
    const BlockId block = victim->second.block;
    pages_.erase(victim);
    return block;
  }
  [[nodiscard]] std::size_t unused() const {
    return static_cast<std::size_t>(
        std::count_if(pages_.begin(), pages_.end(), [](const auto& p) { return p.second.users == 0; }));
  }
  [[nodiscard]] const std::map<BlockHash, Page>& pages() const { return pages_; }

 private:
  std::map<BlockHash, Page> pages_;
  std::uint64_t clock_ = 0;
};

// Prompts down a tree with few children a node, so that they share, part and meet again.
std::vector<BlockHash> any_prompt(Dice& dice, std::size_t longest) {
  std::vector<BlockHash> keys(1 + dice(longest));
  BlockHash parent = kChainRoot;
  for (BlockHash& key : keys) key = parent = chain_hash(parent, dice(5) == 0 ? dice(4) : 0);
  return keys;
}

TEST(SharingProperty, TheRadixTreeFindsLocksAndEvictsAsAMapOfPages) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Dice dice(200 + seed);
    const std::size_t capacity = 10 + dice(60);
    RadixIndex tree;
    SlowTree slow;
    std::vector<BlockId> free;
    for (std::size_t i = capacity; i-- > 0;) free.push_back(static_cast<BlockId>(i));
    struct User {
      std::vector<BlockHash> keys;
      std::size_t at_pages;
      RadixIndex::NodeId at;
    };
    std::vector<User> users;
    for (int step = 0; step < 25'000; ++step) {
      const std::uint64_t kind = dice(8);
      if (kind < 4 && users.size() < 6) {  // a prompt comes and locks what it finds
        User user{any_prompt(dice, capacity / 3), 0, RadixIndex::kRoot};
        const RadixIndex::Match found = tree.match(user.keys);
        ASSERT_EQ(found.pages, slow.match(user.keys));
        std::size_t unlocked = 0;
        for (std::size_t i = 0; i < found.pages; ++i) unlocked += slow.pages().at(user.keys[i]).users == 0;
        ASSERT_EQ(found.unlocked, unlocked);
        user.at_pages = found.pages > 0 ? dice(found.pages + 1) : 0;  // not always all of it
        const std::vector<BlockHash> path(user.keys.begin(),
                                          user.keys.begin() + static_cast<std::ptrdiff_t>(user.at_pages));
        user.at = tree.lock(path);
        slow.use(path);
        ASSERT_EQ(tree.depth(user.at), user.at_pages);
        for (RadixIndex::NodeId at = user.at; at != RadixIndex::kRoot; at = tree.parent(at)) {
          const auto blocks = tree.blocks(at);
          const std::size_t begin = tree.depth(at) - blocks.size();
          for (std::size_t i = 0; i < blocks.size(); ++i)
            ASSERT_EQ(blocks[i], slow.pages().at(user.keys[begin + i]).block);
        }
        users.push_back(user);
      } else if (kind < 6 && !users.empty()) {  // a user computes further pages of its prompt
        User& user = users[dice(users.size())];
        std::size_t more = std::min<std::size_t>(user.keys.size() - user.at_pages, 1 + dice(5));
        more = std::min(more, free.size() + tree.evictable());
        if (more > free.size()) {
          std::vector<BlockId> freed;
          tree.evict(more - free.size(), freed);
          for (const BlockId block : freed) ASSERT_EQ(block, slow.evict()) << "the same page goes first";
          free.insert(free.end(), freed.begin(), freed.end());
        }
        std::vector<BlockId> blocks;
        for (std::size_t i = 0; i < more; ++i) blocks.push_back(free.back()), free.pop_back();
        std::size_t given_back = 0;
        user.at = tree.extend(user.at, std::span<const BlockHash>(user.keys).subspan(user.at_pages, more),
                              blocks, given_back);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < more; ++i) {
          const std::size_t page = user.at_pages + i;
          const bool fresh =
              slow.add(user.keys[page], page > 0 ? user.keys[page - 1] : kChainRoot, blocks[i], page);
          kept += fresh;
          if (!fresh) free.push_back(blocks[i]);
        }
        ASSERT_EQ(given_back, more - kept);
        user.at_pages += more;
        ASSERT_EQ(tree.depth(user.at), user.at_pages);
      } else if (!users.empty()) {  // a user leaves
        const std::size_t which = dice(users.size());
        User& user = users[which];
        tree.unlock(user.at);
        slow.leave({user.keys.begin(), user.keys.begin() + static_cast<std::ptrdiff_t>(user.at_pages)});
        std::swap(user, users.back());
        users.pop_back();
      }
      ASSERT_EQ(tree.pages() + free.size(), capacity) << "no page is lost";
      ASSERT_EQ(tree.evictable(), slow.unused());
      if (step % 64 != 0) continue;
      tree.audit();
      ASSERT_EQ(tree.pages(), slow.pages().size());
      std::set<BlockId> seen(free.begin(), free.end());
      ASSERT_EQ(seen.size(), free.size());
      for (const auto& [key, page] : slow.pages()) ASSERT_TRUE(seen.insert(page.block).second);
    }
  }
}

// The same requests over both indices, pages of one block: the same hits and as many evictions, at any load.
TEST(SharingProperty, HashesAndTheRadixTreeAgreeBlockForBlock) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Dice dice(300 + seed);
    const auto capacity = static_cast<std::uint32_t>(10 + dice(60));
    BlockPool pool(capacity);
    RadixIndex tree;
    std::vector<BlockId> free;
    for (BlockId i = 0; i < capacity; ++i) free.push_back(i);
    std::int64_t evicted = 0, hits = 0;
    struct User {
      std::vector<BlockId> blocks;
      RadixIndex::NodeId at;
    };
    std::vector<User> users;
    for (int step = 0; step < 25'000; ++step) {
      if (dice(2) == 0 && users.size() < 5) {
        const std::vector<BlockHash> keys = any_prompt(dice, capacity / 4);
        std::vector<BlockId> found;
        for (const BlockHash key : keys) {
          const BlockId block = pool.lookup(key);
          if (block == kNoBlock) break;
          found.push_back(block);
        }
        const RadixIndex::Match match = tree.match(keys);
        ASSERT_EQ(match.pages, found.size()) << "seed " << seed << " step " << step;
        hits += static_cast<std::int64_t>(match.pages);
        const std::size_t fresh = keys.size() - match.pages;
        std::size_t waiting = 0;
        for (const BlockId block : found) waiting += pool.references(block) == 0;
        ASSERT_EQ(match.unlocked, waiting);
        ASSERT_EQ(pool.free_blocks(), free.size() + tree.evictable());
        if (fresh + waiting > pool.free_blocks()) continue;
        User user;
        for (const BlockId block : found) pool.touch(block);
        user.blocks = found;
        user.blocks.resize(keys.size());
        pool.allocate_n(std::span(user.blocks).subspan(found.size()));
        for (std::size_t i = found.size(); i < keys.size(); ++i) pool.publish(user.blocks[i], keys[i]);
        user.at = tree.lock(std::span(keys).first(match.pages));
        if (free.size() < fresh) {
          evicted += static_cast<std::int64_t>(fresh - free.size());
          tree.evict(fresh - free.size(), free);
        }
        const std::vector<BlockId> own(free.end() - static_cast<std::ptrdiff_t>(fresh), free.end());
        free.resize(free.size() - fresh);
        std::size_t given_back = 0;
        user.at = tree.extend(user.at, std::span(keys).subspan(match.pages), own, given_back);
        ASSERT_EQ(given_back, 0U);
        users.push_back(user);
      } else if (!users.empty()) {
        const std::size_t which = dice(users.size());
        pool.free_tail_first(users[which].blocks);
        tree.unlock(users[which].at);
        users[which] = users.back();
        users.pop_back();
      }
      ASSERT_EQ(pool.evictions(), evicted);
      ASSERT_EQ(pool.duplicates(), 0);
    }
    EXPECT_GT(hits, 1000);
    EXPECT_GT(evicted, 100);
  }
}

// Twins: what a pool counts as held twice, against a count over all blocks.
TEST(SharingProperty, DuplicatesAreTheLiveBlocksBeyondOneOfEachContent) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Dice dice(400 + seed);
    const auto blocks = static_cast<std::uint32_t>(4 + dice(20));
    BlockPool pool(blocks);
    std::map<BlockId, BlockHash> content;  // of live and cached blocks
    std::vector<BlockId> held;
    for (int step = 0; step < 20'000; ++step) {
      const std::uint64_t kind = dice(6);
      if (kind < 2 && pool.free_blocks() > 0) {
        const BlockId block = pool.allocate();
        content.erase(block);
        held.push_back(block);
        if (dice(4) > 0) content[block] = 1 + dice(6), pool.publish(block, content[block]);
      } else if (kind == 2) {
        const BlockId found = pool.lookup(1 + dice(6));
        if (found != kNoBlock) pool.touch(found), held.push_back(found);
      } else if (kind == 3 && !held.empty()) {
        const BlockId block = held[dice(held.size())];
        if (pool.references(block) == 1) pool.recycle(block), content.erase(block);
      } else if (!held.empty()) {
        const std::size_t which = dice(held.size());
        pool.free(held[which]);
        held[which] = held.back();
        held.pop_back();
      }
      std::map<BlockHash, std::int64_t> copies;
      for (const auto& [block, hash] : content) copies[hash] += pool.references(block) > 0;
      std::int64_t twice = 0;
      for (const auto& [hash, count] : copies) twice += std::max<std::int64_t>(0, count - 1);
      ASSERT_EQ(pool.duplicates(), twice) << "seed " << seed << " step " << step;
    }
  }
}

}  // namespace
}  // namespace tessera
