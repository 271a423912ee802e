// What a step of Replica holds: decodes, the partial prefill, loaded requests, new ones; and who gives way.
#include <algorithm>

#include "models/base/check.hpp"
#include "sim/serving/kv_mover.hpp"
#include "sim/serving/replica.hpp"

namespace tessera {

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
  const std::int64_t most = seq.computed + room * block;
  const std::span<const std::uint64_t> hashes = memory_->prompt_hashes(slot);
  // What stood in the room goes out first, be it of a request that gave way or of the prefix cache.
  std::int64_t earliest = std::max(now, not_before_ps_);
  std::int64_t held_to = seq.computed;
  if (mover_->keeps_drops()) {
    held_to = mover_->reach(slot, hashes, seq.computed, seq.target, most);
    if (held_to > seq.computed) {
      hold_room(slot, held_to);
      earliest = std::max(earliest, give_drops(now));
    }
  }
  const KvMover::Fetch fetch = mover_->fetch(slot, hashes, seq.computed, seq.target,
                                             held_to > seq.computed ? held_to : most, now, earliest);
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
  if (held_to == seq.computed) hold_room(slot, fetch.to);
  seq.load_from = static_cast<std::int32_t>(fetch.from);
  seq.load_to = static_cast<std::int32_t>(fetch.to);
  seq.load_ready_ps = fetch.end_ps;
  if (seq.computed == seq.load_from) wait_for_load(slot);
  return tokens;
}

void Replica::hold_room(Slot slot, std::int64_t tokens) {
  const bool held = memory_->hold(slot, tokens, seqs_[slot].target);
  TESSERA_CHECK(held, "what is loaded has room");
  static_cast<void>(held);
}

// Tells the tiers what the prefix cache gave up; returns when its room can be written.
std::int64_t Replica::give_drops(std::int64_t now) {
  std::vector<std::uint64_t>* drops = memory_->drops();
  if (drops == nullptr || drops->empty()) return now;
  const std::int64_t out_ps = mover_->dropped(*drops, now);
  drops->clear();
  return out_ps;
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
  metrics_.recomputed_tokens += std::max<std::int64_t>(0, std::min(after, seq.reached) - before);
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
  seq.reached = std::max(seq.reached, std::min(seq.computed, seq.target));
  if (decodes_.contains(victim)) {
    const std::int64_t context = decodes_.computed(victim);
    seq.reached = seq.record.input_tokens + branches_ * (context - seq.record.input_tokens);
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

}  // namespace tessera
