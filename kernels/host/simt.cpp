#include "kernels/host/simt.hpp"

#include <setjmp.h>
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>

#include "kernels/host/memory.hpp"
#include "models/base/check.hpp"

namespace tessera::host {
namespace {

constexpr std::size_t kStackBytes = 128 << 10;
using cuda::kWarp;

}  // namespace

float from_half(std::uint16_t bits, cuda::Float16 format) {
  if (format == cuda::Float16::bf16) return std::bit_cast<float>(std::uint32_t{bits} << 16);
  const std::uint32_t sign = std::uint32_t{bits & 0x8000u} << 16, exponent = bits >> 10 & 31u;
  const std::uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0)
    return std::copysign(static_cast<float>(mantissa) * 0x1p-24f, std::bit_cast<float>(sign));
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

std::uint16_t to_half(float value, cuda::Float16 format) {
  const bool bf16 = format == cuda::Float16::bf16;
  if (std::isnan(value)) return 0x7fff;
  const float near = rounded(value, bf16 ? Format::bf16 : Format::fp16);
  const auto bits = std::bit_cast<std::uint32_t>(near);
  if (bf16) return static_cast<std::uint16_t>(bits >> 16);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const float size = std::abs(near);
  if (size < 0x1p-14f) return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(size * 0x1p24f));
  if (std::isinf(near)) return static_cast<std::uint16_t>(sign | 0x7c00u);
  return static_cast<std::uint16_t>(sign | (((bits & 0x7fffffffu) >> 13) - (112u << 10)));
}

// One CTA at a time: its fibres and their scheduler.
class EmulatedCta {
 public:
  EmulatedCta(const EmulatedLaunch& launch, const std::function<void(EmulatedLane&)>& body)
      : launch_(launch), body_(body), random_(launch.seed) {
    TESSERA_CHECK(launch.threads > 0 && launch.threads % kWarp == 0, "a CTA is whole warps");
    // 16-byte words of NaN, aligned for asynchronous copies.
    shared_.resize(static_cast<std::size_t>((launch.shared_bytes + 15) / 16));
    fibres_.resize(static_cast<std::size_t>(launch.threads));
    for (Fibre& f : fibres_) f.stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
    order_.resize(fibres_.size() / kWarp);
    std::iota(order_.begin(), order_.end(), 0u);
  }

  void run(std::int64_t block) {
    block_ = block;
    constexpr std::uint32_t kNaN = 0xffffffffu;
    std::fill(shared_.begin(), shared_.end(), cuda::Chunk{{kNaN, kNaN, kNaN, kNaN}});
    for (std::size_t t = 0; t < fibres_.size(); ++t) {
      Fibre& f = fibres_[t];
      f.lane = std::make_unique<EmulatedLane>(*this, static_cast<int>(t));
      f.done = f.started = false;
      getcontext(&f.context);
      f.context.uc_stack.ss_sp = f.stack.get(), f.context.uc_stack.ss_size = kStackBytes;
      const auto self = reinterpret_cast<std::uintptr_t>(this);
      makecontext(&f.context, reinterpret_cast<void (*)()>(&EmulatedCta::enter), 3,
                  static_cast<unsigned>(self >> 32), static_cast<unsigned>(self), static_cast<unsigned>(t));
    }
    while (turn()) {
    }
  }

 private:
  friend class EmulatedLane;
  // A context starts a fibre; after that it is left and entered by jumps, which make no system call.
  struct Fibre {
    ucontext_t context{};
    jmp_buf place{};
    bool started = false;
    std::unique_ptr<char[]> stack;
    std::unique_ptr<EmulatedLane> lane;
    bool done = false;
  };
  using Meeting = EmulatedLane::Meeting;

  static void enter(unsigned high, unsigned low, unsigned thread) {
    auto* self = reinterpret_cast<EmulatedCta*>(std::uintptr_t{high} << 32 | low);
    Fibre& f = self->fibres_[thread];
    self->body_(*f.lane);
    for (const auto& group : f.lane->groups_)
      TESSERA_CHECK(group.empty(), "a kernel waits for its copies before it ends");
    f.done = true;
    _longjmp(self->home_, 1);
  }
  [[gnu::noinline]] void pause(int thread) {
    if (_setjmp(fibres_[static_cast<std::size_t>(thread)].place) == 0) _longjmp(home_, 1);
  }
  [[gnu::noinline]] void resume(Fibre& f) {
    if (_setjmp(home_) != 0) return;
    if (f.started) _longjmp(f.place, 1);
    f.started = true;
    setcontext(&f.context);
  }

  // Lets every thread that can run do so until it waits; false when all have ended.
  bool turn() {
    std::shuffle(order_.begin(), order_.end(), random_);
    bool ran = false;
    std::size_t done = 0, at_barrier = 0;
    for (const unsigned warp : order_) {
      Fibre* const first = &fibres_[warp * kWarp];
      for (bool again = true; again;) {
        const bool backwards = (random_() & 1) != 0;
        for (int i = 0; i < kWarp; ++i) {
          Fibre& f = first[backwards ? kWarp - 1 - i : i];
          if (f.done || f.lane->waits_at_ != Meeting::none) continue;
          resume(f);
          ran = true;
        }
        again = meet_warp(first);
      }
      for (int i = 0; i < kWarp; ++i) {
        done += first[i].done;
        at_barrier += !first[i].done && first[i].lane->waits_at_ == Meeting::cta;
      }
    }
    if (done == fibres_.size()) return false;
    if (done + at_barrier == fibres_.size()) {
      for (Fibre& f : fibres_) f.lane->waits_at_ = Meeting::none;
      return true;
    }
    TESSERA_CHECK(ran, "threads of a CTA wait for one another for ever");
    return true;
  }

  // Carries out what all 32 lanes have met for.
  static bool meet_warp(Fibre* first) {
    const Meeting meeting = first[0].done ? Meeting::none : first[0].lane->waits_at_;
    if (meeting == Meeting::none || meeting == Meeting::cta) return false;
    EmulatedLane* lanes[kWarp];
    for (int i = 0; i < kWarp; ++i) {
      if (first[i].done || first[i].lane->waits_at_ != meeting) return false;
      lanes[i] = first[i].lane.get();
    }
    switch (meeting) {
      case Meeting::shuffle:
        shuffle(lanes);
        break;
      case Meeting::product:
        product(lanes);
        break;
      case Meeting::matrices:
      case Meeting::matrices_transposed:
        matrices(lanes, meeting == Meeting::matrices_transposed);
        break;
      default:
        break;
    }
    for (EmulatedLane* lane : lanes) lane->waits_at_ = Meeting::none;
    return true;
  }

  static void shuffle(EmulatedLane* const (&lanes)[kWarp]) {
    float values[kWarp];
    for (int i = 0; i < kWarp; ++i) values[i] = lanes[i]->value_;
    for (int i = 0; i < kWarp; ++i)
      lanes[i]->value_ = values[(lanes[i]->mask_ < 0 ? lanes[i]->source_ : i ^ lanes[i]->mask_) % kWarp];
  }

  // PTX ISA, "matrix fragments for mma.m16n8k16": lane 4 g + q holds rows g and g + 8 of A and C, column g of
  // B; A's and C's columns 2 q and 2 q + 1 (A: also + 8), B's rows likewise.
  static void product(EmulatedLane* const (&lanes)[kWarp]) {
    float a[16][16], b[16][8];
    for (int i = 0; i < kWarp; ++i) {
      const EmulatedLane& lane = *lanes[i];
      const int g = i / 4, q = 2 * (i % 4);
      for (int e = 0; e < 2; ++e) {
        const auto half = [&](int word) {
          return from_half(static_cast<std::uint16_t>(lane.words_[word] >> 16 * e), lane.format_);
        };
        a[g][q + e] = half(0), a[g + 8][q + e] = half(1);
        a[g][q + 8 + e] = half(2), a[g + 8][q + 8 + e] = half(3);
        b[q + e][g] = half(4), b[q + 8 + e][g] = half(5);
      }
    }
    for (int i = 0; i < kWarp; ++i) {
      const int g = i / 4, q = 2 * (i % 4);
      for (int e = 0; e < 4; ++e) {
        float& sum = lanes[i]->sums_[e];
        for (int k = 0; k < 16; ++k) sum += a[g + e / 2 * 8][k] * b[k][q + e % 2];
      }
    }
  }

  // ldmatrix: lanes 8 i to 8 i + 7 point to the rows of matrix i; word i of lane 4 g + q is row g, columns
  // 2 q and 2 q + 1 of it, transposed: column g, rows 2 q and 2 q + 1.
  static void matrices(EmulatedLane* const (&lanes)[kWarp], bool transposed) {
    for (int m = 0; m < 4; ++m) {
      std::uint16_t rows[8][8];
      for (int r = 0; r < 8; ++r) {
        TESSERA_CHECK(reinterpret_cast<std::uintptr_t>(lanes[8 * m + r]->row_) % 16 == 0,
                      "ldmatrix rows are aligned");
        std::memcpy(rows[r], lanes[8 * m + r]->row_, sizeof rows[r]);
      }
      for (int i = 0; i < kWarp; ++i) {
        const int g = i / 4, q = 2 * (i % 4);
        const std::uint32_t low = transposed ? rows[q][g] : rows[g][q];
        const std::uint32_t high = transposed ? rows[q + 1][g] : rows[g][q + 1];
        lanes[i]->words_[m] = low | high << 16;
      }
    }
  }

  const EmulatedLaunch& launch_;
  const std::function<void(EmulatedLane&)>& body_;
  std::mt19937_64 random_;
  std::int64_t block_ = 0, ticks_ = 0;
  std::vector<cuda::Chunk> shared_;
  std::vector<Fibre> fibres_;
  std::vector<unsigned> order_;  // of warps
  jmp_buf home_{};               // of the scheduler
};

int EmulatedLane::threads() const { return cta_->launch_.threads; }
std::int64_t EmulatedLane::block() const { return cta_->block_; }
std::int64_t EmulatedLane::blocks() const { return cta_->launch_.ctas; }
void* EmulatedLane::shared() const { return cta_->shared_.data(); }
std::int64_t EmulatedLane::clock_after(std::uint64_t) { return ++cta_->ticks_; }
int EmulatedLane::sm() const { return static_cast<int>(cta_->block_ % kSms); }
float EmulatedLane::as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }
float EmulatedLane::exp2(float x) { return std::exp2(x); }

void EmulatedLane::meet(Meeting meeting) {
  waits_at_ = meeting;
  cta_->pause(thread_);
}
void EmulatedLane::sync() { meet(Meeting::cta); }
void EmulatedLane::sync_warp() { meet(Meeting::warp); }
float EmulatedLane::shuffle_xor(float value, int mask) {
  value_ = value, mask_ = mask;
  meet(Meeting::shuffle);
  return value_;
}
int EmulatedLane::shuffle(int value, int from) {
  value_ = std::bit_cast<float>(value), mask_ = -1, source_ = from;
  meet(Meeting::shuffle);
  return std::bit_cast<int>(value_);
}
void EmulatedLane::multiply(cuda::Float16 format, float (&d)[4], const std::uint32_t (&a)[4],
                            std::uint32_t b0, std::uint32_t b1) {
  format_ = format;
  std::copy(d, d + 4, sums_);
  std::copy(a, a + 4, words_);
  words_[4] = b0, words_[5] = b1;
  meet(Meeting::product);
  std::copy(sums_, sums_ + 4, d);
}
void EmulatedLane::load_matrices(std::uint32_t (&to)[4], const void* row) {
  row_ = row;
  meet(Meeting::matrices);
  std::copy(words_, words_ + 4, to);
}
void EmulatedLane::load_matrices_transposed(std::uint32_t (&to)[4], const void* row) {
  row_ = row;
  meet(Meeting::matrices_transposed);
  std::copy(words_, words_ + 4, to);
}

void EmulatedLane::perform(const Copy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, 16);
  else
    std::memset(copy.to, 0, 16);
}
void EmulatedLane::copy_async(void* shared, const void* global, bool exists) {
  TESSERA_CHECK(reinterpret_cast<std::uintptr_t>(shared) % 16 == 0 &&
                    (!exists || reinterpret_cast<std::uintptr_t>(global) % 16 == 0),
                "asynchronous copies of 16 bytes are aligned");
  const Copy copy{shared, exists ? global : nullptr};
  if (exists && cta_->launch_.copied_bytes != nullptr) *cta_->launch_.copied_bytes += 16;
  if ((cta_->random_() & 1) != 0)
    perform(copy);
  else
    groups_.back().push_back(copy);
}
void EmulatedLane::commit() { groups_.emplace_back(); }
void EmulatedLane::arrive(int pending) {
  const std::size_t closed = groups_.size() - 1, stay = std::min(closed, static_cast<std::size_t>(pending));
  for (std::size_t g = 0; g < closed - stay; ++g)
    for (const Copy& copy : groups_[g]) perform(copy);
  groups_.erase(groups_.begin(), groups_.begin() + static_cast<std::ptrdiff_t>(closed - stay));
}

void emulate(const EmulatedLaunch& launch, const std::function<void(EmulatedLane&)>& body) {
  EmulatedCta cta(launch, body);
  for (std::int64_t block = 0; block < launch.ctas; ++block) cta.run(block);
}

}  // namespace tessera::host
