// An inference engine with paged KV and a prefix cache, written out request by request and token by token as
// vLLM v1's documentation tells it: what Replica must agree with to the picosecond.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "sim/serving/replica.hpp"
#include "tests/support/slow_prefix_pool.hpp"

namespace tessera::test {

// What one step runs, as lists: the context of every decode with its new token, and every prompt chunk.
struct SlowStep {
  std::vector<std::int64_t> contexts;
  struct Chunk {
    std::int64_t tokens, history;
  };
  std::vector<Chunk> chunks;
  std::int64_t completed_prompts = 0;
  [[nodiscard]] std::int64_t prefill_tokens() const {
    std::int64_t sum = 0;
    for (const Chunk& chunk : chunks) sum += chunk.tokens;
    return sum;
  }
};

class SlowEngine {
 public:
  struct Request {
    std::int64_t arrival_ps = 0, input = 0, output = 0;
    std::vector<std::uint64_t> hashes;  // of the full blocks of its prompt
    std::int64_t stored = 0;            // tokens in the cache, those of steps in flight included
    std::int64_t ever_stored = 0;       // the most that ever was
    std::int64_t emitted = 0;           // likewise with those in flight
    std::vector<std::size_t> blocks;
    struct Left {
      std::size_t block;
      std::int64_t overwritten;
    };
    std::vector<Left> left;  // its full blocks when it gave way, and how often each had been overwritten
    std::int64_t cached_tokens = 0;  // when it was first admitted
    std::int64_t preemptions = 0, queued_ps = -1, scheduled_ps = -1;
    std::vector<std::int64_t> token_ps;  // when each token of the answer came
    bool rejected = false;
    bool decodes = false;  // its prompt, or what is computed again after it gave way, is done
    [[nodiscard]] std::int64_t known() const { return input + emitted; }
    [[nodiscard]] bool ends() const { return emitted == output; }
  };

  SlowEngine(const ReplicaSpec& spec, std::function<std::int64_t(const SlowStep&)> duration)
      : spec_(spec), duration_(std::move(duration)), pool_(spec.memory.kv_blocks) {}

  std::vector<Request> requests;
  std::vector<StepRecord> steps;
  std::int64_t preemptions = 0, recomputed = 0;

  [[nodiscard]] std::int64_t evictions() const { return pool_.evictions; }

  void play() {
    std::size_t next = 0;
    std::int64_t now = 0;
    for (;;) {
      if (flights_.empty() && waiting_.empty() && running_.empty()) {
        if (next == requests.size()) return;
        now = std::max(now, requests[next].arrival_ps);
      }
      for (; next < requests.size() && requests[next].arrival_ps <= now; ++next) enter(next);
      while (static_cast<int>(flights_.size()) < spec_.async_depth && step(now)) {
      }
      if (flights_.empty()) continue;  // all that came was rejected
      now = flights_.front().end_ps;
      // What arrives until the step ends is known when the next is put together.
      for (; next < requests.size() && requests[next].arrival_ps <= now; ++next) enter(next);
      end_step();
    }
  }

 private:
  struct Flight {
    std::int64_t end_ps = 0;
    std::vector<std::size_t> emits;
  };

  [[nodiscard]] std::int64_t blocks_for(std::int64_t tokens) const {
    return (tokens + spec_.memory.block_tokens - 1) / spec_.memory.block_tokens;
  }
  [[nodiscard]] std::int64_t set_aside() const {
    return static_cast<std::int64_t>(spec_.memory.watermark * static_cast<double>(spec_.memory.kv_blocks));
  }

  void enter(std::size_t id) {
    Request& r = requests[id];
    const std::int64_t limit = spec_.memory.max_model_len;
    r.rejected = (limit > 0 && r.input + r.output > limit) ||
                 blocks_for(r.input + r.output - 1) > spec_.memory.kv_blocks - set_aside();
    if (!r.rejected) waiting_.push_back(id);
  }

  // Room for the first `tokens` of a request, or false.
  bool hold(Request& r, std::int64_t tokens) {
    const auto want = static_cast<std::size_t>(blocks_for(tokens));
    if (want > r.blocks.size() && static_cast<std::int64_t>(want - r.blocks.size()) > pool_.free_blocks())
      return false;
    while (r.blocks.size() < want) r.blocks.push_back(pool_.take_new());
    return true;
  }
  void give_back(Request& r) {
    pool_.give_back(r.blocks);
    r.blocks.clear();
  }

  // Full blocks from the head on that are there, never the one with the last token: its own, as it left them,
  // or whoever's has the same content.
  [[nodiscard]] std::vector<std::size_t> find_head(const Request& r) const {
    std::vector<std::size_t> head;
    if (!spec_.memory.prefix_cache) return head;
    while (static_cast<std::int64_t>(head.size() + 1) * spec_.memory.block_tokens < r.known()) {
      const std::size_t i = head.size();
      std::int64_t block = -1;
      if (i < r.left.size() && pool_.at(r.left[i].block).overwritten == r.left[i].overwritten)
        block = static_cast<std::int64_t>(r.left[i].block);
      else if (i < r.hashes.size())
        block = pool_.find(r.hashes[i]);
      if (block < 0) break;
      head.push_back(static_cast<std::size_t>(block));
    }
    return head;
  }

  void preempt_latest() {
    const std::size_t id = running_.back();
    running_.pop_back();
    Request& r = requests[id];
    ++r.preemptions;
    ++preemptions;
    r.left.clear();
    for (std::int64_t i = 0; i < r.stored / spec_.memory.block_tokens; ++i) {
      const std::size_t block = r.blocks[static_cast<std::size_t>(i)];
      r.left.push_back({block, pool_.at(block).overwritten});
    }
    give_back(r);
    if (r.ends()) return;  // its last token is on the way
    r.stored = 0;
    r.decodes = false;
    waiting_.push_front(id);
  }

  // Full blocks of the prompt can be found from the step on that computes them.
  void publish(const Request& r) {
    if (!spec_.memory.prefix_cache) return;
    for (std::size_t i = 0; i < r.hashes.size(); ++i)
      if (static_cast<std::int64_t>(i + 1) * spec_.memory.block_tokens <= r.stored &&
          pool_.at(r.blocks[i]).hash == 0)
        pool_.publish(r.blocks[i], r.hashes[i]);
  }

  // The next tokens of a prompt; false where it, being the latest, had to give way to itself.
  bool run_prompt(std::size_t id, SlowStep& step, std::int64_t& budget) {
    Request& r = requests[id];
    const std::int64_t tokens = std::min(r.known() - r.stored, budget);
    if (!hold(r, spec_.memory.allocate_full_prompt ? r.known() : r.stored + tokens)) {
      preempt_latest();
      return false;
    }
    for (std::int64_t t = r.stored; t < r.stored + tokens; ++t) recomputed += t < r.ever_stored ? 1 : 0;
    step.chunks.push_back({tokens, r.stored});
    r.stored += tokens;
    r.ever_stored = std::max(r.ever_stored, r.stored);
    budget -= tokens;
    publish(r);
    if (r.stored == r.known()) {
      ++step.completed_prompts;
      emits_.push_back(id);
    }
    return true;
  }

  bool decode_all(SlowStep& step, std::int64_t& budget) {
    bool preempted = false;
    for (std::size_t i = 0; i < running_.size(); ++i) {
      const std::size_t id = running_[i];
      Request& r = requests[id];
      if (!r.decodes || r.ends()) continue;
      while (i < running_.size() && !hold(r, r.stored + 1)) {
        preempt_latest();
        preempted = true;
      }
      if (i >= running_.size()) break;  // it was the latest itself
      ++r.stored;
      r.ever_stored = std::max(r.ever_stored, r.stored);
      step.contexts.push_back(r.stored);
      emits_.push_back(id);
      --budget;
    }
    return preempted;
  }

  void run_prompts(SlowStep& step, std::int64_t& budget, std::int64_t now, bool preempted) {
    // Only the latest admitted can be half done: the budget ended with it.
    if (!running_.empty() && budget > 0) {
      const Request& r = requests[running_.back()];
      if (!r.ends() && !r.decodes && !run_prompt(running_.back(), step, budget)) preempted = true;
    }
    while (!preempted && !waiting_.empty() && budget > 0 &&
           static_cast<std::int64_t>(running_.size()) < spec_.max_num_seqs) {
      const std::size_t id = waiting_.front();
      Request& r = requests[id];
      const bool whole = spec_.memory.reserve_full_prompt || spec_.memory.allocate_full_prompt;
      const std::vector<std::size_t> head = find_head(r);
      const std::int64_t cached = static_cast<std::int64_t>(head.size()) * spec_.memory.block_tokens;
      std::int64_t from_queue =
          blocks_for(whole ? r.known() : cached + std::min(r.known() - cached, budget)) -
          static_cast<std::int64_t>(head.size());
      for (const std::size_t block : head) from_queue += pool_.at(block).users == 0 ? 1 : 0;
      if (from_queue > pool_.free_blocks() - set_aside()) return;
      for (const std::size_t block : head) pool_.share(block);
      r.blocks = head;
      r.stored = cached;
      waiting_.pop_front();
      running_.push_back(id);
      if (r.scheduled_ps < 0) r.cached_tokens = cached;
      if (r.scheduled_ps < 0) r.scheduled_ps = now;
      run_prompt(id, step, budget);
    }
  }

  bool step(std::int64_t now) {
    for (const std::size_t id : waiting_)
      if (requests[id].queued_ps < 0) requests[id].queued_ps = now;
    SlowStep work;
    emits_.clear();
    std::int64_t budget = spec_.max_batched_tokens;
    if (spec_.prefill_first) {
      run_prompts(work, budget, now, false);
      if (work.chunks.empty()) decode_all(work, budget);
    } else {
      const bool preempted = decode_all(work, budget);
      run_prompts(work, budget, now, preempted);
    }
    if (work.contexts.empty() && work.chunks.empty()) return false;
    for (const std::size_t id : emits_) ++requests[id].emitted, requests[id].decodes = true;
    launch(work, now);
    return true;
  }

  void launch(const SlowStep& work, std::int64_t now) {
    std::int64_t duration = duration_(work);
    if (!work.chunks.empty()) duration = std::max(duration, spec_.prefill_step_floor_ps);
    if (steps.empty()) duration += spec_.cold_start_ps;
    const auto running = static_cast<std::int64_t>(running_.size());
    // One thread prepares steps one after the other, one GPU runs them one after the other.
    host_free_ = std::max(host_free_, now) + spec_.host_base_ps + spec_.host_per_sequence_ps * running;
    const std::int64_t start = std::max(host_free_, gpu_free_);
    gpu_free_ = start + duration;
    flights_.push_back({gpu_free_, emits_});
    steps.push_back({0, start, gpu_free_, static_cast<std::int64_t>(work.contexts.size()),
                     work.prefill_tokens(), running, static_cast<std::int64_t>(waiting_.size()),
                     spec_.memory.kv_blocks - pool_.free_blocks()});
  }

  void end_step() {
    const Flight flight = flights_.front();
    flights_.pop_front();
    for (const std::size_t id : flight.emits) {
      Request& r = requests[id];
      r.token_ps.push_back(flight.end_ps);
      if (static_cast<std::int64_t>(r.token_ps.size()) < r.output) continue;
      give_back(r);
      running_.erase(std::remove(running_.begin(), running_.end(), id), running_.end());
    }
  }

  ReplicaSpec spec_;
  std::function<std::int64_t(const SlowStep&)> duration_;
  SlowPrefixPool pool_;
  std::deque<std::size_t> waiting_;
  std::vector<std::size_t> running_;  // in order of admission
  std::deque<Flight> flights_;        // oldest first
  std::vector<std::size_t> emits_;    // of the step being put together
  std::int64_t host_free_ = 0, gpu_free_ = 0;
};

}  // namespace tessera::test
