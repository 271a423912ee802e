// Azure LLM inference traces (Azure/AzurePublicDataset; Patel et al., "Splitwise", ISCA 2024):
// TIMESTAMP,ContextTokens,GeneratedTokens with 100 ns time stamps; the 2024 files add a UTC offset.
// They name no requests and no shared prefixes.
#include "traces/csv.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

class AzureRows final : public RowReader {
 public:
  explicit AzureRows(const Source& source)
      : csv_(source, {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}) {}
  bool next(Request& request) override {
    if (!csv_.next()) return false;
    request = {};
    request.arrival_ps = since_first(csv_.timestamp(0));
    request.input_tokens = csv_.tokens(1);
    request.output_tokens = csv_.tokens(2);
    return true;
  }
  [[nodiscard]] Location at() const override { return csv_.at(); }

 private:
  CsvTable csv_;
};

}  // namespace

RowReaderPtr open_azure(const Source& source, const ReadOptions& /*options*/, bool /*remember_ids*/) {
  return std::make_unique<AzureRows>(source);
}

}  // namespace tessera
