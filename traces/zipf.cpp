#include "traces/zipf.hpp"

#include <fmt/format.h>

#include <cmath>
#include <ostream>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "traces/byte_sink.hpp"
#include "traces/key_trace.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMostRequests = 1'000'000'000;  // each holds 12 bytes until it is written
constexpr std::int64_t kMostObjects = 100'000'000;

void check(const ZipfSpec& spec) {
  if (spec.requests < 1 || spec.requests > kMostRequests)
    throw InputError(fmt::format("requests: {}, expected 1 to 1,000,000,000", spec.requests));
  if (spec.objects < 1 || spec.objects > kMostObjects)
    throw InputError(fmt::format("objects: {}, expected 1 to 100,000,000", spec.objects));
  if (!(spec.alpha >= 0 && spec.alpha <= 10))
    throw InputError("alpha: " + shortest(spec.alpha) + ", expected 0 to 10");
  if (spec.size < 1 || spec.size > UINT32_MAX)
    throw InputError(fmt::format("size: {}, expected 1 to 4,294,967,295 bytes", spec.size));
}

void append(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

ZipfKeys::ZipfKeys(const ZipfSpec& spec) : rng_(random_stream(spec.seed, Stream::keys)) {
  check(spec);
  const auto objects = static_cast<std::size_t>(spec.objects);
  cumulative_.resize(objects);
  double sum = 0;
  for (std::size_t k = 0; k < objects; ++k)
    cumulative_[k] = sum += std::pow(static_cast<double>(k + 1), -spec.alpha);
  guide_.resize(objects);
  std::uint32_t key = 0;
  for (std::size_t slice = 0; slice < objects; ++slice) {
    const double from = sum * static_cast<double>(slice) / static_cast<double>(objects);
    while (cumulative_[key] < from) ++key;
    guide_[slice] = key;
  }
}

std::uint32_t ZipfKeys::next() {
  const double u = uniform_open(rng_);
  const double draw = u * cumulative_.back();
  std::uint32_t key = guide_[static_cast<std::size_t>(u * static_cast<double>(guide_.size()))];
  // The slice's bound is rounded on its own: the key may lie just before it.
  while (key > 0 && cumulative_[key - 1] >= draw) --key;
  while (cumulative_[key] < draw) ++key;
  return key + 1;
}

int trace_zipf(const ZipfSpec& spec, const std::string& output, std::ostream& out, std::ostream& log) {
  ZipfKeys keys(spec);
  if (output.empty()) throw InputError("output: no file is named, expected one, or - for standard output");
  const auto sink = output == "-" ? to_stream(out) : create_file(output);
  const auto requests = static_cast<std::size_t>(spec.requests);
  std::vector<std::uint32_t> drawn(requests);
  for (std::uint32_t& key : drawn) key = keys.next();
  std::vector<std::int64_t> next_access(requests);
  std::vector<std::int64_t> upcoming(static_cast<std::size_t>(spec.objects) + 1, kNeverAgain);
  for (std::size_t i = requests; i-- > 0;) {
    next_access[i] = upcoming[drawn[i]];
    upcoming[drawn[i]] = static_cast<std::int64_t>(i);
  }
  std::string records;
  for (std::size_t i = 0; i < requests; ++i) {
    append(records, i, 4);
    append(records, drawn[i], 8);
    append(records, static_cast<std::uint64_t>(spec.size), 4);
    append(records, static_cast<std::uint64_t>(next_access[i]), 8);
    if (records.size() < 1 << 20 && i + 1 < requests) continue;
    sink->write(records);
    records.clear();
  }
  sink->finish();
  log << fmt::format("{} requests for {} objects, alpha {}, written to {}\n", human_count(spec.requests),
                     human_count(spec.objects), shortest(spec.alpha), output);
  return 0;
}

}  // namespace tessera
