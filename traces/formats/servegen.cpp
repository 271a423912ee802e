// ServeGen client rates (alibaba/ServeGen; Xiang et al., arXiv 2505.09999): per client and time window
// a mean rate and the coefficient of variation (CV) of its inter-arrival times. Requests are drawn:
//
// each client is a renewal process in operational time tau = integral of rate dt. Gaps in tau are Gamma
// with mean 1 and the CV of the window they start in; a gap that outlasts its window goes on in the next.
// So the mean rate of every window is met, and clients are independent (one random stream each).
//
// Assumed: the window is the smallest step between two windows of a client (600 s in the public files);
// windows not listed have no requests; the fitted family (fit, fit_p1, fit_p2) is not used, only its CV.
// The files hold no lengths: those must be given. A client's number becomes the session.
#include <algorithm>
#include <map>
#include <queue>

#include "models/base/text.hpp"
#include "traces/csv.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

struct Window {
  double start_s;
  double rate;
  double cv;
};

constexpr double kMaxRate = 1e6;
constexpr double kMaxCv = 1'000;

class Client {
 public:
  Client(std::uint32_t number, std::vector<Window> windows, double window_s, std::uint64_t seed)
      : number_(number),
        windows_(std::move(windows)),
        window_s_(window_s),
        rng_(random_stream(seed, Stream::clients, number)),
        now_s_(windows_.front().start_s) {}

  // Moves to the next arrival; false when the last window is over.
  bool advance() {
    double gap = unit_gamma_gap(windows_[at_].cv, rng_);
    while (true) {
      const Window& window = windows_[at_];
      const double end = window.start_s + window_s_;
      const double room = (end - now_s_) * window.rate;
      if (gap < room) {
        now_s_ += gap / window.rate;
        return true;
      }
      gap -= std::max(room, 0.0);  // room is a rounding below 0 when now_s_ stands at the end
      if (++at_ == windows_.size()) return false;
      now_s_ = windows_[at_].start_s;
    }
  }
  [[nodiscard]] double now_s() const { return now_s_; }
  [[nodiscard]] std::uint32_t number() const { return number_; }

 private:
  std::uint32_t number_;
  std::vector<Window> windows_;
  double window_s_;
  TraceRng rng_;
  double now_s_;
  std::size_t at_ = 0;
};

class ServeGenRows final : public RowReader {
 public:
  ServeGenRows(const Source& source, const ReadOptions& options)
      : at_{source.name, 0, 0},
        lengths_(*options.lengths),
        length_rng_(random_stream(options.seed, Stream::lengths)) {
    std::map<std::uint32_t, std::vector<Window>> table;
    const double window_s = read(source, table);
    for (auto& [number, windows] : table)
      clients_.emplace_back(number, std::move(windows), window_s, options.seed);
    for (std::size_t i = 0; i < clients_.size(); ++i)
      if (clients_[i].advance()) queue_.emplace(clients_[i].now_s(), i);
    facts_.has_sessions = true;
    facts_.notes.push_back(
        "requests drawn (seed " + std::to_string(options.seed) + ") from the rates of " +
        std::to_string(clients_.size()) + " clients in windows of " + shortest(window_s) +
        " s: Gamma inter-arrival times with each window's CV; lengths as given, not measured");
  }

  bool next(Request& request) override {
    if (queue_.empty()) return false;
    const auto [now_s, index] = queue_.top();
    queue_.pop();
    request = {};
    const auto whole = static_cast<std::int64_t>(now_s);
    const auto ps =
        static_cast<std::int64_t>((now_s - static_cast<double>(whole)) * static_cast<double>(kPsPerSecond));
    request.arrival_ps = since_first({whole, ps});
    const double u = uniform_open(length_rng_);
    std::tie(request.input_tokens, request.output_tokens) = lengths_.at(u, uniform_open(length_rng_));
    request.session = clients_[index].number();
    if (clients_[index].advance()) queue_.emplace(clients_[index].now_s(), index);
    return true;
  }
  [[nodiscard]] Location at() const override { return at_; }
  [[nodiscard]] bool endless() const override { return true; }

 private:
  using Arrival = std::pair<double, std::size_t>;

  // Fills the table, returns the window's length.
  static double read(const Source& source, std::map<std::uint32_t, std::vector<Window>>& table) {
    CsvTable csv(source, {"client", "window_start_s", "rate_rps", "interarrival_cv"});
    std::map<std::uint32_t, double> last_start;  // of silent windows too: they set the step as others do
    double step = 0;
    while (csv.next()) {
      const auto client = static_cast<std::uint32_t>(csv.integer(0, 1'000'000));
      const Instant start = csv.duration(1);
      const Window window{static_cast<double>(start.s) + static_cast<double>(start.ps) * 1e-12,
                          csv.decimal(2), csv.decimal(3)};
      if (start.s > kMaxSpanPs / kPsPerSecond)
        throw csv.error(1, "beyond 100 days, expected a shorter trace");
      if (window.rate > kMaxRate)
        throw csv.error(2,
                        describe(csv.field(2), "requests/s is too large") + ", expected at most 1,000,000");
      if (window.cv > kMaxCv)
        throw csv.error(3, describe(csv.field(3), "is too large") + ", expected a CV of at most 1,000");
      if (const auto last = last_start.find(client); last != last_start.end()) {
        const double since = window.start_s - last->second;
        if (!(since > 0))
          throw csv.error(1, describe(csv.field(1), "does not come after the client's window before it") +
                                 ", expected rising starts");
        if (step == 0 || since < step) step = since;
      }
      last_start[client] = window.start_s;
      if (window.rate > 0) table[client].push_back(window);
    }
    if (table.empty()) throw InputError(csv.at(), "no client has a rate above 0, expected client rates");
    constexpr double kUsualStep = 600;
    return step == 0 ? kUsualStep : step;
  }

  Location at_;
  LengthSampler lengths_;
  TraceRng length_rng_;
  std::vector<Client> clients_;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> queue_;
};

}  // namespace

RowReaderPtr open_servegen(const Source& source, const ReadOptions& options, bool /*remember_ids*/) {
  if (!options.lengths)
    throw InputError(
        {source.name, 1, 0},
        "client rates say nothing of lengths, expected them given: make a trace first with "
        "`trace convert RATES --input-lengths fixed:1000 --output-lengths fixed:200 --limit N OUT.csv`");
  return std::make_unique<ServeGenRows>(source, options);
}

}  // namespace tessera
