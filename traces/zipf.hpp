// Keys drawn from a Zipf law, for cache studies: of `objects` keys, key k (from 1) has probability
// k^-alpha / sum of j^-alpha, and every draw is independent of the others. alpha 0 is uniform.
// Written as libCacheSim's oracleGeneral records, 24 bytes each: time (one second a request), key,
// size, number of the next access to the key (-1: never again).
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "traces/random.hpp"

namespace tessera {

struct ZipfSpec {
  std::int64_t requests = 10'000'000;
  std::int64_t objects = 1'000'000;
  double alpha = 1.0;
  std::int64_t size = 1;  // bytes of every object
  std::uint64_t seed = 0;
};

class ZipfKeys {
 public:
  // Throws InputError if the spec is out of range.
  explicit ZipfKeys(const ZipfSpec& spec);
  // The next key, 1 to `objects`; the smaller the more popular.
  std::uint32_t next();

 private:
  TraceRng rng_;
  std::vector<double> cumulative_;    // of the weights, by key from 1
  std::vector<std::uint32_t> guide_;  // where to begin looking, for equal slices of the sum
};

// `trace zipf`: writes to `output` (a file, compressed by suffix; "-": `out`). Returns the exit code.
int trace_zipf(const ZipfSpec& spec, const std::string& output, std::ostream& out, std::ostream& log);

}  // namespace tessera
