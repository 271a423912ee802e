// BurstGPT (Wang et al., arXiv 2401.17644): Timestamp in seconds, Model, Request tokens, Response tokens,
// Total tokens, Log Type. A request the service failed has zero response tokens: skipped and counted.
#include "traces/csv.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

class BurstGptRows final : public RowReader {
 public:
  explicit BurstGptRows(const Source& source)
      : csv_(source, {"Timestamp", "Request tokens", "Response tokens"}) {}
  bool next(Request& request) override {
    while (csv_.next()) {
      request = {};
      const Instant time = csv_.duration(0);
      if (csv_.integer(2, kMaxTokens) == 0) {
        skip_row("failed (no response tokens)");
        continue;
      }
      request.arrival_ps = since_first(time);
      request.input_tokens = csv_.tokens(1);
      request.output_tokens = csv_.tokens(2);
      return true;
    }
    return false;
  }
  [[nodiscard]] Location at() const override { return csv_.at(); }

 private:
  CsvTable csv_;
};

}  // namespace

RowReaderPtr open_burstgpt(const Source& source, const ReadOptions& /*options*/, bool /*remember_ids*/) {
  return std::make_unique<BurstGptRows>(source);
}

}  // namespace tessera
