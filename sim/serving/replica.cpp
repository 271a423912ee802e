#include "sim/serving/replica.hpp"

#include <algorithm>
#include <utility>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "sim/serving/kv_mover.hpp"

namespace tessera {

Replica::Replica(const ReplicaSpec& spec, StepCost& cost, Metrics& metrics)
    : spec_(spec),
      cost_(cost),
      metrics_(metrics),
      memory_(make_kv_memory(spec.memory)),
      branches_(spec.memory.branches),
      decodes_(spec.memory.block_tokens, cost.windows(), branches_),
      flights_(static_cast<std::size_t>(spec.async_depth)) {
  TESSERA_CHECK(spec.memory.kv_blocks > 0 && spec.async_depth >= 1,
                "an engine has blocks and a step in flight");
  TESSERA_CHECK(spec.max_batched_tokens >= spec.max_num_seqs, "every decode fits the token budget");
  if (spec.movement != nullptr) mover_ = std::make_unique<KvMover>(*spec.movement, cost);
  TESSERA_CHECK(branches_ >= 1 && branches_ <= spec.max_num_seqs, "one request has seats");
  metrics_.sequences = branches_;
}

Replica::~Replica() = default;

Replica::Slot Replica::new_slot() {
  if (!free_slots_.empty()) {
    const Slot slot = free_slots_.back();
    free_slots_.pop_back();
    return slot;
  }
  seqs_.emplace_back();
  return static_cast<Slot>(seqs_.size() - 1);
}

std::string Replica::arrive(const Arrival& arrival) {
  const std::int64_t limit = spec_.memory.max_model_len;
  if (limit > 0 && arrival.input_tokens + arrival.output_tokens > limit)
    return reject("longer than max_model_len");
  if (const std::string reason = memory_->refusal(arrival.input_tokens, arrival.output_tokens);
      !reason.empty())
    return reject(reason);
  settled_ = false;
  const Slot slot = new_slot();
  Sequence& seq = seqs_[slot];
  seq.record = RequestRecord{};
  seq.record.row = arrival.row;
  seq.record.arrival_ps = arrival.arrival_ps;
  seq.record.input_tokens = arrival.input_tokens;
  seq.record.output_tokens = arrival.output_tokens;
  seq.target = arrival.input_tokens;
  seq.computed = seq.emitted = 0;
  seq.released = false;
  memory_->arrive(slot, arrival.input_tokens, arrival.output_tokens, arrival.block_hashes);
  seq.load_from = seq.load_to = 0;
  if (mover_ != nullptr)
    mover_->queued(slot, memory_->prompt_hashes(slot), memory_->cached_blocks(slot),
                   arrival.arrival_ps + spec_.frontend_ps);
  waiting_.push_back(slot);
  metrics_.peak_waiting = std::max(metrics_.peak_waiting, static_cast<std::int64_t>(waiting_.size()));
  // With a step in flight it is seen when that ends.
  if (in_flight_ == 0) next_action_ps_ = std::min(next_action_ps_, arrival.arrival_ps + spec_.frontend_ps);
  return {};
}

std::string Replica::reject(const std::string& reason) {
  ++metrics_.rejected[reason];
  return reason;
}

void Replica::advance(std::int64_t until_ps) {
  while (advance_once(until_ps)) {
  }
}

bool Replica::advance_once(std::int64_t until_ps) {
  if (next_action_ps_ >= until_ps || stopped()) return false;
  const std::int64_t completed = metrics_.completed;
  act();
  // Whoever waits for an answer may send the next request before the step after this one.
  if (spec_.leap && metrics_.completed == completed) leap(std::min(until_ps, earliest_load_ps_));
  return true;
}

void Replica::finish() {
  advance(kNever);
  if (!stopped()) {
    TESSERA_CHECK(waiting_.empty() && running_count_ == 0, "every request leaves");
    TESSERA_CHECK(memory_->empty(), "every block came back");
    TESSERA_CHECK(mover_ == nullptr || mover_->swap_blocks_used() == 0, "what was swapped out came back");
  }
  retire_price();
  metrics_.evictions += memory_->evictions();
  metrics_.copied_blocks += memory_->copied_blocks();
  metrics_.mapped_pages += memory_->mapped_pages();
}

void Replica::act() {
  const std::int64_t now = next_action_ps_;
  if (waits_for_oldest_) {
    complete_oldest();
    waits_for_oldest_ = false;
  }
  const bool scheduled = schedule(now);
  if (scheduled && in_flight_ < flights_.size() && flights_[oldest_].end_ps > now) {
    next_action_ps_ = now;  // one more step can be scheduled ahead
  } else if (in_flight_ > 0) {
    waits_for_oldest_ = true;
    next_action_ps_ = flights_[oldest_].end_ps;
  } else if (!loading_.empty()) {
    next_action_ps_ = std::max(now, earliest_load_ps_);  // idle until blocks come
  } else if (mover_ != nullptr && !waiting_.empty()) {
    next_action_ps_ = now;  // a request gave way to nobody; it goes on with all memory to itself
  } else {
    next_action_ps_ = kNever;  // idle until the next arrival
  }
}

// Runs of decode steps in which nothing but time, tokens and blocks moves. Each iteration does exactly what
// act() would do; it only skips the looks that cannot find anything.
void Replica::leap(std::int64_t until_ps) {
  while (!stopped() && settled_ && waits_for_oldest_ && next_action_ps_ < until_ps && !price_stale_ &&
         price_used_ < price_.valid_steps && flights_[oldest_].first_tokens.empty() &&
         flights_[oldest_].finishing.empty() && memory_->room_to_grow() >= decodes_.crossing().size() &&
         decodes_.steps_to_finish() > 1) {
    const std::int64_t now = next_action_ps_;
    complete_oldest();
    flight_ = &flights_[(oldest_ + in_flight_) % flights_.size()];
    flight_->decodes = decodes_.size();
    grow_decodes();
    launch(now, price_, price_used_++);
    decode_end_ps_ = flight_->end_ps;
    decodes_.step(flight_->finishing);
    next_action_ps_ = flights_[oldest_].end_ps;
  }
}

// Every decode gets room for its next token.
void Replica::grow_decodes() {
  memory_->grow(decodes_.crossing());
  resident_ += decodes_.size();
}

// What decodes read in common: the prompt of each request that decodes as several sequences, else the blocks
// that all running requests hold at their head.
SharedPrefixes Replica::shared_prefixes() const {
  if (branches_ > 1) {
    const std::int64_t groups = decodes_.size() / branches_;
    return {groups, branches_, branched_prompt_tokens_ / groups};
  }
  return {1, decodes_.size(), memory_->common_tokens(running_head_, running_count_)};
}

void Replica::complete_oldest() {
  Flight& flight = flights_[oldest_];
  const std::int64_t now = flight.end_ps;
  if (flight.decodes > 0 && flight.held.empty()) metrics_.token_gaps(now - last_end_ps_, flight.decodes);
  for (const Held& held : flight.held) metrics_.token_gaps(now - held.since_ps, held.count);
  for (const auto& [slot, before_ps] : flight.first_tokens) {
    RequestRecord& record = seqs_[slot].record;
    if (record.first_token_ps < 0) {
      record.first_token_ps = now;
    } else {  // back from preemption
      metrics_.token_gaps(now - before_ps, branches_);
    }
  }
  for (const Slot slot : flight.finishing) {
    Sequence& seq = seqs_[slot];
    seq.record.finish_ps = now;
    metrics_.finish(seq.record);
    if (!seq.released) {
      leave_memory(slot, false);
      leave_running(slot);
    }
    free_slots_.push_back(slot);
  }
  last_end_ps_ = now;
  flight.clear();
  oldest_ = (oldest_ + 1) % flights_.size();
  --in_flight_;
}

bool Replica::schedule(std::int64_t now) {
  flight_ = &flights_[(oldest_ + in_flight_) % flights_.size()];
  chunks_.clear();
  waits_for_room_ = false;
  now_ps_ = now;
  load_first_ps_ = load_end_ps_ = 0;
  for (auto it = waiting_.rbegin(); it != waiting_.rend() && seqs_[*it].record.queued_ps < 0; ++it)
    seqs_[*it].record.queued_ps = now;

  bool preempted = false, partial_preempted = false, load_waits = false;
  std::int64_t budget = spec_.max_batched_tokens;
  const auto run_prompts = [&] {
    partial_preempted = continue_partial(budget);
    load_waits = !loading_.empty() && resume_loaded(now, budget);
    if (!preempted && !partial_preempted && !load_waits) admit(now, budget);
  };
  if (spec_.prefill_first) run_prompts();
  StepShape shape;
  if (chunks_.empty()) {
    preempted = make_room_for_decodes();
    shape.decodes = decodes_.size();
    budget -= shape.decodes;
  }
  if (shape.decodes > 0) {
    grow_decodes();
    shape.decode_kv[0] = decodes_.context_sum();
    for (std::size_t i = 0; i < cost_.windows().size(); ++i) shape.decode_kv[i + 1] = decodes_.window_sum(i);
    shape.lengths = decodes_.lengths();
    shape.offset = decodes_.clock();
    if (spec_.cascade) shape.shared = shared_prefixes();
  }
  // A request whose chunk completes its prompt joins the decodes of the next step, so the set stays as
  // priced.
  if (!spec_.prefill_first) run_prompts();
  earliest_load_ps_ = kNever;
  for (const Slot slot : loading_) earliest_load_ps_ = std::min(earliest_load_ps_, seqs_[slot].load_ready_ps);

  if (shape.decodes == 0 && chunks_.empty()) return false;
  // From here on only a finish, an arrival or a shortage of blocks can change what a step does (or room that
  // decodes themselves give back, or blocks that come).
  settled_ = chunks_.empty() && !preempted && !partial_preempted && !load_waits && partial_ == kNone &&
             !(waits_for_room_ && memory_->frees_while_decoding());
  shape.chunks = chunks_;
  for (const PrefillChunk& chunk : chunks_) shape.prefill_tokens += chunk.tokens;
  shape.sampled = shape.decodes;
  for (const auto& [slot, before_ps] : flight_->first_tokens)
    shape.sampled += seqs_[slot].emitted == 0 ? 1 : branches_;  // one row gives all first tokens
  flight_->decodes = shape.decodes;
  flight_->prefill_tokens = shape.prefill_tokens;

  if (chunks_.empty()) {
    if (price_stale_ || price_used_ >= price_.valid_steps) {
      retire_price();
      price_ = cost_.price(shape);
      price_stale_ = false;
    }
    launch(now, price_, price_used_++);
  } else {
    retire_price();
    const StepPrice price = cost_.price(shape);
    metrics_.step_terms(price.terms, 1);
    ++metrics_.mixed_steps;
    launch(now, price, 0);
    for (const auto& [slot, before, after] : stored_)
      mover_->computed(memory_->prompt_hashes(slot), before, after, now, flight_->end_ps);
    stored_.clear();
  }

  if (shape.decodes > 0) {
    const std::size_t first = flight_->finishing.size();
    decodes_.step(flight_->finishing);
    for (std::size_t i = first; i < flight_->finishing.size(); ++i) {
      Sequence& seq = seqs_[flight_->finishing[i]];
      seq.emitted = seq.record.output_tokens;
      branched_prompt_tokens_ -= in_full_blocks(seq.record.input_tokens);
      seq.computed = branches_ * (seq.record.input_tokens + seq.record.output_tokens - 1);
      price_stale_ = true;
    }
  }
  std::int64_t joined = 0;
  for (const auto& [slot, before_ps] : flight_->first_tokens) {
    Sequence& seq = seqs_[slot];
    ++seq.emitted;
    if (seq.emitted == seq.record.output_tokens) {
      flight_->finishing.push_back(slot);
    } else {
      decodes_.add(slot, seq.computed / branches_, seq.record.output_tokens - seq.emitted);
      branched_prompt_tokens_ += in_full_blocks(seq.record.input_tokens);
      seq.last_token_ps = flight_->end_ps;
      joined += branches_;
      price_stale_ = true;
    }
  }
  if (spec_.prefill_first) hold_decodes(joined);
  return true;
}

// After a launch: decodes wait through a step of prompts, and so do the `joined` sequences that it starts.
void Replica::hold_decodes(std::int64_t joined) {
  if (flight_->decodes > 0) {
    flight_->held = std::exchange(held_, {});
    decode_end_ps_ = flight_->end_ps;
    return;
  }
  const std::int64_t before = decodes_.size() - joined;
  if (held_.empty() && before > 0) held_.push_back({decode_end_ps_, before});
  if (joined > 0) held_.push_back({flight_->end_ps, joined});
}

// Preempts the latest admitted requests until every decode that starts a new block gets one.
bool Replica::make_room_for_decodes() {
  if (memory_->room_to_grow() >= decodes_.crossing().size()) return false;
  scratch_.assign(decodes_.crossing().begin(), decodes_.crossing().end());
  std::sort(scratch_.begin(), scratch_.end(),
            [this](Slot a, Slot b) { return seqs_[a].admitted < seqs_[b].admitted; });
  std::size_t needed = 0;
  bool preempted = false;
  for (const Slot slot : scratch_) {
    if (!decodes_.contains(slot)) continue;  // itself preempted for an earlier one
    while (memory_->room_to_grow() < needed + 1 && decodes_.contains(slot)) {
      preempt(running_tail_);
      preempted = true;
    }
    if (decodes_.contains(slot)) ++needed;
  }
  return preempted;
}

bool Replica::continue_partial(std::int64_t& budget) {
  if (partial_ == kNone || budget <= 0) return false;
  const Sequence& seq = seqs_[partial_];
  const std::int64_t end = seq.load_to > 0 ? seq.load_from : seq.target;
  const std::int64_t tokens = std::min<std::int64_t>(end - seq.computed, budget);
  bool preempted = false;
  while (!run_chunk(partial_, tokens)) {
    // It is the latest admitted but for those that wait for blocks.
    const bool last = loading_.empty() || loading_.back() != running_tail_;
    preempt(last ? partial_ : running_tail_);
    if (last) return true;
    preempted = true;
  }
  budget -= tokens;
  return preempted;
}

// Schedules requests whose blocks have come, in order of admission. Where one finds no room for the rest of
// its prompt, later ones that still wait give way; if there are none it waits, and nobody is admitted
// meanwhile. True if anyone was preempted or waits for room.
bool Replica::resume_loaded(std::int64_t now, std::int64_t& budget) {
  bool short_of_room = false;
  for (std::size_t i = 0; i < loading_.size() && budget > 0 && partial_ == kNone;) {
    const Slot slot = loading_[i];
    Sequence& seq = seqs_[slot];
    if (seq.load_ready_ps > now) {
      ++i;
      continue;
    }
    if (seq.load_to > 0) {
      const bool held = memory_->extend(slot, seq.load_from, seq.load_to, seq.target);
      TESSERA_CHECK(held, "what is loaded has room");
      static_cast<void>(held);
      resident_ += seq.load_to - seq.load_from;
      seq.computed = seq.load_to;
      seq.load_from = seq.load_to = 0;
    }
    const std::int64_t tokens = std::min<std::int64_t>(seq.target - seq.computed, budget);
    bool runs = run_chunk(slot, tokens);
    while (!runs && running_tail_ == loading_.back()) {
      short_of_room = true;
      const bool itself = running_tail_ == slot;
      preempt(running_tail_);
      if (itself) break;
      runs = run_chunk(slot, tokens);
    }
    if (runs) {
      loading_.erase(loading_.begin() + static_cast<std::ptrdiff_t>(i));
      budget -= tokens;
    } else {
      short_of_room = waits_for_room_ = true;
      break;
    }
  }
  return short_of_room;
}

// Asks for what the tiers or swap space hold of an admitted request; returns how many tokens come.
std::int64_t Replica::begin_load(Slot slot, std::int64_t now, std::int64_t budget) {
  Sequence& seq = seqs_[slot];
  // Blocks there is room for, the first chunk's kept free.
  const std::int64_t block = spec_.memory.block_tokens;
  std::int64_t room = static_cast<std::int64_t>(memory_->room_to_grow());
  if (!spec_.memory.reserve_full_prompt && !spec_.memory.allocate_full_prompt)
    room = std::max<std::int64_t>(0, room - (std::min<std::int64_t>(budget, seq.target) / block + 2));
  const KvMover::Fetch fetch = mover_->fetch(slot, memory_->prompt_hashes(slot), seq.computed, seq.target,
                                             seq.computed + room * block, now);
  const std::int64_t tokens = fetch.to - fetch.from;
  if (tokens == 0) return 0;
  if (mover_->spec().mode == LoadMode::layerwise) {
    const bool fits = memory_->extend(slot, fetch.from, fetch.to, seq.target);
    TESSERA_CHECK(fits, "what is loaded has room");
    static_cast<void>(fits);
    seq.computed = static_cast<std::int32_t>(fetch.to);
    resident_ += tokens;
    load_first_ps_ = std::max(load_first_ps_, fetch.first_ps);
    load_end_ps_ = std::max(load_end_ps_, fetch.end_ps);
    return tokens;
  }
  const bool held = memory_->hold(slot, fetch.to, seq.target);
  TESSERA_CHECK(held, "what is loaded has room");
  static_cast<void>(held);
  seq.load_from = static_cast<std::int32_t>(fetch.from);
  seq.load_to = static_cast<std::int32_t>(fetch.to);
  seq.load_ready_ps = fetch.end_ps;
  if (seq.computed == seq.load_from) wait_for_load(slot);
  return tokens;
}

void Replica::wait_for_load(Slot slot) {
  const auto later = [this](std::uint64_t admitted, Slot other) { return admitted < seqs_[other].admitted; };
  loading_.insert(std::upper_bound(loading_.begin(), loading_.end(), seqs_[slot].admitted, later), slot);
}

void Replica::admit(std::int64_t now, std::int64_t& budget) {
  while (!waiting_.empty() && budget > 0 && (running_count_ + 1) * branches_ <= spec_.max_num_seqs) {
    const Slot slot = waiting_.front();
    Sequence& seq = seqs_[slot];
    const std::optional<std::int64_t> found = memory_->admit(slot, seq.target, budget);
    if (!found) {
      waits_for_room_ = true;
      return;
    }
    const std::int64_t cached = *found;
    waiting_.pop_front();
    seq.computed = cached;
    resident_ += cached;
    seq.admitted = admissions_++;
    seq.prev = running_tail_;
    seq.next = kNone;
    (running_tail_ == kNone ? running_head_ : seqs_[running_tail_].next) = slot;
    running_tail_ = slot;
    ++running_count_;
    const std::int64_t reused = cached + (mover_ != nullptr ? begin_load(slot, now, budget) : 0);
    if (seq.record.scheduled_ps < 0) {
      seq.record.scheduled_ps = now;
      seq.record.cached_tokens = static_cast<std::int32_t>(reused);
      metrics_.prompt_tokens_looked_up += seq.record.input_tokens;
      metrics_.prompt_tokens_hit += reused;
    } else {
      metrics_.recomputed_tokens += seq.target - reused;
    }
    if (seq.load_to > 0 && seq.computed == seq.load_from) continue;  // it waits for its blocks
    const std::int64_t end = seq.load_to > 0 ? seq.load_from : seq.target;
    const std::int64_t tokens = std::min(end - seq.computed, budget);
    const bool fits = run_chunk(slot, tokens);
    TESSERA_CHECK(fits, "an admitted request has room for its first chunk");
    static_cast<void>(fits);
    budget -= tokens;
  }
}

// Schedules the next `tokens` tokens of a request's prefill, if there is room for them.
bool Replica::run_chunk(Slot slot, std::int64_t tokens) {
  Sequence& seq = seqs_[slot];
  const std::int64_t before = seq.computed;
  const std::int64_t after = before + tokens;
  if (!memory_->extend(slot, before, after, seq.target)) return false;
  seq.computed = after;
  resident_ += tokens;
  chunks_.push_back({tokens, before});
  if (mover_ != nullptr) stored_.push_back({slot, before, after});
  const bool done = after == seq.target;
  const bool waits = !done && seq.load_to > 0 && after == seq.load_from;
  partial_ = done || waits ? kNone : slot;
  if (waits) wait_for_load(slot);
  if (done) {
    flight_->first_tokens.push_back({slot, seq.last_token_ps});
    const std::int64_t input = seq.record.input_tokens;  // from here on it is in every sequence
    seq.computed = branches_ * input + seq.target - input;
    resident_ += (branches_ - 1) * input;
  }
  return true;
}

void Replica::preempt(Slot victim) {
  Sequence& seq = seqs_[victim];
  ++metrics_.preemptions;
  ++seq.record.preemptions;
  price_stale_ = true;
  if (decodes_.contains(victim)) {
    const std::int64_t context = decodes_.computed(victim);
    seq.computed = branches_ * context;
    decodes_.remove(victim);
    branched_prompt_tokens_ -= in_full_blocks(seq.record.input_tokens);
    seq.emitted = static_cast<std::int32_t>(context - seq.record.input_tokens + 1);
    if (held_.empty()) {
      seq.last_token_ps = gpu_free_ps_;  // its latest token is, or was, in the last launched step
    } else {
      seq.last_token_ps = std::max(seq.last_token_ps, decode_end_ps_);
      for (Held& held : held_) held.count -= held.since_ps == seq.last_token_ps ? branches_ : 0;
    }
  }
  const bool last_in_flight = seq.emitted == seq.record.output_tokens;
  const auto waits = std::find(loading_.begin(), loading_.end(), victim);
  const bool loads = waits != loading_.end();
  if (loads) loading_.erase(waits);
  if (mover_ != nullptr && seq.load_to > 0) ++mover_->count().cancelled_loads;
  if (mover_ != nullptr && !last_in_flight && !loads && seq.load_to == 0)
    not_before_ps_ =
        std::max(not_before_ps_, mover_
                                     ->swap_out(victim, seq.computed, seq.record.input_tokens + seq.emitted,
                                                now_ps_, std::max(now_ps_, gpu_free_ps_))
                                     .value_or(0));
  seq.load_from = seq.load_to = 0;
  leave_memory(victim, !last_in_flight);
  leave_running(victim);
  if (victim == partial_) partial_ = kNone;
  if (last_in_flight) {  // it finishes when its step does
    seq.released = true;
    return;
  }
  seq.computed = 0;
  seq.target = seq.record.input_tokens + branches_ * seq.emitted;
  waiting_.push_front(victim);
}

void Replica::leave_memory(Slot slot, bool comes_back) {
  resident_ -= seqs_[slot].computed;
  memory_->leave(slot, seqs_[slot].computed, comes_back);
}

void Replica::leave_running(Slot slot) {
  const Sequence& seq = seqs_[slot];
  (seq.prev == kNone ? running_head_ : seqs_[seq.prev].next) = seq.next;
  (seq.next == kNone ? running_tail_ : seqs_[seq.next].prev) = seq.prev;
  --running_count_;
}

void Replica::launch(std::int64_t now, const StepPrice& price, std::int64_t step_index) {
  std::int64_t duration = price.base_ps + step_index * price.slope_ps;
  TESSERA_CHECK(duration > 0, "a step takes time");
  if (flight_->prefill_tokens > 0) duration = std::max(duration, spec_.prefill_step_floor_ps);
  if (first_step_) {
    duration += spec_.cold_start_ps;
    first_step_ = false;
  }
  const std::int64_t host = spec_.host_base_ps + spec_.host_per_sequence_ps * running_count_ * branches_;
  host_free_ps_ = std::max(now, host_free_ps_) + host;  // one thread prepares one step after the other
  flight_->start_ps = std::max(host_free_ps_, gpu_free_ps_);
  if (const MapWork work = memory_->take_map_work(); work.ahead_ps + work.demanded_ps > 0) {
    map_free_ps_ = std::max(map_free_ps_, last_start_ps_) + work.ahead_ps;
    if (work.demanded_ps > 0) map_free_ps_ = std::max(map_free_ps_, now) + work.demanded_ps;
    metrics_.map_stall_ps += std::max<std::int64_t>(0, map_free_ps_ - flight_->start_ps);
    flight_->start_ps = std::max(flight_->start_ps, map_free_ps_);
  }
  last_start_ps_ = flight_->start_ps;
  if (mover_ != nullptr) settle_movement(now);
  if (duration >= kNever - flight_->start_ps)
    throw RunError("the backlog runs past 106 days, the end of simulated time");
  flight_->end_ps = flight_->start_ps + duration;
  if (load_end_ps_ > flight_->start_ps) {
    // Layers are loaded one after the other: the first must be there to begin, the last to end.
    const std::int64_t end = std::max(std::max(flight_->start_ps, load_first_ps_) + duration,
                                      load_end_ps_ + duration / mover_->spec().layers);
    mover_->count().stall_ps += end - flight_->end_ps;
    flight_->end_ps = end;
  }
  gpu_free_ps_ = flight_->end_ps;
  ++in_flight_;
  ++metrics_.steps;
  metrics_.busy_ps += duration;
  metrics_.prefill_tokens += flight_->prefill_tokens;
  metrics_.decode_tokens += flight_->decodes;
  KvUse use = memory_->use(resident_, waits_for_room_);
  use.running = running_count_;
  metrics_.kv_use(use, duration);
  if (metrics_.on_step)
    metrics_.on_step({spec_.engine, flight_->start_ps, flight_->end_ps, flight_->decodes,
                      flight_->prefill_tokens, running_count_, static_cast<std::int64_t>(waiting_.size()),
                      use.used_blocks});
  if (metrics_.on_memory)
    metrics_.on_memory(
        {spec_.engine, flight_->start_ps, *memory_, [this](Slot slot) { return seqs_[slot].record.row; }});
}

// What this step's blocks held goes out before it starts.
void Replica::settle_movement(std::int64_t now) {
  if (std::vector<std::uint64_t>* drops = memory_->drops(); drops != nullptr && !drops->empty()) {
    not_before_ps_ = std::max(not_before_ps_, mover_->dropped(*drops, now));
    drops->clear();
  }
  if (not_before_ps_ > flight_->start_ps) {
    mover_->count().stall_ps += not_before_ps_ - flight_->start_ps;
    flight_->start_ps = not_before_ps_;
  }
}

void Replica::retire_price() {
  if (price_used_ > 0) {
    // Step i of the run took i slopes more than step 0, all of it attention over contexts that grew by i.
    const auto growth = static_cast<double>(price_used_) * static_cast<double>(price_used_ - 1) / 2;
    metrics_.step_terms(price_.terms, price_used_);
    metrics_.terms.part[static_cast<std::size_t>(StepPart::attention)] +=
        growth * static_cast<double>(price_.slope_ps) * 1e-6;
    metrics_.terms.hbm_bytes += growth * price_.hbm_bytes_slope;
  }
  price_used_ = 0;
  price_stale_ = true;
}

}  // namespace tessera
