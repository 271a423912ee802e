#include "sim/serving/replica.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/units.hpp"

namespace tessera {

Replica::Replica(const ReplicaSpec& spec, StepCost& cost, Metrics& metrics)
    : spec_(spec),
      cost_(cost),
      metrics_(metrics),
      pool_(static_cast<std::uint32_t>(spec.kv_blocks),
            {.null_block = false, .prefix_caching = spec.prefix_cache && spec.hashed_prompts}),
      regions_(spec.kv_blocks * spec.block_tokens),
      decodes_(spec.block_tokens, cost.windows()),
      flights_(static_cast<std::size_t>(spec.async_depth)) {
  TESSERA_CHECK(spec.kv_blocks > 0 && spec.async_depth >= 1, "an engine has blocks and a step in flight");
  TESSERA_CHECK(spec.max_batched_tokens >= spec.max_num_seqs, "every decode fits the token budget");
  min_free_for_admission_ = static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks));
}

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
  const std::int64_t most =
      arrival.input_tokens + arrival.output_tokens - 1;  // the last token is never stored
  if (spec_.max_model_len > 0 && most + 1 > spec_.max_model_len) {
    return reject("longer than max_model_len");
  }
  if (ceil_div(most, spec_.block_tokens) > spec_.kv_blocks - min_free_for_admission_) {
    return reject("needs more KV blocks than the engine has");
  }
  if (reserves()) {
    RequestRecord request;
    request.input_tokens = arrival.input_tokens, request.output_tokens = arrival.output_tokens;
    if (most > region_tokens(request)) return reject("longer than the memory reserved for a request");
    if (BuddyMemory::rounded(region_tokens(request)) > regions_.largest())
      return reject("needs a larger region than the engine has");
  }
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
  seq.hashes.assign(arrival.block_hashes.begin(), arrival.block_hashes.end());
  waiting_.push_back(slot);
  metrics_.peak_waiting = std::max(metrics_.peak_waiting, static_cast<std::int64_t>(waiting_.size()));
  if (next_action_ps_ == kNever) next_action_ps_ = arrival.arrival_ps + spec_.frontend_ps;
  return {};
}

std::int64_t Replica::region_tokens(const RequestRecord& request) const {
  switch (spec_.reservation) {
    case Reservation::longest:
      return spec_.max_model_len;
    case Reservation::power_of_two:
      return request.input_tokens + BuddyMemory::rounded(request.output_tokens);
    default:
      return request.input_tokens + request.output_tokens - 1;
  }
}

std::string Replica::reject(const char* reason) {
  ++metrics_.rejected[reason];
  return reason;
}

void Replica::advance(std::int64_t until_ps) {
  while (next_action_ps_ < until_ps && !stopped()) {
    act();
    if (spec_.leap) leap(until_ps);
  }
}

void Replica::finish() {
  advance(kNever);
  if (!stopped()) {
    TESSERA_CHECK(waiting_.empty() && running_count_ == 0, "every request leaves");
    TESSERA_CHECK(regions_.held() == 0, "every region came back");
    TESSERA_CHECK(pool_.free_blocks() == static_cast<std::uint32_t>(spec_.kv_blocks),
                  "every block came back");
  }
  retire_price();
  metrics_.evictions += static_cast<std::int64_t>(pool_.evictions());
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
  } else {
    next_action_ps_ = kNever;  // idle until the next arrival
  }
}

// Runs of decode steps in which nothing but time, tokens and blocks moves. Each iteration does exactly what
// act() would do; it only skips the looks that cannot find anything.
void Replica::leap(std::int64_t until_ps) {
  while (!stopped() && settled_ && waits_for_oldest_ && next_action_ps_ < until_ps && !price_stale_ &&
         price_used_ < price_.valid_steps && flights_[oldest_].first_tokens.empty() &&
         flights_[oldest_].finishing.empty() && pool_.free_blocks() >= blocks_to_grow() &&
         decodes_.steps_to_finish() > 1) {
    const std::int64_t now = next_action_ps_;
    complete_oldest();
    flight_ = &flights_[(oldest_ + in_flight_) % flights_.size()];
    flight_->decodes = decodes_.size();
    grow_decodes();
    launch(now, price_, price_used_++);
    decodes_.step(flight_->finishing);
    next_action_ps_ = flights_[oldest_].end_ps;
  }
}

// Every decode gets room for its next token.
void Replica::grow_decodes() {
  resident_ += decodes_.size();
  if (reserves()) return;
  fresh_.resize(decodes_.crossing().size());
  pool_.allocate_n(fresh_);
  for (std::size_t i = 0; i < fresh_.size(); ++i) seqs_[decodes_.crossing()[i]].blocks.push_back(fresh_[i]);
  held_slots_ += static_cast<std::int64_t>(decodes_.crossing().size()) * spec_.block_tokens;
}

void Replica::complete_oldest() {
  Flight& flight = flights_[oldest_];
  const std::int64_t now = flight.end_ps;
  if (flight.decodes > 0) metrics_.token_gaps(now - last_end_ps_, flight.decodes);
  for (const auto& [slot, before_ps] : flight.first_tokens) {
    RequestRecord& record = seqs_[slot].record;
    if (record.first_token_ps < 0) {
      record.first_token_ps = now;
    } else {  // back from preemption
      metrics_.token_gaps(now - before_ps, 1);
    }
  }
  for (const Slot slot : flight.finishing) {
    Sequence& seq = seqs_[slot];
    seq.record.finish_ps = now;
    metrics_.finish(seq.record);
    if (!seq.released) {
      release_blocks(seq, seq.computed);
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
  for (auto it = waiting_.rbegin(); it != waiting_.rend() && seqs_[*it].record.queued_ps < 0; ++it)
    seqs_[*it].record.queued_ps = now;

  const bool preempted = make_room_for_decodes();
  StepShape shape;
  shape.decodes = decodes_.size();
  std::int64_t budget = spec_.max_batched_tokens - shape.decodes;
  if (shape.decodes > 0) {
    grow_decodes();
    shape.decode_kv[0] = decodes_.context_sum();
    for (std::size_t i = 0; i < cost_.windows().size(); ++i) shape.decode_kv[i + 1] = decodes_.window_sum(i);
    shape.lengths = decodes_.lengths();
    shape.offset = decodes_.clock();
  }
  // A request whose chunk completes its prompt joins the decodes of the next step, so the set stays as
  // priced.
  const bool partial_preempted = continue_partial(budget);
  if (!preempted && !partial_preempted) admit(now, budget);

  if (shape.decodes == 0 && chunks_.empty()) return false;
  // From here on only a finish, an arrival or a shortage of blocks can change what a step does.
  settled_ = chunks_.empty() && !preempted && !partial_preempted && partial_ == kNone;
  shape.chunks = chunks_;
  for (const PrefillChunk& chunk : chunks_) shape.prefill_tokens += chunk.tokens;
  shape.sampled = shape.decodes + static_cast<std::int64_t>(flight_->first_tokens.size());
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
  }

  if (shape.decodes > 0) {
    const std::size_t first = flight_->finishing.size();
    decodes_.step(flight_->finishing);
    for (std::size_t i = first; i < flight_->finishing.size(); ++i) {
      Sequence& seq = seqs_[flight_->finishing[i]];
      seq.emitted = seq.record.output_tokens;
      seq.computed = seq.record.input_tokens + seq.record.output_tokens - 1;
      price_stale_ = true;
    }
  }
  for (const auto& [slot, before_ps] : flight_->first_tokens) {
    Sequence& seq = seqs_[slot];
    ++seq.emitted;
    if (seq.emitted == seq.record.output_tokens) {
      flight_->finishing.push_back(slot);
    } else {
      decodes_.add(slot, seq.computed, seq.record.output_tokens - seq.emitted);
      price_stale_ = true;
    }
  }
  return true;
}

// Preempts the latest admitted requests until every decode that starts a new block gets one.
bool Replica::make_room_for_decodes() {
  if (pool_.free_blocks() >= blocks_to_grow()) return false;
  scratch_.assign(decodes_.crossing().begin(), decodes_.crossing().end());
  std::sort(scratch_.begin(), scratch_.end(),
            [this](Slot a, Slot b) { return seqs_[a].admitted < seqs_[b].admitted; });
  std::size_t needed = 0;
  bool preempted = false;
  for (const Slot slot : scratch_) {
    if (!decodes_.contains(slot)) continue;  // itself preempted for an earlier one
    while (pool_.free_blocks() < needed + 1 && decodes_.contains(slot)) {
      preempt(running_tail_);
      preempted = true;
    }
    if (decodes_.contains(slot)) ++needed;
  }
  return preempted;
}

bool Replica::continue_partial(std::int64_t& budget) {
  if (partial_ == kNone || budget <= 0) return false;
  Sequence& seq = seqs_[partial_];
  const std::int64_t tokens = std::min<std::int64_t>(seq.target - seq.computed, budget);
  const std::int64_t want = reserves() ? 0 : ceil_div(seq.computed + tokens, spec_.block_tokens);
  const std::int64_t more = std::max<std::int64_t>(0, want - static_cast<std::int64_t>(seq.blocks.size()));
  if (static_cast<std::int64_t>(pool_.free_blocks()) < more) {
    preempt(partial_);  // it is the latest admitted
    return true;
  }
  run_chunk(partial_, tokens);
  budget -= tokens;
  return false;
}

void Replica::admit(std::int64_t now, std::int64_t& budget) {
  while (!waiting_.empty() && budget > 0 && running_count_ < spec_.max_num_seqs) {
    const Slot slot = waiting_.front();
    Sequence& seq = seqs_[slot];
    hit_.clear();
    std::int64_t in_free_queue = 0;
    const std::int64_t hits = find_prefix(seq, hit_, in_free_queue);
    const std::int64_t cached = hits * spec_.block_tokens;
    const std::int64_t tokens = std::min<std::int64_t>(seq.target - cached, budget);
    const std::int64_t known =
        spec_.reserve_full_prompt || spec_.allocate_full_prompt ? seq.target : cached + tokens;
    const std::int64_t need = ceil_div(known, spec_.block_tokens) - hits + in_free_queue;
    if (reserves()) {
      const auto region = regions_.take(region_tokens(seq.record));
      if (!region) return;
      seq.region = *region;
      held_slots_ += region->size;
      final_tokens_ += seq.record.input_tokens + seq.record.output_tokens - 1;
    } else if (need > static_cast<std::int64_t>(pool_.free_blocks()) - min_free_for_admission_) {
      return;
    }

    waiting_.pop_front();
    if (!spare_tables_.empty()) {
      seq.blocks.swap(spare_tables_.back());
      spare_tables_.pop_back();
    }
    for (const BlockId id : hit_) pool_.touch(id);
    seq.blocks.assign(hit_.begin(), hit_.end());
    held_slots_ += cached;
    seq.computed = static_cast<std::int32_t>(cached);
    resident_ += cached;
    if (seq.record.scheduled_ps < 0) {
      seq.record.scheduled_ps = now;
      seq.record.cached_tokens = static_cast<std::int32_t>(cached);
      metrics_.prompt_tokens_looked_up += seq.record.input_tokens;
      metrics_.prompt_tokens_hit += cached;
    } else {
      metrics_.recomputed_tokens += seq.target - cached;
    }
    seq.saved.clear();
    seq.admitted = admissions_++;
    seq.prev = running_tail_;
    seq.next = kNone;
    (running_tail_ == kNone ? running_head_ : seqs_[running_tail_].next) = slot;
    running_tail_ = slot;
    ++running_count_;
    run_chunk(slot, tokens);
    budget -= tokens;
  }
}

// Schedules the next `tokens` tokens of a request's prefill; blocks are there.
void Replica::run_chunk(Slot slot, std::int64_t tokens) {
  Sequence& seq = seqs_[slot];
  const std::int64_t before = seq.computed;
  const std::int64_t after = before + tokens;
  const std::int64_t want =
      reserves() ? 0 : ceil_div(spec_.allocate_full_prompt ? seq.target : after, spec_.block_tokens);
  const auto have = static_cast<std::int64_t>(seq.blocks.size());
  if (want > have) {
    seq.blocks.resize(static_cast<std::size_t>(want));
    pool_.allocate_n(std::span(seq.blocks).subspan(static_cast<std::size_t>(have)));
    held_slots_ += (want - have) * spec_.block_tokens;
  }
  seq.computed = static_cast<std::int32_t>(after);
  resident_ += tokens;
  publish_full_blocks(seq, before, after);
  chunks_.push_back({tokens, before});
  const bool done = after == seq.target;
  partial_ = done ? kNone : slot;
  if (!reserves())
    reserved_ =
        done ? 0 : want * spec_.block_tokens - ceil_div(after, spec_.block_tokens) * spec_.block_tokens;
  if (done) flight_->first_tokens.push_back({slot, seq.last_token_ps});
}

// Blocks are findable from the moment they are scheduled.
void Replica::publish_full_blocks(Sequence& seq, std::int64_t before, std::int64_t after) {
  if (!spec_.prefix_cache || seq.hashes.empty()) return;
  const auto last =
      std::min<std::size_t>(static_cast<std::size_t>(after / spec_.block_tokens), seq.hashes.size());
  for (auto i = static_cast<std::size_t>(before / spec_.block_tokens); i < last; ++i)
    pool_.publish(seq.blocks[i], seq.hashes[i]);
}

// Full blocks at the head of the request's known tokens that are still in the pool, never all tokens.
std::int64_t Replica::find_prefix(Sequence& seq, std::vector<BlockId>& hit,
                                  std::int64_t& in_free_queue) const {
  if (!spec_.prefix_cache) return 0;
  const auto limit = static_cast<std::size_t>((seq.target - 1) / spec_.block_tokens);
  for (std::size_t i = 0; i < limit; ++i) {
    BlockId id = kNoBlock;
    if (i < seq.saved.size() && pool_.generation(seq.saved[i].id) == seq.saved[i].generation) {
      id = seq.saved[i].id;
    } else if (i < seq.hashes.size()) {
      id = pool_.lookup(seq.hashes[i]);
    }
    if (id == kNoBlock) break;
    hit.push_back(id);
    if (pool_.references(id) == 0) ++in_free_queue;
  }
  return static_cast<std::int64_t>(hit.size());
}

void Replica::preempt(Slot victim) {
  Sequence& seq = seqs_[victim];
  ++metrics_.preemptions;
  ++seq.record.preemptions;
  price_stale_ = true;
  if (decodes_.contains(victim)) {
    seq.computed = static_cast<std::int32_t>(decodes_.computed(victim));
    decodes_.remove(victim);
    seq.emitted = seq.computed - seq.record.input_tokens + 1;
    seq.last_token_ps = gpu_free_ps_;  // its latest token is, or was, in the last launched step
  }
  const bool last_in_flight = seq.emitted == seq.record.output_tokens;
  seq.saved.clear();
  if (spec_.prefix_cache && !last_in_flight) {
    const auto full = static_cast<std::size_t>(seq.computed / spec_.block_tokens);
    for (std::size_t i = 0; i < full && i < seq.blocks.size(); ++i)
      seq.saved.push_back({seq.blocks[i], pool_.generation(seq.blocks[i])});
  }
  release_blocks(seq, seq.computed);
  leave_running(victim);
  if (victim == partial_) {
    partial_ = kNone;
    reserved_ = 0;
  }
  if (last_in_flight) {  // it finishes when its step does
    seq.released = true;
    return;
  }
  seq.computed = 0;
  seq.target = seq.record.input_tokens + seq.emitted;
  waiting_.push_front(victim);
}

void Replica::release_blocks(Sequence& seq, std::int64_t computed) {
  resident_ -= computed;
  if (reserves()) {
    regions_.give_back(seq.region);
    held_slots_ -= seq.region.size;
    final_tokens_ -= seq.record.input_tokens + seq.record.output_tokens - 1;
    return;
  }
  held_slots_ -= static_cast<std::int64_t>(seq.blocks.size()) * spec_.block_tokens;
  pool_.free_tail_first(seq.blocks);
  seq.blocks.clear();
  spare_tables_.emplace_back().swap(seq.blocks);
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
  const std::int64_t host = spec_.host_base_ps + spec_.host_per_sequence_ps * running_count_;
  host_free_ps_ = std::max(now, host_free_ps_) + host;  // one thread prepares one step after the other
  flight_->start_ps = std::max(host_free_ps_, gpu_free_ps_);
  if (duration >= kNever - flight_->start_ps)
    throw RunError("the backlog runs past 106 days, the end of simulated time");
  flight_->end_ps = flight_->start_ps + duration;
  gpu_free_ps_ = flight_->end_ps;
  ++in_flight_;
  ++metrics_.steps;
  metrics_.busy_ps += duration;
  metrics_.prefill_tokens += flight_->prefill_tokens;
  metrics_.decode_tokens += flight_->decodes;
  const std::int64_t used = reserves() ? ceil_div(held_slots_, spec_.block_tokens)
                                       : spec_.kv_blocks - static_cast<std::int64_t>(pool_.free_blocks());
  KvUse use{used, held_slots_, resident_, reserved_, 0, running_count_};
  if (reserves()) {
    use.reserved = final_tokens_ - resident_;
    // Free memory is lost while a request waits that it does not suffice for in one piece.
    if (!waiting_.empty() && running_count_ < spec_.max_num_seqs)
      use.external = regions_.capacity() - held_slots_;
  }
  metrics_.kv_use(use, duration);
  if (metrics_.on_step)
    metrics_.on_step({spec_.engine, flight_->start_ps, flight_->end_ps, flight_->decodes,
                      flight_->prefill_tokens, running_count_, static_cast<std::int64_t>(waiting_.size()),
                      used});
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
