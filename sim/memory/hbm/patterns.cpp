#include "sim/memory/hbm/patterns.hpp"

namespace tessera {

HbmShape::HbmShape(const HbmSpec& spec)
    : pseudo_channels(static_cast<std::uint32_t>(spec.organisation.pseudo_channels)),
      stacks(static_cast<std::uint32_t>(spec.organisation.stack_ids)),
      groups(static_cast<std::uint32_t>(spec.organisation.bank_groups)),
      banks_per_group(static_cast<std::uint32_t>(spec.organisation.banks)),
      banks(stacks * groups * banks_per_group),
      rows(static_cast<std::uint32_t>(spec.organisation.rows)),
      columns(static_cast<std::uint32_t>(spec.organisation.bursts_per_row)) {
  for (std::uint32_t number = 0; number < banks; ++number) {
    const std::uint32_t group = number % groups;
    const std::uint32_t stack = number / groups % stacks;
    const std::uint32_t bank = number / groups / stacks;
    interleaved[number] = static_cast<std::uint8_t>((stack * groups + group) * banks_per_group + bank);
  }
}

HbmStream::HbmStream(const HbmShape& shape) : shape_(shape) {
  for (std::uint32_t bank = 0; bank < shape.banks; ++bank) ahead_[bank] = bank * shape.columns / shape.banks;
}

HbmRequest HbmStream::next() {
  HbmRequest request;
  request.pseudo_channel = static_cast<std::uint8_t>(half_);
  request.bank = shape_.interleaved_bank(bank_);
  const std::uint32_t column = column_ + ahead_[bank_];
  const bool in_next = column >= shape_.columns;
  request.column = static_cast<std::uint16_t>(in_next ? column - shape_.columns : column);
  request.row = in_next ? (row_ + 1 == shape_.rows ? 0 : row_ + 1) : row_;
  if (++half_ == shape_.pseudo_channels) {
    half_ = 0;
    if (++bank_ == shape_.banks) {
      bank_ = 0;
      if (++column_ == shape_.columns) {
        column_ = 0;
        if (++row_ == shape_.rows) row_ = 0;
      }
    }
  }
  return request;
}

HbmRequest HbmSequential::next() {
  const HbmRequest request = at_;
  if (++at_.column < shape_.columns) return request;
  at_.column = 0;
  if (++at_.pseudo_channel < shape_.pseudo_channels) return request;
  at_.pseudo_channel = 0;
  if (++bank_ == shape_.banks) {
    bank_ = 0;
    if (++at_.row == shape_.rows) at_.row = 0;
  }
  const std::uint32_t stack = bank_ % shape_.stacks;
  const std::uint32_t group = bank_ / shape_.stacks % shape_.groups;
  const std::uint32_t bank = bank_ / shape_.stacks / shape_.groups;
  at_.bank = static_cast<std::uint8_t>((stack * shape_.groups + group) * shape_.banks_per_group + bank);
  return request;
}

HbmRequest HbmRandom::next() {
  // Two fractions of 32 bits, each read in mixed radix: no choice is biased by more than a part in 2^11 (rows
  // and halves are at most 2^21, banks and columns 2^16).
  const std::uint64_t draw = hbm_mixed(weyl_ += 0x9E3779B97F4A7C15);
  std::uint64_t high = draw >> 32U, low = draw & 0xFFFFFFFFU;
  const auto digit = [](std::uint64_t& fraction, std::uint32_t count) {
    const std::uint64_t product = fraction * count;
    fraction = product & 0xFFFFFFFFU;
    return static_cast<std::uint32_t>(product >> 32U);
  };
  HbmRequest request;
  request.row = digit(high, shape_.rows);
  request.pseudo_channel = static_cast<std::uint8_t>(digit(high, shape_.pseudo_channels));
  request.bank = static_cast<std::uint8_t>(digit(low, shape_.banks));
  request.column = static_cast<std::uint16_t>(digit(low, shape_.columns));
  return request;
}

}  // namespace tessera
