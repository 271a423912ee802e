// What each CTA of a tile program takes on its SM: walks its part of the program when it starts and asks the
// L2 tags what of it hits.
//
//   compute of a step  = sum of products, exponentials and other arithmetic at the card's rates
//   load of a step     = latency (of the level the bytes come from) / loads in flight (stages - 1, at least
//                        one) + bytes / rate of one CTA
//   one stage          : steps x (compute + load)
//   more stages        : steps x max(compute, load, floor) + the smaller of the two, once
//   before and after   : bytes loaded and stored there, at an edge rate
// A persistent CTA's loads run ahead into the next one's prologue while this one still computes and stores.
// Where all inner steps of a program move and multiply the same (equal_steps), only the first, second and
// last are walked.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "kernels/tiles/attention_flash.hpp"
#include "kernels/tiles/gemm_program.hpp"
#include "kernels/tiles/program.hpp"
#include "sim/gpu/kernel_rates.hpp"
#include "sim/gpu/l2_tags.hpp"
#include "sim/gpu/sm_array.hpp"

namespace tessera {

template <class P>
inline constexpr bool equal_steps = false;
template <>
inline constexpr bool equal_steps<GemmProgram> = true;
template <>
inline constexpr bool equal_steps<FlashForward> =
    true;  // but for masks, whose arithmetic is not counted by tile

// Whether a program touches each of this tensor's tiles once only, so that L2 need not remember it.
template <class P>
constexpr bool touched_once(Tensor tensor) {
  if constexpr (requires { P::touched_once(tensor); })
    return P::touched_once(tensor);
  else
    return false;
}

namespace detail {

// What some parts of a program move and compute.
struct PartTotals {
  std::int64_t load_bytes = 0, store_bytes = 0, flops = 0, exps = 0, alus = 0;

  constexpr void add(const PartTotals& part, std::int64_t times) {
    load_bytes += times * part.load_bytes, store_bytes += times * part.store_bytes;
    flops += times * part.flops, exps += times * part.exps, alus += times * part.alus;
  }
};

// Adds up what one part of a program does and remembers the tiles.
struct PartSum : PartTotals {
  static constexpr int kMost = 6;
  std::array<TileRef, kMost> loads;
  std::array<TileRef, kMost> stores;
  int load_count = 0, store_count = 0;

  constexpr void load(const TileRef& ref) {
    if (load_count < kMost) loads[static_cast<std::size_t>(load_count)] = ref;
    ++load_count;
    load_bytes += ref.bytes();
  }
  constexpr void store(const TileRef& ref) {
    if (store_count < kMost) stores[static_cast<std::size_t>(store_count)] = ref;
    ++store_count;
    store_bytes += ref.bytes();
  }
  constexpr void mma(std::int64_t m, std::int64_t n, std::int64_t k) { flops += 2 * m * n * k; }
  constexpr void exp(std::int64_t count) { exps += count; }
  constexpr void alu(std::int64_t count) { alus += count; }
};

// Keys of L2 pages: tensor, plane and where in the plane. A sum of products with random odd numbers: two
// pages of one launch share a key with a probability of 2^-64.
constexpr std::uint64_t page_key(Tensor tensor, std::int64_t plane, std::int64_t row, std::int64_t col) {
  return (static_cast<std::uint64_t>(tensor) + 1) * 0xD6E8FEB86659FD93ULL +
         static_cast<std::uint64_t>(plane) * 0xA0761D6478BD642FULL +
         static_cast<std::uint64_t>(row) * 0xE7037ED1A0B428DBULL +
         static_cast<std::uint64_t>(col) * 0x8EBC6AF09C88C6E3ULL;
}

}  // namespace detail

// Walks the CTAs of one launch for the SM array.
template <class P>
class LaunchWalk {
 public:
  LaunchWalk(const P& program, const KernelRates& rates, int stages, L2Tags& tags)
      : program_(program), grid_(grid_of(program)), rates_(rates), stages_(stages), tags_(tags) {}

  CtaRun begin(std::int64_t number) {
    const typename P::Cta cta = cta_of(number);
    read_hits_ = write_hits_ = flying_ = passed_ = 0;
    if constexpr (kMeetsAlike)
      if (last_.times > 0 && P::alike(last_.cta, cta)) return begin_again(cta);
    detail::PartSum sum;
    program_.prologue(cta, sum);
    touch_loads(sum);
    const std::int64_t before_loop = sum.load_bytes;
    walk_steps(cta, sum);
    const std::int64_t loop_bytes = sum.load_bytes - before_loop;
    detail::PartSum end;
    program_.epilogue(cta, end);
    touch_loads(end);
    const double passed_before_stores = passed_;
    touch_stores(end);
    sum.add(end, 1);
    const Work work = work_of(cta.steps, loop_bytes, sum);
    count_bytes(work);
    const CtaRun run = run_of(work);
    if constexpr (kMeetsAlike) {
      flush();
      last_ = {cta,        1,       cta.steps, sum, work, write_hits_, passed_ - passed_before_stores,
               read_hits_, flying_, run};
    } else {
      count(cta.steps, sum, 1);
    }
    return run;
  }

  LaunchResult result;
  // What has been walked stands for `times` as many CTAs.
  void repeat(std::int64_t times) {
    flush();
    result.steps *= times, result.executed_flops *= times, result.exponentials *= times;
    result.loaded_bytes *= times, result.stored_bytes *= times;
    read_ *= static_cast<double>(times), written_ *= static_cast<double>(times);
  }
  void close() {
    flush();
    result.hbm_read_bytes = static_cast<std::int64_t>(std::llround(read_));
    result.hbm_write_bytes = static_cast<std::int64_t>(std::llround(written_));
  }

 private:
  typename P::Cta cta_of(std::int64_t number) const {
    if constexpr (requires { program_.cta(number, grid_); })
      return program_.cta(number, grid_);
    else
      return program_.cta(number);
  }

  // A CTA that moves and computes what the last one walked did: only where its operands lie is new. Programs
  // with alike() load in their steps alone, and what they store nobody else touches.
  CtaRun begin_again(const typename P::Cta& cta) {
    if (last_.steps > 0 && tags_.enabled()) {
      Operands operands(*this);
      program_.step(cta, 0, operands);
    }
    write_hits_ = last_.write_hits;
    passed_ += last_.stores_passed;
    ++last_.times;
    count_bytes(last_.work);
    // Mostly L2 holds as much of its operands.
    if (read_hits_ == last_.read_hits && flying_ == last_.flying && passed_ == last_.run.passed)
      return last_.run;
    const CtaRun run = run_of(last_.work);
    last_.read_hits = read_hits_, last_.flying = flying_, last_.run = run;
    return run;
  }
  struct Operands : NullVisitor {
    explicit Operands(LaunchWalk& w) : walk(w) {}
    void load(const TileRef& ref) {
      const double bytes = walk.operand_bytes_[at++];
      const L2Tags::Touch t =
          walk.tags_.touch(detail::page_key(ref.tensor, ref.plane, ref.row, ref.col), ref.tensor, bytes);
      walk.read_hits_ += t.hit * bytes, walk.flying_ += t.flying * bytes, walk.passed_ += t.passed;
    }
    LaunchWalk& walk;
    std::size_t at = 0;
  };

  // What a CTA takes on its SM whatever L2 holds of it.
  struct Work {
    double steps = 0, compute = 0, loop_loads = 0;  // the last two in ps, loads without latency
    double loaded = 0, stored = 0;
    double edges = 0;  // bytes moved before and after the steps
  };
  Work work_of(std::int64_t steps, std::int64_t loop_bytes, const detail::PartTotals& sum) const {
    const double n = static_cast<double>(steps);
    return {.steps = n,
            .compute = static_cast<double>(sum.flops) * rates_.ps_per_flop +
                       static_cast<double>(sum.exps) * rates_.ps_per_exp +
                       static_cast<double>(sum.alus) * rates_.ps_per_alu + n * rates_.step_compute_ps,
            .loop_loads = static_cast<double>(loop_bytes) * rates_.load_ps_per_byte,
            .loaded = static_cast<double>(sum.load_bytes),
            .stored = static_cast<double>(sum.store_bytes),
            .edges = static_cast<double>(sum.load_bytes - loop_bytes + sum.store_bytes)};
  }

  void count_bytes(const Work& w) { read_ += w.loaded - read_hits_, written_ += w.stored - write_hits_; }
  CtaRun run_of(const Work& w) const {
    CtaRun run;
    run.compute = w.compute;
    const double ready = rates_.waits_for_others ? read_hits_ - flying_ : read_hits_;
    const double hit = w.loaded > 0 ? ready / w.loaded : 0;
    const double latency = (1 - hit) * rates_.dram_latency_ps + hit * rates_.l2_latency_ps;
    const double loads = w.steps * latency / std::max(1, stages_ - 1) + w.loop_loads;
    run.idle = w.steps == 0 && w.loaded + w.stored == 0;
    run.fixed = run.idle ? rates_.idle_ps : rates_.epilogue_ps;
    if (stages_ == 1) {
      run.alone = run.compute + loads;
    } else {
      run.alone = std::max({run.compute, loads, w.steps * rates_.step_floor_ps});
      if (w.steps > 0) run.fixed += std::min(run.compute, loads) / w.steps;
      // The loads of the next CTA begin when those of this one are done, while it multiplies, masks and
      // stores.
      const double busy = run.compute + rates_.epilogue_ps + w.stored * rates_.edge_ps_per_byte;
      run.hidden = std::clamp(busy - loads, 0.0, (1 - rates_.exposed_prologue) * rates_.prologue_ps);
    }
    run.fixed += w.edges * rates_.edge_ps_per_byte;
    run.hbm_bytes = w.loaded - read_hits_ + (w.stored - write_hits_);
    run.l2_bytes = w.loaded + rates_.store_weight * w.stored;
    run.passed = passed_;
    return run;
  }

  void count(std::int64_t steps, const detail::PartTotals& sum, std::int64_t times) {
    result.steps += times * steps;
    result.loaded_bytes += times * sum.load_bytes;
    result.stored_bytes += times * sum.store_bytes;
    result.executed_flops += times * sum.flops;
    result.exponentials += times * sum.exps;
  }
  void flush() {
    if constexpr (kMeetsAlike) count(last_.steps, last_.sum, std::exchange(last_.times, 0));
  }

  void walk_steps(const typename P::Cta& cta, detail::PartSum& sum) {
    using detail::PartSum;
    const std::int64_t steps = cta.steps;
    if (steps == 0) return;
    if constexpr (equal_steps<P>) {
      PartSum first, inner, last;
      program_.step(cta, 0, first);
      if (steps > 2) program_.step(cta, 1, inner);
      if (steps > 1) program_.step(cta, steps - 1, last);
      const std::int64_t between = std::max<std::int64_t>(0, steps - 2);
      sum.add(first, 1), sum.add(inner, between), sum.add(last, 1);
      if (!tags_.enabled()) return;
      for (int i = 0; i < first.load_count; ++i) {
        const TileRef& a = first.loads[static_cast<std::size_t>(i)];
        const TileRef& z = steps > 1 ? last.loads[static_cast<std::size_t>(i)] : a;
        std::int64_t bytes = 0;
        const auto take = [&](int j) {
          const auto at = static_cast<std::size_t>(j);
          bytes += first.loads[at].bytes() + (steps > 2 ? between * inner.loads[at].bytes() : 0) +
                   (steps > 1 ? last.loads[at].bytes() : 0);
        };
        take(i);
        // K and V of the same tokens come and go together: one page for both.
        if (a.tensor == Tensor::k && i + 1 < first.load_count) take(++i);
        if constexpr (kMeetsAlike) operand_bytes_[static_cast<std::size_t>(i)] = static_cast<double>(bytes);
        walk_pages(a, z, bytes);
      }
    } else {
      for (std::int64_t i = 0; i < steps; ++i) {
        PartSum one;
        program_.step(cta, i, one);
        touch_loads(one);
        touch_stores(one);
        sum.add(one, 1);
      }
    }
  }

  void touch(const TileRef& ref, std::int64_t bytes, std::int64_t row, std::int64_t col, double& hits,
             std::int32_t begin = 0, std::int32_t end = 1) {
    const L2Tags::Touch t = touched_once<P>(ref.tensor)
                                ? tags_.touch_once(ref.tensor, static_cast<double>(bytes))
                                : tags_.touch(detail::page_key(ref.tensor, ref.plane, row, col), ref.tensor,
                                              static_cast<double>(bytes), begin, end);
    hits += t.hit * static_cast<double>(bytes);
    if (&hits == &read_hits_) flying_ += t.flying * static_cast<double>(bytes);
    if (!rates_.keeps_keys || (ref.tensor != Tensor::q && ref.tensor != Tensor::o)) passed_ += t.passed;
  }
  void touch_loads(const detail::PartSum& part) {
    for (int i = 0; i < part.load_count && i < detail::PartSum::kMost; ++i) {
      const TileRef& ref = part.loads[static_cast<std::size_t>(i)];
      touch(ref, ref.bytes(), ref.row, ref.col, read_hits_);
    }
  }
  void touch_stores(const detail::PartSum& part) {
    for (int i = 0; i < part.store_count && i < detail::PartSum::kMost; ++i) {
      const TileRef& ref = part.stores[static_cast<std::size_t>(i)];
      touch(ref, ref.bytes(), ref.row, ref.col, write_hits_);
    }
  }

  // Keys and values are entered at different places by different CTAs: pages of fixed rows. Operands that a
  // CTA walks from end to end are one page. `bytes` of all tiles from the first, a, to the last, z.
  void walk_pages(const TileRef& a, const TileRef& z, std::int64_t bytes) {
    if (a.tensor != Tensor::k && a.tensor != Tensor::v) {
      touch(a, bytes, a.row, a.col, read_hits_);
      return;
    }
    const std::int64_t begin = std::min(a.row, z.row);
    const std::int64_t end = std::max(a.row + a.rows, z.row + z.rows);
    const double per_row = static_cast<double>(bytes) / static_cast<double>(end - begin);
    std::int64_t left = bytes;
    for (std::int64_t row = begin; row < end;) {
      const std::int64_t page = row / kPageRows, next = std::min(end, (page + 1) * kPageRows);
      const std::int64_t part =
          next == end ? left : static_cast<std::int64_t>(per_row * static_cast<double>(next - row));
      touch(a, part, page, kRowPages, read_hits_, static_cast<std::int32_t>(row - page * kPageRows),
            static_cast<std::int32_t>(next - page * kPageRows));
      left -= part;
      row = next;
    }
  }

  static constexpr std::int64_t kPageRows = 1024;  // tokens
  static constexpr std::int64_t kRowPages = -1;    // column of such pages' keys: no tile starts there

  static auto grid_of(const P& program) {
    if constexpr (requires { program.grid(); })
      return program.grid();
    else
      return 0;
  }

  static constexpr bool kMeetsAlike = requires(const typename P::Cta& cta) { P::alike(cta, cta); };
  struct Walked {
    typename P::Cta cta;
    std::int64_t times = 0;  // it and CTAs like it, not counted yet
    std::int64_t steps = 0;
    detail::PartTotals sum;
    Work work;
    double write_hits = 0, stores_passed = 0;
    double read_hits = 0, flying = 0;  // of the CTA begun last ...
    CtaRun run;                        // ... which runs like this
  };

  Walked last_;
  std::array<double, detail::PartSum::kMost> operand_bytes_{};  // of all steps, of the CTA walked last
  const P& program_;
  decltype(grid_of(std::declval<const P&>())) grid_;
  const KernelRates& rates_;
  int stages_;
  L2Tags& tags_;
  double read_hits_ = 0, write_hits_ = 0, flying_ = 0, passed_ = 0;  // bytes of the CTA being walked
  double read_ = 0, written_ = 0;                                    // HBM bytes of the launch
};

}  // namespace tessera
