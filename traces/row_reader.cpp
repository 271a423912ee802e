#include "traces/row_reader.hpp"

#include <algorithm>

namespace tessera {
namespace {

struct NumberedId {
  std::string_view prefix;
  std::uint64_t number = 0;
};

// "bench-12" is {"bench-", 12}; leading zeros and over-long numbers stay in the prefix' comparison.
bool split_id(std::string_view id, NumberedId& out) {
  std::size_t digits = 0;
  while (digits < id.size() && digits < 18 && id[id.size() - 1 - digits] >= '0' &&
         id[id.size() - 1 - digits] <= '9')
    ++digits;
  if (digits == 0) return false;
  const std::string_view tail = id.substr(id.size() - digits);
  if (digits > 1 && tail.front() == '0') return false;
  out = {id.substr(0, id.size() - digits), parse_integer(tail, UINT64_MAX).value};
  return true;
}

bool steps_up(std::string_view before, std::string_view after) {
  NumberedId a;
  NumberedId b;
  return split_id(before, a) && split_id(after, b) && a.prefix == b.prefix && a.number < b.number;
}

}  // namespace

std::int64_t RowReader::since_first(const Instant& time) {
  if (!started_) {
    started_ = true;
    facts_.origin_s = time.s;
    facts_.origin_ps = time.ps;
  }
  const std::int64_t s = time.s - facts_.origin_s;
  constexpr std::int64_t kLimit = kMaxSpanPs / kPsPerSecond;
  if (s > kLimit || s < -kLimit)
    throw InputError(at(), "arrival: " + std::to_string((s < 0 ? -s : s) / 86'400) +
                               " days away from the first row, expected a trace of at most 100 days");
  return s * kPsPerSecond + (time.ps - facts_.origin_ps);
}

void RowReader::skip_row(const std::string& reason) {
  const auto known = std::find_if(facts_.skipped.begin(), facts_.skipped.end(),
                                  [&](const SkippedRows& skipped) { return skipped.reason == reason; });
  if (known == facts_.skipped.end())
    facts_.skipped.push_back({reason, 1});
  else
    ++known->rows;
}

void RowReader::check_blocks(const Request& request) const {
  const auto most = ceil_div(request.input_tokens, facts_.block_tokens);
  if (static_cast<std::int64_t>(request.blocks.size()) > most)
    throw InputError(at(), std::to_string(request.blocks.size()) + " block ids for a prompt of " +
                               std::to_string(request.input_tokens) + " tokens, expected at most " +
                               std::to_string(most) + " blocks of " + std::to_string(facts_.block_tokens) +
                               " tokens");
}

void UniqueIds::check(std::string_view id, const Location& at, const char* key) {
  if (remember_) {
    const auto [known, fresh] = line_of_.emplace(hash_text(id), at.line);
    if (!fresh)
      throw InputError(at, std::string(key) + ": " + describe(id, "stands") + " in line " +
                               std::to_string(known->second) +
                               " too, expected an id of its own for each request");
    return;
  }
  if (!last_.empty() && !steps_up(last_, id)) ascending_ = false;
  last_.assign(id);
}

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace tessera
