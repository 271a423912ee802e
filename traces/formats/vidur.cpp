// Vidur traces (microsoft/vidur, data/processed_traces): [arrived_at,]num_prefill_tokens,num_decode_tokens,
// seconds from the start. Some (arXiv summarization) have no arrival times: those must be drawn.
#include "traces/csv.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

class VidurRows final : public RowReader {
 public:
  explicit VidurRows(const Source& source)
      : csv_(source, {"num_prefill_tokens", "num_decode_tokens"}, {"arrived_at"}) {
    facts_.has_arrivals = csv_.has(2);
  }
  bool next(Request& request) override {
    if (!csv_.next()) return false;
    request = {};
    if (facts_.has_arrivals) request.arrival_ps = since_first(csv_.duration(2));
    request.input_tokens = csv_.tokens(0);
    request.output_tokens = csv_.tokens(1);
    return true;
  }
  [[nodiscard]] Location at() const override { return csv_.at(); }

 private:
  CsvTable csv_;
};

}  // namespace

RowReaderPtr open_vidur(const Source& source, const ReadOptions& /*options*/, bool /*remember_ids*/) {
  return std::make_unique<VidurRows>(source);
}

}  // namespace tessera
