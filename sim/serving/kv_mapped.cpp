#include "sim/serving/kv_mapped.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {

MappedKv::MappedKv(const KvMemorySpec& spec)
    : spec_(spec),
      rows_per_growth_(ceil_div(spec.block_tokens * spec.vmm.token_bytes, spec.vmm.page_bytes)),
      least_free_(static_cast<std::int64_t>(spec.watermark * static_cast<double>(spec.kv_blocks))) {
  TESSERA_CHECK(spec.vmm.page_bytes > 0 && spec.vmm.token_bytes > 0, "pages and tokens have bytes");
}

std::int64_t MappedKv::rows_for(std::int64_t tokens) const {
  return ceil_div(tokens * spec_.vmm.token_bytes, spec_.vmm.page_bytes);
}
std::int64_t MappedKv::slots_in(std::int64_t rows) const {
  return rows * spec_.vmm.page_bytes / spec_.vmm.token_bytes;
}
std::int64_t MappedKv::in_steps(std::int64_t tokens) const {
  return ceil_div(tokens, spec_.block_tokens) * spec_.block_tokens;
}

std::string MappedKv::refusal(std::int64_t input, std::int64_t output) const {
  // The last token is never stored; its last growth asks for as many rows as any may need.
  const std::int64_t most = in_steps(input + output - 1);
  const std::int64_t rows = std::max(rows_for(most), rows_for(most - spec_.block_tokens) + rows_per_growth_);
  return rows > spec_.kv_blocks - least_free_ ? "needs more KV memory than the engine has" : "";
}

void MappedKv::arrive(Slot slot, std::int64_t input, std::int64_t output,
                      std::span<const std::uint64_t> hashes) {
  if (slot >= tables_.size()) tables_.resize(slot + 1);
  tables_[slot] = {0, 0, 0, input + output - 1};
  copies_.arrive(slot, hashes);
}

std::optional<std::int64_t> MappedKv::admit(Slot slot, std::int64_t target, std::int64_t budget) {
  const bool whole = spec_.reserve_full_prompt || spec_.allocate_full_prompt;
  const std::int64_t wanted = rows_for(in_steps(whole ? target : std::min(target, budget)));
  if (wanted > available() - least_free_) return std::nullopt;
  tables_[slot].covered = 0;
  set_rows(tables_[slot], take_idle(wanted));
  return 0;
}

// Takes over the smallest idle region of at least `wanted` rows, else the largest: its rows, 0 if none is.
std::int64_t MappedKv::take_idle(std::int64_t wanted) {
  auto best = idle_.end();
  for (auto it = idle_.begin(); it != idle_.end(); ++it) {
    if (best == idle_.end() || (*best < wanted ? *it > *best : *it >= wanted && *it < *best)) best = it;
  }
  if (best == idle_.end()) return 0;
  const std::int64_t rows = *best;
  idle_total_ -= rows;
  idle_.erase(best);
  return rows;
}

void MappedKv::set_rows(Table& table, std::int64_t rows) {
  in_use_ += rows - table.rows;
  table.rows = rows;
}

void MappedKv::set_needed(Table& table, std::int64_t rows) {
  const auto will_hold = [&] { return std::min(table.last, slots_in(table.needed)); };
  will_hold_ -= will_hold();
  held_slots_ -= slots_in(table.needed);
  needed_ += rows - table.needed;
  table.needed = rows;
  held_slots_ += slots_in(rows);
  will_hold_ += will_hold();
}

// A request needs this many rows from now on; there are enough available.
void MappedKv::need(Table& table, std::int64_t rows, std::int64_t& time_ps) {
  if (rows <= table.needed) return;
  set_needed(table, rows);
  const std::int64_t more = rows - table.rows;
  if (more <= 0) return;
  const std::int64_t lacking = more - (spec_.kv_blocks - in_use_ - idle_total_);
  const std::int64_t unmapped = lacking > 0 ? unmap(lacking) : 0;
  set_rows(table, rows);
  mapped_rows_ += more;
  time_ps += spec_.vmm.tensors * (more * spec_.vmm.map_ps + unmapped * spec_.vmm.unmap_ps);
}

std::int64_t MappedKv::unmap(std::int64_t rows) {
  std::int64_t left = rows;
  while (left > 0 && !idle_.empty()) {  // where it idled longest
    const std::int64_t taken = std::min(left, idle_.front());
    left -= taken;
    idle_total_ -= taken;
    if ((idle_.front() -= taken) == 0) idle_.erase(idle_.begin());
  }
  for (std::size_t i = 0; left > 0; ++i) {
    TESSERA_CHECK(i < tables_.size(), "every row is needed, spare, idle or unmapped");
    const std::int64_t taken = std::min(left, tables_[i].rows - tables_[i].needed);
    if (taken <= 0) continue;
    left -= taken;
    set_rows(tables_[i], tables_[i].rows - taken);
  }
  return rows;
}

bool MappedKv::extend(Slot slot, std::int64_t before, std::int64_t after, std::int64_t target) {
  Table& table = tables_[slot];
  const std::int64_t covered = in_steps(spec_.allocate_full_prompt ? target : after);
  const std::int64_t rows = rows_for(covered);
  if (rows - table.needed > available()) return false;
  need(table, rows, before > 0 && spec_.vmm.map_ahead ? work_.ahead_ps : work_.demanded_ps);
  table.covered = covered;
  copies_.hold(slot, after / spec_.block_tokens);
  return true;
}

void MappedKv::grow(std::span<const Slot> slots) {
  for (const Slot slot : slots) {
    Table& table = tables_[slot];
    table.covered += spec_.block_tokens;
    need(table, rows_for(table.covered), spec_.vmm.map_ahead ? work_.ahead_ps : work_.demanded_ps);
  }
}

void MappedKv::leave(Slot slot, std::int64_t, bool) {
  Table& table = tables_[slot];
  const std::int64_t rows = table.rows;
  set_needed(table, 0);
  set_rows(table, 0);
  copies_.leave(slot);
  if (rows == 0) return;
  if (spec_.vmm.defer_free) {
    idle_.push_back(rows);
    idle_total_ += rows;
  } else {
    work_.demanded_ps += rows * spec_.vmm.tensors * spec_.vmm.unmap_ps;
  }
}

KvUse MappedKv::use(std::int64_t resident, bool) const {
  KvUse use;
  use.used_blocks = needed_;
  use.held_slots = held_slots_;
  use.resident = resident;
  use.reserved = will_hold_ - resident;
  use.duplicate = copies_.duplicates() * spec_.block_tokens;
  return use;
}

// Physical rows have no order of their own: requests first, then what is mapped and not needed.
void MappedKv::show(std::span<BlockCell> cells) const {
  std::size_t at = 0;
  for (Slot slot = 0; slot < tables_.size(); ++slot)
    for (std::int64_t i = 0; i < tables_[slot].needed; ++i)
      cells[at++] = {BlockCell::State::held, slot, 1, 0};
  for (std::int64_t i = 0; i < idle_total_ + in_use_ - needed_; ++i)
    cells[at++].state = BlockCell::State::cached;
}

void MappedKv::audit() const {
  std::int64_t rows = 0, needed = 0, idle = 0;
  for (const Table& table : tables_) rows += table.rows, needed += table.needed;
  for (const std::int64_t region : idle_) idle += region;
  const bool whole = rows == in_use_ && needed == needed_ && needed <= rows && idle == idle_total_ &&
                     in_use_ + idle_total_ <= spec_.kv_blocks;
  TESSERA_CHECK(whole, "every row is in use, idle or unmapped, once");
  static_cast<void>(whole);
}

}  // namespace tessera
