// One inference engine: continuous batching over a paged KV cache, as vLLM v1 does it.
//
// Loop: drain arrivals into the waiting queue, schedule a step, launch it; with asynchronous scheduling
// (depth 2) schedule one step ahead while a step runs, else wait for the oldest step and process its
// outputs. Rules per step, with the vLLM v1 source's names:
//   * running requests first, in admission order: decodes take one token, a partial prefill takes what is
//     left of max_num_batched_tokens; then waiting requests, first come first served, chunked to the budget;
//   * a running request that gets no block preempts the latest admitted one (recompute); a step that
//     preempted admits nobody;
//   * admission needs a seat, blocks for the chunk and (reserve_full_prompt) blocks for all known tokens;
//   * prefix hits cover full blocks only and never the last token; a freed block stays findable until it
//     is reused, freed requests give back their tail first;
//   * where KV moves (kv_mover.hpp), an admitted request whose blocks come from a tier or from swap space
//   takes
//     its place among the running ones and is scheduled when they are there, after the partial prefill and
//     before new requests; asynchronous loads need no step, layer-wise ones stretch theirs;
//   * a request whose last token is in flight is not scheduled but keeps seat and blocks until that step's
//     output is processed.
// prefill_first (SGLang without mixed chunks): a step with prompt tokens holds the decodes back, so prompts
// that are let in run alone and decodes between them.
// Left out: priorities, several partial prefills at once (long-prefill threshold), stop strings.
//
// Pushed, not polled: advance(t) plays everything before t, arrive() hands over the next request.
#pragma once

#include <csignal>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/serving/decode_set.hpp"
#include "sim/serving/kv_memory.hpp"
#include "sim/serving/metrics.hpp"
#include "sim/serving/step.hpp"

namespace tessera {

class KvMover;
struct KvMoverSpec;

struct ReplicaSpec {
  std::int64_t max_num_seqs = 256;
  std::int64_t max_batched_tokens = 2048;
  KvMemorySpec memory;
  std::shared_ptr<const KvMoverSpec> movement;  // null: KV stays in HBM
  // Engine timing.
  int async_depth = 2;
  bool prefill_first = false;     // prompts run in steps of their own, before any decode
  std::int64_t host_base_ps = 0;  // per step, before its launch
  std::int64_t host_per_sequence_ps = 0;
  std::int64_t prefill_step_floor_ps = 0;  // eager launch of a step with prefill
  std::int64_t frontend_ps = 0;            // a request reaches the engine this long after its arrival
  std::int64_t cold_start_ps = 0;          // added to the first step
  int engine = 0;                          // number of this replica, for the timeline
  const volatile std::sig_atomic_t* stop = nullptr;  // the run ends as it stands once this is not 0
  bool cascade = false;                              // prefixes that running requests share are looked for
  bool leap = true;  // play runs of equal decode steps in one go; the result is the same (tested)
};

// A request as the engine gets it. block_hashes: chained identities of the full prompt blocks, or empty
// when the trace does not say what is shared.
struct Arrival {
  std::uint32_t row = 0;  // position in the trace
  std::int64_t arrival_ps = 0;
  std::int32_t input_tokens = 0;
  std::int32_t output_tokens = 0;
  std::span<const std::uint64_t> block_hashes;
};

class Replica {
 public:
  Replica(const ReplicaSpec& spec, StepCost& cost, Metrics& metrics);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

  // Plays every action before `until_ps`.
  void advance(std::int64_t until_ps);
  // Plays one of them, and the equal steps after it; false if there is none or the run was stopped. No
  // request finishes but in the action itself, at next_action_ps().
  bool advance_once(std::int64_t until_ps);
  [[nodiscard]] std::int64_t next_action_ps() const { return next_action_ps_; }  // kNever: idle
  // Hands over a request; call advance(arrival + frontend) first. Arrivals must not go back in time. A
  // request that can never fit is counted and the reason returned; otherwise the result is empty.
  std::string arrive(const Arrival& arrival);
  // Plays to the end; every request has then left (unless the run was stopped).
  void finish();

  [[nodiscard]] std::int64_t outstanding() const {
    return static_cast<std::int64_t>(waiting_.size()) + running_count_;
  }
  [[nodiscard]] const KvMemory& memory() const { return *memory_; }
  [[nodiscard]] bool stopped() const { return spec_.stop != nullptr && *spec_.stop != 0; }
  [[nodiscard]] const KvMover* mover() const { return mover_.get(); }

 private:
  using Slot = std::uint32_t;
  static constexpr Slot kNone = ~Slot{0};

  struct Sequence {
    RequestRecord record;
    std::int64_t target = 0;    // tokens to compute before the next is emitted: prompt and all answers
    std::int64_t computed = 0;  // while prefilling; then per sequence, a shared prompt in each; decodes live
                                // in the DecodeSet
    std::int64_t reached = 0;   // of `target`, as far as it was computed before a preemption
    std::int32_t emitted = 0;   // scheduled to be emitted by each sequence, in flight included
    std::int64_t last_token_ps = 0;   // of preempted requests; else when it joined the decodes
    Slot prev = kNone, next = kNone;  // running list, in admission order
    std::uint64_t admitted = 0;       // admission number
    bool released = false;            // blocks already given back (preempted with its last token in flight)
    // Tokens [load_from, load_to) come from outside and are there at load_ready_ps; what is before load_from
    // is computed meanwhile. Nothing comes while both are 0.
    std::int32_t load_from = 0, load_to = 0;
    std::int64_t load_ready_ps = 0;
  };

  // Decodes whose latest token came at the same time, while prompts hold them back.
  struct Held {
    std::int64_t since_ps, count;
  };

  struct Flight {  // a launched step
    std::int64_t start_ps = 0, end_ps = 0;
    std::int64_t decodes = 0, prefill_tokens = 0;
    struct FirstToken {
      Slot slot;
      std::int64_t before_ps;  // end of the step that emitted its token before, if it was preempted since
    };
    std::vector<FirstToken> first_tokens;  // requests whose prefill ends in this step
    std::vector<Slot> finishing;           // requests whose last token this step emits
    std::vector<Held> held;                // its decodes, if prompts held them back before it
    void clear() { decodes = prefill_tokens = 0, first_tokens.clear(), finishing.clear(), held.clear(); }
  };

  void act();
  bool schedule(std::int64_t now);
  void complete_oldest();
  void leap(std::int64_t until_ps);

  // Parts of schedule(); each fills `flight_` and the shape.
  bool make_room_for_decodes();
  void grow_decodes();
  [[nodiscard]] SharedPrefixes shared_prefixes() const;
  bool continue_partial(std::int64_t& budget);
  bool resume_loaded(std::int64_t now, std::int64_t& budget);
  void admit(std::int64_t now, std::int64_t& budget);
  std::int64_t begin_load(Slot slot, std::int64_t now, std::int64_t budget);
  void hold_room(Slot slot, std::int64_t tokens);
  std::int64_t give_drops(std::int64_t now);
  void wait_for_load(Slot slot);
  void settle_movement(std::int64_t now);
  bool run_chunk(Slot slot, std::int64_t tokens);
  void hold_decodes(std::int64_t joined);

  void preempt(Slot victim);
  void leave_memory(Slot slot, bool comes_back);
  void leave_running(Slot slot);
  void launch(std::int64_t now, const StepPrice& price, std::int64_t step_index);
  void retire_price();
  [[nodiscard]] std::int64_t in_full_blocks(std::int64_t tokens) const {
    return tokens / spec_.memory.block_tokens * spec_.memory.block_tokens;
  }
  Slot new_slot();
  std::string reject(const std::string& reason);

  ReplicaSpec spec_;
  StepCost& cost_;
  Metrics& metrics_;
  std::unique_ptr<KvMemory> memory_;
  std::unique_ptr<KvMover> mover_;
  std::int64_t branches_;  // sequences every request decodes as, once its prompt is computed
  DecodeSet decodes_;

  std::vector<Sequence> seqs_;
  std::vector<Slot> free_slots_;
  std::deque<Slot> waiting_;
  Slot running_head_ = kNone, running_tail_ = kNone;
  std::int64_t running_count_ = 0;
  std::uint64_t admissions_ = 0;
  Slot partial_ = kNone;  // the one running request whose prefill is not done; always the tail

  // Of moving KV; all as they are where nothing moves.
  std::vector<Slot> loading_;               // running requests that wait for their blocks, as admitted
  std::int64_t earliest_load_ps_ = kNever;  // of those
  std::int64_t not_before_ps_ = 0;          // the next step overwrites blocks whose content leaves until then
  std::int64_t load_first_ps_ = 0, load_end_ps_ = 0;  // of what the step being filled loads layer by layer
  struct Stored {
    Slot slot;
    std::int64_t before, after;
  };
  std::vector<Stored> stored_;  // prompt tokens the step being filled computes
  std::int64_t now_ps_ = 0;     // of the schedule under way

  std::vector<Flight> flights_;  // ring of async_depth
  std::size_t oldest_ = 0, in_flight_ = 0;
  Flight* flight_ = nullptr;  // being filled
  std::int64_t next_action_ps_ = kNever;
  std::int64_t gpu_free_ps_ = 0;
  std::int64_t host_free_ps_ = 0;   // when the host is done preparing the latest launched step
  std::int64_t last_end_ps_ = 0;    // end of the latest completed step
  std::int64_t last_start_ps_ = 0;  // of the latest launched step
  std::int64_t map_free_ps_ = 0;    // when memory asked for so far is mapped
  bool waits_for_oldest_ = false;
  bool settled_ = false;         // the last schedule ran decodes only and could not have done anything else
  bool waits_for_room_ = false;  // the last schedule found no room for a request that had a seat
  bool first_step_ = true;

  StepPrice price_;  // of the current decode-only batch
  std::int64_t price_used_ = 0;
  bool price_stale_ = true;

  std::vector<PrefillChunk> chunks_;
  std::vector<Slot> scratch_;
  std::vector<Held> held_;                   // all decodes, since the latest step was one of prompts alone
  std::int64_t decode_end_ps_ = 0;           // of the latest launched step with decodes
  std::int64_t resident_ = 0;                // tokens computed or being computed of running requests
  std::int64_t branched_prompt_tokens_ = 0;  // of decodes, in full blocks their own sequences share
};

}  // namespace tessera
