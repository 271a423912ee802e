#include "sim/memory/hbm/patterns.hpp"

namespace tessera {

HbmShape::HbmShape(const HbmSpec& spec)
    : pseudo_channels(static_cast<std::uint32_t>(spec.organisation.pseudo_channels)),
      stacks(static_cast<std::uint32_t>(spec.organisation.stack_ids)),
      groups(static_cast<std::uint32_t>(spec.organisation.bank_groups)),
      banks_per_group(static_cast<std::uint32_t>(spec.organisation.banks)),
      banks(stacks * groups * banks_per_group),
      rows(static_cast<std::uint32_t>(spec.organisation.rows)),
      columns(static_cast<std::uint32_t>(spec.organisation.bursts_per_row)) {}

HbmRequest HbmStream::next() {
  // Bank k runs ahead of bank 0 by k/banks of a row.
  const std::uint64_t burst = turn_ + bank_ * shape_.columns / shape_.banks;
  HbmRequest request;
  request.pseudo_channel = static_cast<std::uint8_t>(half_);
  request.bank = shape_.interleaved_bank(bank_);
  request.column = static_cast<std::uint16_t>(burst % shape_.columns);
  request.row = static_cast<std::uint32_t>((burst / shape_.columns + first_row_) % shape_.rows);
  if (++half_ == shape_.pseudo_channels) {
    half_ = 0;
    if (++bank_ == shape_.banks) {
      bank_ = 0;
      ++turn_;
    }
  }
  return request;
}

HbmRequest HbmSequential::next() {
  HbmRequest request;
  request.pseudo_channel = static_cast<std::uint8_t>(half_);
  request.column = static_cast<std::uint16_t>(column_);
  const std::uint32_t stack = bank_ % shape_.stacks;
  const std::uint32_t group = bank_ / shape_.stacks % shape_.groups;
  const std::uint32_t bank = bank_ / shape_.stacks / shape_.groups;
  request.bank = static_cast<std::uint8_t>((stack * shape_.groups + group) * shape_.banks_per_group + bank);
  request.row = (row_ + first_row_) % shape_.rows;
  if (++column_ == shape_.columns) {
    column_ = 0;
    if (++half_ == shape_.pseudo_channels) {
      half_ = 0;
      if (++bank_ == shape_.banks) {
        bank_ = 0;
        ++row_;
      }
    }
  }
  return request;
}

HbmRequest HbmRandom::next() {
  const std::uint64_t draw = random_();
  // A 16-bit draw times a count, the high half: a bias of at most count / 2^16 per choice.
  const auto below = [draw](unsigned shift, std::uint32_t count) {
    return static_cast<std::uint32_t>(((draw >> shift & 0xFFFFU) * count) >> 16U);
  };
  HbmRequest request;
  request.pseudo_channel = static_cast<std::uint8_t>((draw & 1U) % shape_.pseudo_channels);
  request.bank = static_cast<std::uint8_t>(below(1, shape_.banks));
  request.column = static_cast<std::uint16_t>(below(17, shape_.columns));
  request.row = static_cast<std::uint32_t>(((draw >> 33U) * shape_.rows) >> 31U);
  return request;
}

}  // namespace tessera
