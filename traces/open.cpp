#include "traces/open.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/base/text.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

// Decoded rows, side by side in flat arrays.
class HeldRows {
 public:
  void add(const Request& request) {
    rows_.push_back({request.arrival_ps, blocks_.size(), ids_.size(), request.input_tokens,
                     request.output_tokens, request.prompt_class, request.session,
                     static_cast<std::uint32_t>(request.blocks.size()),
                     static_cast<std::uint32_t>(request.id.size()), request.tenant});
    blocks_.insert(blocks_.end(), request.blocks.begin(), request.blocks.end());
    ids_.insert(ids_.end(), request.id.begin(), request.id.end());
  }
  void sort() {
    std::stable_sort(rows_.begin(), rows_.end(),
                     [](const Row& a, const Row& b) { return a.arrival_ps < b.arrival_ps; });
  }
  void clear() { *this = {}; }
  [[nodiscard]] std::size_t bytes() const {
    return rows_.size() * sizeof(Row) + blocks_.size() * sizeof(std::uint64_t) + ids_.size();
  }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] Request at(std::size_t i) const {
    const Row& row = rows_[i];
    return {.arrival_ps = row.arrival_ps,
            .input_tokens = row.input_tokens,
            .output_tokens = row.output_tokens,
            .prompt_class = row.prompt_class,
            .session = row.session,
            .blocks = {blocks_.data() + row.blocks_at, row.blocks},
            .id = {ids_.data() + row.id_at, row.id},
            .tenant = row.tenant};
  }

 private:
  struct Row {
    std::int64_t arrival_ps;
    std::size_t blocks_at, id_at;
    std::int32_t input_tokens, output_tokens;
    std::uint32_t prompt_class, session;
    std::uint32_t blocks, id;  // how many of each
    std::uint32_t tenant;
  };
  std::vector<Row> rows_;
  std::vector<std::uint64_t> blocks_;
  std::vector<char> ids_;
};

class OrderedTrace final : public TraceReader {
 public:
  OrderedTrace(const Source& source, const TraceFormat& format, const ReadOptions& options)
      : source_(source), format_(format), options_(options) {
    if (!(options.rate_scale > 0 && options.rate_scale <= 1e6))
      throw InputError("rate_scale: " + shortest(options.rate_scale) +
                       ", expected more than 0 and at most 1,000,000");
    if (options.limit && *options.limit < 1)
      throw InputError("limit: " + std::to_string(*options.limit) + ", expected at least 1 request");
    scan(false);
    if (!rows_->ids_ascending()) scan(true);
    info_ = rows_->facts();
    info_.file = source.name;
    info_.format = format.name;
    choose_arrivals();
    const bool finite = !rows_->endless() || complete_;
    info_.requests = finite ? count_ : -1;
    if (finite) {
      check_span();
      info_.span_ps = scaled(latest_ - earliest_);
    }
    prepare();
  }

  bool next(Request& request) override {
    if (held_) {
      if (handed_ == static_cast<std::int64_t>(held_->size())) return false;
      request = held_->at(static_cast<std::size_t>(handed_));
    } else if (handed_ == limit() || !rows_->next(request)) {
      return false;
    }
    ++handed_;
    request.arrival_ps = drawn_ ? drawn_->next_ps() : scaled(request.arrival_ps - earliest_);
    return true;
  }
  [[nodiscard]] const TraceInfo& info() const override { return info_; }

 private:
  [[nodiscard]] std::int64_t limit() const {
    return options_.limit.value_or(std::numeric_limits<std::int64_t>::max());
  }

  void start_pass(bool remember_ids) { rows_ = format_.open(source_, options_, remember_ids); }

  // One pass over the file: checks every row, learns the order, holds what fits.
  void scan(bool remember_ids) {
    start_pass(remember_ids);
    held_.emplace();
    count_ = earliest_ = latest_ = 0;
    sorted_ = true;
    complete_ = false;
    Request request;
    while (count_ < limit()) {
      if (!rows_->next(request)) break;
      ++count_;
      if (request.arrival_ps < latest_) sorted_ = false;
      earliest_ = std::min(earliest_, request.arrival_ps);
      latest_ = std::max(latest_, request.arrival_ps);
      if (!held_) continue;
      held_->add(request);
      if (held_->bytes() <= options_.hold_bytes) continue;
      held_.reset();
      if (rows_->endless()) return;
    }
    complete_ = true;
    if (count_ == 0)
      throw InputError(rows_->at(), "the trace has no requests" + skipped_text() + ", expected at least one");
  }

  [[nodiscard]] std::string skipped_text() const {
    std::string text;
    for (const SkippedRows& skipped : rows_->facts().skipped)
      text += " (" + human_count(skipped.rows) + " rows skipped: " + skipped.reason + ")";
    return text;
  }

  void choose_arrivals() {
    if (info_.has_arrivals && options_.arrivals)
      throw InputError(
          Location{source_.name, 1, 0},
          "the trace has arrival times of its own, expected none where arrivals are to be drawn");
    if (info_.has_arrivals) return;
    if (options_.arrivals) {
      ArrivalSpec spec = *options_.arrivals;
      spec.rate *= options_.rate_scale;
      drawn_.emplace(spec, options_.seed);
      info_.has_arrivals = true;
      info_.notes.push_back(std::string("arrival times drawn: ") + to_string(spec.kind) + ", " +
                            shortest(spec.rate) + " requests/s, seed " + std::to_string(options_.seed));
      ArrivalProcess rehearsal(spec, options_.seed);
      latest_ = 0;
      for (std::int64_t i = 0; i < count_; ++i) latest_ = rehearsal.next_ps();
      info_.span_ps = latest_;
    } else if (options_.need_arrivals) {
      throw InputError(Location{source_.name, 1, 0},
                       "the trace has no arrival times, expected a column arrived_at; draw them with "
                       "`trace convert IN --arrivals poisson --rate R OUT.csv`");
    }
  }

  // latest_ and earliest_ are each within 100 days of the first row, so no sum here overflows.
  void check_span() const {
    if (drawn_) return;
    if (latest_ <= kMaxSpanPs + earliest_ &&
        static_cast<double>(latest_ - earliest_) / options_.rate_scale <= static_cast<double>(kMaxSpanPs))
      return;
    throw InputError(Location{source_.name, 1, 0},
                     std::string("the trace spans more than 100 days") +
                         (options_.rate_scale == 1 ? "" : " at this rate_scale") +
                         ", expected less (picoseconds would overflow); split the file or set a limit");
  }

  [[nodiscard]] std::int64_t scaled(std::int64_t ps) const {
    return options_.rate_scale == 1 ? ps : std::llround(static_cast<double>(ps) / options_.rate_scale);
  }

  // Gets ready to hand rows out: from memory, or from the start of the file again.
  void prepare() {
    if (!sorted_) {
      info_.notes.push_back("rows were out of time order and have been sorted");
      if (!held_) {
        start_pass(false);
        held_.emplace();
        Request request;
        for (std::int64_t i = 0; i < count_ && rows_->next(request); ++i) held_->add(request);
      }
      held_->sort();
    }
    if (!held_) start_pass(false);
    if (drawn_ || !info_.has_arrivals) return;
    // The origin is the earliest row's time, which need not be the first row's.
    std::int64_t ps = info_.origin_ps + earliest_ % kPsPerSecond;
    info_.origin_s += earliest_ / kPsPerSecond;
    if (ps < 0) {
      ps += kPsPerSecond;
      --info_.origin_s;
    }
    info_.origin_s += ps / kPsPerSecond;
    info_.origin_ps = ps % kPsPerSecond;
  }

  Source source_;
  const TraceFormat& format_;
  ReadOptions options_;
  std::unique_ptr<RowReader> rows_;
  std::optional<HeldRows> held_;
  std::optional<ArrivalProcess> drawn_;
  TraceInfo info_;
  std::int64_t count_ = 0;
  std::int64_t handed_ = 0;
  std::int64_t earliest_ = 0;
  std::int64_t latest_ = 0;
  bool sorted_ = true;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<TraceReader> open_trace(const Source& source, const ReadOptions& options) {
  const TraceFormat& format = options.format == "auto" ? detect_format(source) : find_format(options.format);
  if (format.kind == TraceFormat::Kind::keys)
    throw InputError({source.name, 1, 0},
                     std::string("holds cache keys (") + format.name +
                         "), not requests, expected a request trace; replay it with `cache`");
  return std::make_unique<OrderedTrace>(source, format, options);
}

std::unique_ptr<TraceReader> open_trace(const std::string& path, const ReadOptions& options) {
  return open_trace(Source{path, std::nullopt}, options);
}

}  // namespace tessera
