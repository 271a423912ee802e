#include "traces/generate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMostRequests = 1'000'000'000;

void check(const GenerateSpec& spec) {
  if (!spec.requests && !spec.duration_s)
    throw InputError("generate: expected how many requests or for how long (--requests, --duration)");
  if (spec.requests && (*spec.requests < 1 || *spec.requests > kMostRequests))
    throw InputError("requests: " + std::to_string(*spec.requests) + ", expected 1 to 1,000,000,000");
  if (spec.duration_s && !(*spec.duration_s > 0 && *spec.duration_s <= to_s(Time{kMaxSpanPs})))
    throw InputError("duration: " + shortest(*spec.duration_s) +
                     " s, expected more than 0 and at most 100 days");
  if (spec.stratified && !spec.requests)
    throw InputError("stratified: needs the number of requests, expected --requests N");
  if (spec.classes < 0 || spec.classes > 1'000'000)
    throw InputError("classes: " + std::to_string(spec.classes) + ", expected 0 to 1,000,000");
  if (spec.classes == 0) {
    if (spec.prefix_tokens != 0)
      throw InputError("prefix-tokens: nothing shares a prefix without classes, expected --classes N");
    return;
  }
  if (spec.block_tokens < 1 || spec.block_tokens > kMaxTokens)
    throw InputError("block-tokens: " + std::to_string(spec.block_tokens) + ", expected 1 to 100,000,000");
  if (spec.prefix_tokens < spec.block_tokens || spec.prefix_tokens > kMaxTokens)
    throw InputError("prefix-tokens: " + std::to_string(spec.prefix_tokens) +
                     ", expected at least one block of " + std::to_string(spec.block_tokens) +
                     " tokens and at most 100,000,000");
}

// Uniform draws; stratified ones take every n-th of (0, 1) once.
class Draws {
 public:
  Draws(const GenerateSpec& spec, std::uint64_t which)
      : rng_(random_stream(spec.seed, Stream::lengths, which << 32)) {
    if (!spec.stratified) return;
    order_.resize(static_cast<std::size_t>(*spec.requests));
    std::iota(order_.begin(), order_.end(), 0U);
    TraceRng shuffle = random_stream(spec.seed, Stream::order, which << 32);
    for (std::size_t i = order_.size(); i > 1; --i)
      std::swap(order_[i - 1], order_[uniform_below(shuffle, i)]);
  }
  double next() {
    const double u = uniform_open(rng_);
    if (order_.empty()) return u;
    const double within = (static_cast<double>(order_[at_++]) + u) / static_cast<double>(order_.size());
    return std::min(within, 1 - 0x1p-53);  // the sum may round to 1, which no inverse CDF takes
  }

 private:
  TraceRng rng_;
  std::vector<std::uint32_t> order_;
  std::size_t at_ = 0;
};

class GeneratedTrace final : public TraceReader {
 public:
  explicit GeneratedTrace(const GenerateSpec& spec)
      : spec_(spec),
        arrivals_(spec.arrivals, spec.seed),
        lengths_(spec.lengths),
        input_draws_(spec, 0),
        output_draws_(spec, 1),
        class_rng_(random_stream(spec.seed, Stream::classes)),
        shared_blocks_(spec.classes == 0 ? 0 : spec.prefix_tokens / spec.block_tokens),
        fresh_block_(static_cast<std::uint64_t>(spec.classes) * static_cast<std::uint64_t>(shared_blocks_)) {
    info_.file = "generated";
    info_.format = "generated";
    info_.requests = spec.duration_s ? -1 : *spec.requests;
    if (spec.classes > 0) {
      info_.has_classes = true;
      info_.block_tokens = spec.block_tokens;
    }
  }

  bool next(Request& request) override {
    if (spec_.requests && made_ == *spec_.requests) return false;
    request = {};
    request.arrival_ps = arrivals_.next_ps();
    if (spec_.duration_s && to_s(Time{request.arrival_ps}) >= *spec_.duration_s) return false;
    ++made_;
    const double u = input_draws_.next();
    std::tie(request.input_tokens, request.output_tokens) = lengths_.at(u, output_draws_.next());
    if (spec_.classes > 0) add_blocks(request);
    return true;
  }
  [[nodiscard]] const TraceInfo& info() const override { return info_; }

 private:
  void add_blocks(Request& request) {
    request.prompt_class =
        static_cast<std::uint32_t>(uniform_below(class_rng_, static_cast<std::uint64_t>(spec_.classes)));
    blocks_.clear();
    const int whole = request.input_tokens / spec_.block_tokens;
    const auto first = std::uint64_t{request.prompt_class} * static_cast<std::uint64_t>(shared_blocks_);
    for (int i = 0; i < whole; ++i)
      blocks_.push_back(i < shared_blocks_ ? first + static_cast<std::uint64_t>(i) : fresh_block_++);
    request.blocks = blocks_;
  }

  GenerateSpec spec_;
  ArrivalProcess arrivals_;
  LengthSampler lengths_;
  Draws input_draws_;
  Draws output_draws_;
  TraceRng class_rng_;
  int shared_blocks_;
  std::uint64_t fresh_block_;
  std::vector<std::uint64_t> blocks_;
  TraceInfo info_;
  std::int64_t made_ = 0;
};

}  // namespace

std::unique_ptr<TraceReader> generate_trace(const GenerateSpec& spec) {
  check(spec);
  return std::make_unique<GeneratedTrace>(spec);
}

std::string command_line(const GenerateSpec& spec) {
  std::string out = std::string("tessera trace generate --arrivals ") + to_string(spec.arrivals.kind) +
                    " --rate " + shortest(spec.arrivals.rate);
  if (spec.arrivals.kind == ArrivalSpec::Kind::gamma) out += " --cv " + shortest(spec.arrivals.cv);
  if (!spec.lengths.trace.empty())
    out += " --lengths trace:" + spec.lengths.trace;
  else
    out += " --input-lengths " + spec.lengths.input + " --output-lengths " + spec.lengths.output;
  if (spec.requests) out += " --requests " + std::to_string(*spec.requests);
  if (spec.duration_s) out += " --duration " + shortest(*spec.duration_s);
  if (spec.stratified) out += " --stratified";
  if (spec.classes > 0)
    out += " --classes " + std::to_string(spec.classes) + " --prefix-tokens " +
           std::to_string(spec.prefix_tokens) + " --block-tokens " + std::to_string(spec.block_tokens);
  return out + " --seed " + std::to_string(spec.seed);
}

}  // namespace tessera
