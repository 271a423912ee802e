// Where the requests of one channel fall.
//
//   stream      every bank reads its rows in turn, and the banks' row changes are spread evenly in time: what
//               a well-interleaved GPU address map makes of a long copy
//   sequential  flat addresses, from high to low bits row : bank : bank group : stack id : pseudo-channel :
//               column, so a row is read to its end before anything else is touched
//   random      every burst in a row of its own, uniform over the channel
//
// A pattern is a plain counter: next() gives the next burst. Rows wrap around at the end of the bank.
#pragma once

#include <array>

#include "models/hardware/hbm.hpp"
#include "sim/memory/hbm/command.hpp"

namespace tessera {

// The shape of a channel in the integers that address arithmetic needs.
struct HbmShape {
  explicit HbmShape(const HbmSpec& spec);
  std::uint32_t pseudo_channels, stacks, groups, banks_per_group, banks, rows, columns;

  // Neighbouring numbers fall into different bank groups, then other stack ids.
  [[nodiscard]] std::uint8_t interleaved_bank(std::uint32_t number) const { return interleaved[number]; }
  std::array<std::uint8_t, kHbmMaxBanks> interleaved{};
};

class HbmStream {
 public:
  explicit HbmStream(const HbmShape& shape);
  HbmRequest next();

 private:
  HbmShape shape_;
  std::uint32_t half_ = 0, bank_ = 0;
  std::uint32_t column_ = 0, row_ = 0;             // of bank 0
  std::array<std::uint32_t, kHbmMaxBanks> ahead_;  // columns that the others are ahead of it
};

class HbmSequential {
 public:
  explicit HbmSequential(const HbmShape& shape) : shape_(shape) {}
  HbmRequest next();

 private:
  HbmShape shape_;
  HbmRequest at_;
  std::uint32_t bank_ = 0;  // stack ids change first, then groups
};

// A mixer of 64 bits, the finaliser of MurmurHash3: no stride of what goes in shows in what comes out.
constexpr std::uint64_t hbm_mixed(std::uint64_t x) {
  x = (x ^ (x >> 33U)) * 0xFF51AFD7ED558CCD;
  x = (x ^ (x >> 33U)) * 0xC4CEB9FE1A85EC53;
  return x ^ (x >> 33U);
}

// Mixed terms of a Weyl sequence, as in SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
class HbmRandom {
 public:
  HbmRandom(const HbmShape& shape, std::uint64_t seed) : shape_(shape), weyl_(hbm_mixed(seed)) {}
  HbmRequest next();

 private:
  HbmShape shape_;
  std::uint64_t weyl_;
};

// A fraction of a pattern's requests writes: an update in place, so that what a mix costs is turnarounds, not
// rows that reads and writes close on each other. A Weyl sequence of the golden ratio chooses them: evenly
// spread, and in step with no stride of the pattern.
template <class Pattern>
class HbmMixed {
 public:
  HbmMixed(Pattern pattern, double write_fraction)
      : pattern_(pattern), writes_below_(static_cast<std::uint64_t>(write_fraction * 0x1p32)) {}
  HbmRequest next() {
    HbmRequest request = pattern_.next();
    request.write = (weyl_ += 0x9E3779B9) < writes_below_;
    return request;
  }

 private:
  Pattern pattern_;
  std::uint64_t writes_below_;  // of 2^32
  std::uint32_t weyl_ = 0;
};

}  // namespace tessera
