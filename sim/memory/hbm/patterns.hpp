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

#include "models/hardware/hbm.hpp"
#include "sim/engine/random.hpp"
#include "sim/memory/hbm/command.hpp"

namespace tessera {

// The shape of a channel in the integers that address arithmetic needs.
struct HbmShape {
  explicit HbmShape(const HbmSpec& spec);
  std::uint32_t pseudo_channels, stacks, groups, banks_per_group, banks, rows, columns;

  // Neighbouring numbers fall into different bank groups, then other stack ids.
  [[nodiscard]] std::uint8_t interleaved_bank(std::uint32_t number) const {
    const std::uint32_t group = number % groups;
    const std::uint32_t stack = number / groups % stacks;
    const std::uint32_t bank = number / groups / stacks % banks_per_group;
    return static_cast<std::uint8_t>((stack * groups + group) * banks_per_group + bank);
  }
};

class HbmStream {
 public:
  explicit HbmStream(const HbmShape& shape, std::uint32_t first_row = 0)
      : shape_(shape), first_row_(first_row) {}
  HbmRequest next();

 private:
  HbmShape shape_;
  std::uint32_t first_row_;
  std::uint32_t half_ = 0, bank_ = 0;
  std::uint64_t turn_ = 0;  // how often every bank has been visited
};

class HbmSequential {
 public:
  explicit HbmSequential(const HbmShape& shape, std::uint32_t first_row = 0)
      : shape_(shape), first_row_(first_row) {}
  HbmRequest next();

 private:
  HbmShape shape_;
  std::uint32_t first_row_;
  std::uint32_t half_ = 0, column_ = 0, bank_ = 0, row_ = 0;
};

class HbmRandom {
 public:
  HbmRandom(const HbmShape& shape, std::uint64_t seed) : shape_(shape), random_(seed, 0) {}
  HbmRequest next();

 private:
  HbmShape shape_;
  sim::RandomStream random_;
};

// Of every million requests, `per_million` are writes, evenly spread; they run through a pattern of their
// own.
template <class Pattern>
class HbmMixed {
 public:
  HbmMixed(Pattern reads, Pattern writes, std::uint32_t per_million)
      : reads_(reads), writes_(writes), per_million_(per_million) {}
  HbmRequest next() {
    due_ += per_million_;
    if (due_ < kMillion) return reads_.next();
    due_ -= kMillion;
    HbmRequest request = writes_.next();
    request.write = true;
    return request;
  }

 private:
  static constexpr std::uint32_t kMillion = 1'000'000;
  Pattern reads_, writes_;
  std::uint32_t per_million_, due_ = 0;
};

}  // namespace tessera
