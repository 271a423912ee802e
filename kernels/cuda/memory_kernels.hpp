// Bodies of the micro-benchmarks of a card's memories. What each result means stands in the *_bench.cpp of
// kernels/measure.
#pragma once

#include "kernels/cuda/lane.hpp"
#include "kernels/tiles/elementwise_program.hpp"

namespace tessera::cuda {

enum class Stream : std::uint8_t { read, write, copy };

// A stream over `program.elements` 16-bit elements, chunks as ElementwiseProgram numbers them, dealt to the
// CTAs of a grid that fills the card. Sums leave only where they equal a value the inputs never have, so
// that loads cannot be dropped.
struct StreamKernel {
  static constexpr int kThreads = 256;

  struct Arguments {
    ElementwiseProgram program;
    Stream operation;
    const Chunk* from;
    Chunk* to;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    std::uint32_t sum = 0;
    const std::int64_t per_cta = a.program.chunk_elements() / kChunkHalves;
    for (std::int64_t i = lane.block(), all = a.program.ctas(); i < all; i += lane.blocks()) {
      const auto c = a.program.cta(i);
      const std::int64_t at = c.chunk * per_cta + lane.thread();
      if (lane.thread() * kChunkHalves >= c.elements) continue;
      Chunk chunk{{static_cast<std::uint32_t>(at), 1, 2, 3}};
      if (a.operation != Stream::write) chunk = lane.load_past_l1(a.from + at);
      if (a.operation == Stream::read)
        sum += chunk.word[0] ^ chunk.word[1] ^ chunk.word[2] ^ chunk.word[3];
      else
        a.to[at] = chunk;
    }
    if (a.operation == Stream::read && sum == 0x9e3779b9u) a.to[0].word[0] = sum;
  }
};

// Every CTA reads `tiles_per_cta` tiles of one footprint, round and round. Their starts are spread evenly
// over it, so that a tile is read again only after the others have been: what is measured is L2 while the
// footprint fits, HBM beyond. Past L1.
struct FootprintKernel {
  static constexpr int kThreads = 256;
  static constexpr int kUnrolled = 4;  // loads on their way a thread

  struct Arguments {
    const Chunk* from;
    std::int64_t chunks;  // a multiple of kThreads * kUnrolled
    std::int64_t tiles_per_cta;
    Chunk* sink;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    const std::int64_t tile = kThreads * kUnrolled, tiles = a.chunks / tile;
    std::uint32_t sum = 0;
    std::int64_t at = lane.block() * tiles / lane.blocks();
    for (std::int64_t i = 0; i < a.tiles_per_cta; ++i) {
      const Chunk* const from = a.from + at * tile + lane.thread();
      TESSERA_UNROLL
      for (int u = 0; u < kUnrolled; ++u) {
        const Chunk chunk = lane.load_past_l1(from + u * kThreads);
        sum += chunk.word[0] ^ chunk.word[3];
      }
      at = at + 1 == tiles ? 0 : at + 1;
    }
    if (sum == 0x9e3779b9u) a.sink->word[0] = sum;
  }
};

// A stream with at most `loads` x 16 bytes a thread in flight: the loads of one turn are independent, the
// next turn waits for them.
template <int kLoads>
struct InFlightKernel {
  static constexpr int kThreads = 256;

  struct Arguments {
    const Chunk* from;
    std::int64_t turns;  // of the whole grid
    Chunk* sink;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    std::uint32_t sum = 0;
    for (std::int64_t turn = 0; turn < a.turns; ++turn) {
      // The sum enters the address (as 0: no input makes it that value), so a turn needs the one before.
      const std::int64_t none = sum == 0x9e3779b9u ? 1 : 0;
      const Chunk* const from =
          a.from + ((turn * lane.blocks() + lane.block()) * kLoads) * kThreads + lane.thread() + none;
      Chunk chunk[kLoads];
      TESSERA_UNROLL
      for (int u = 0; u < kLoads; ++u) chunk[u] = lane.load_past_l1(from + u * kThreads);
      TESSERA_UNROLL
      for (int u = 0; u < kLoads; ++u) sum += chunk[u].word[0] ^ chunk[u].word[3];
    }
    if (sum == 0x9e3779b9u) a.sink->word[0] = sum;
  }
};

// Reads blocks in the order of a list, one after another by each CTA: the traffic of a paged cache.
struct GatherKernel {
  static constexpr int kThreads = 256;

  struct Arguments {
    const Chunk* from;
    const std::int32_t* order;
    std::int64_t blocks;
    std::int64_t block_chunks;
    Chunk* sink;
  };

  // Threads are dealt to (block, chunk) in one row, so that small blocks still occupy a whole CTA.
  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    std::uint32_t sum = 0;
    const std::int64_t all = a.blocks * a.block_chunks, stride = lane.blocks() * kThreads;
    for (std::int64_t i = lane.block() * kThreads + lane.thread(); i < all; i += stride) {
      const std::int64_t block = i / a.block_chunks, inside = i % a.block_chunks;
      const Chunk chunk = lane.load_past_l1(a.from + a.order[block] * a.block_chunks + inside);
      sum += chunk.word[0] ^ chunk.word[3];
    }
    if (sum == 0x9e3779b9u) a.sink->word[0] = sum;
  }
};

// One thread follows a chain of pointers and writes down how many cycles each of the last `samples` loads
// took. Only the CTA on the SM asked for runs, so that near and far L2 slices are seen from one place.
struct ChaseKernel {
  static constexpr int kThreads = 32;

  struct Arguments {
    const std::uint64_t* chain;  // element i holds the index of the next
    std::uint64_t start;
    std::int64_t warm;  // loads before the samples
    std::int64_t samples;
    int sm;
    bool through_l1;
    std::int32_t* cycles;  // of each sample
    std::uint64_t* last;   // where the chain stood at the end
    std::int64_t* ran;     // clock cycles and samples of all of them together
    std::int32_t* claimed;
  };

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    if (lane.thread() != 0 || lane.sm() != a.sm || lane.add_one(a.claimed) != 0) return;
    std::uint64_t at = a.start;
    for (std::int64_t i = 0; i < a.warm; ++i)
      at = a.through_l1 ? lane.load_through_l1(a.chain + at) : lane.load_past_l1(a.chain + at);
    // The mean without the cost of reading the clock, then each load for itself.
    std::int64_t begin = lane.clock_after(at);
    for (std::int64_t i = 0; i < a.samples; ++i)
      at = a.through_l1 ? lane.load_through_l1(a.chain + at) : lane.load_past_l1(a.chain + at);
    a.ran[0] = lane.clock_after(at) - begin;
    for (std::int64_t i = 0; i < a.samples; ++i) {
      begin = lane.clock_after(at);
      at = a.through_l1 ? lane.load_through_l1(a.chain + at) : lane.load_past_l1(a.chain + at);
      a.cycles[i] = static_cast<std::int32_t>(lane.clock_after(at) - begin);
    }
    *a.last = at;
  }
};

// Every warp reads its own 512 bytes of shared memory over and over: 16 bytes a lane, no bank conflicts.
struct SramKernel {
  static constexpr int kThreads = 1024;

  struct Arguments {
    std::int64_t rounds;
    Chunk* sink;
  };
  static constexpr std::int64_t shared_bytes(int threads) { return std::int64_t{threads} * 16; }

  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    Chunk* const mine = static_cast<Chunk*>(lane.shared()) + lane.thread();
    *mine = {{static_cast<std::uint32_t>(lane.thread()), 1, 2, 3}};
    lane.sync();
    std::uint32_t sum = 0;
    const Chunk* from = mine;
    for (std::int64_t i = 0; i < a.rounds; ++i) {
      TESSERA_UNROLL
      for (int u = 0; u < 8; ++u) {
        const Chunk chunk = lane.load_shared(from);
        sum += chunk.word[0] ^ chunk.word[1] ^ chunk.word[2] ^ chunk.word[3];
      }
    }
    if (sum == 0x9e3779b9u) a.sink->word[0] = sum;
  }
};

// Cycles of the SM's clock and nanoseconds of the card's timer that pass while it spins for `cycles`.
struct ClockKernel {
  static constexpr int kThreads = 32;
  struct Arguments {
    std::int64_t* ran;
    std::int64_t cycles;
  };
  template <class Lane>
  TESSERA_KERNEL static void run(Lane& lane, const Arguments& a) {
    if (lane.thread() != 0) return;
    const std::int64_t since = lane.nanoseconds(), begin = lane.clock_after(0);
    std::int64_t now = begin;
    while (now - begin < a.cycles) now = lane.clock_after(0);
    a.ran[0] = now - begin, a.ran[1] = lane.nanoseconds() - since;
  }
};

struct EmptyKernel {
  static constexpr int kThreads = 32;
  struct Arguments {
    int unused;
  };
  template <class Lane>
  TESSERA_KERNEL static void run(Lane&, const Arguments&) {}
};

}  // namespace tessera::cuda
