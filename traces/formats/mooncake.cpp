// Mooncake traces (kvcache-ai/Mooncake, FAST'25 release): JSONL with timestamp in milliseconds,
// input_length, output_length and hash_ids, the chained identities of the prompt's 512-token blocks
// (the last one may be partial).
#include "traces/formats.hpp"
#include "traces/json_request.hpp"

namespace tessera {
namespace {

class MooncakeRows final : public RowReader {
 public:
  explicit MooncakeRows(const Source& source) : lines_(source) { facts_.block_tokens = 512; }

  bool next(Request& request) override {
    JsonRequest row(blocks_);
    if (!row.read(lines_)) return false;
    request = {};
    request.arrival_ps = since_first(row.time("timestamp", -3));
    request.input_tokens = row.tokens("input_length");
    request.output_tokens = row.tokens("output_length");
    request.blocks = blocks_;
    check_blocks(request);
    return true;
  }
  [[nodiscard]] Location at() const override { return lines_.at(); }

 private:
  LineReader lines_;
  std::vector<std::uint64_t> blocks_;
};

}  // namespace

RowReaderPtr open_mooncake(const Source& source, const ReadOptions& /*options*/, bool /*remember_ids*/) {
  return std::make_unique<MooncakeRows>(source);
}

}  // namespace tessera
