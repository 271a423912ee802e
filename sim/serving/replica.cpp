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
  seq.computed = seq.reached = seq.emitted = 0;
  seq.released = false;
  memory_->arrive(slot, arrival.input_tokens, arrival.output_tokens, arrival.block_hashes);
  seq.load_from = seq.load_to = 0;
  if (mover_ != nullptr)
    mover_->queued(slot, memory_->prompt_hashes(slot), memory_->cached_blocks(slot),
                   arrival.arrival_ps + spec_.frontend_ps, arrival.input_tokens);
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
  not_before_ps_ = std::max(not_before_ps_, give_drops(now));
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
