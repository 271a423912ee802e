// Our own CSV: request_id,arrival_s,input_tokens,output_tokens and, if known, blockN_ids (space-separated
// chained identities of the prompt's leading blocks of N tokens), session, prompt_class and tenant (whole
// numbers; an empty session is none). '#' lines before the header are comments. Other columns are passed over
// with a note, so the requests.csv of a run reads back as a trace.
#include <algorithm>

#include "models/base/text.hpp"
#include "traces/csv.hpp"
#include "traces/formats.hpp"

namespace tessera {
namespace {

enum Column : std::size_t { kId, kArrival, kInput, kOutput, kSession, kClass, kTenant, kBlocks };

// The name of the blockN_ids column and its N; {"", 0} if there is none.
std::pair<std::string, int> find_block_column(const Source& source) {
  const CsvTable table(source, {"request_id", "arrival_s", "input_tokens", "output_tokens"});
  std::pair<std::string, int> found{"", 0};
  for (const std::string& name : table.header()) {
    if (!name.starts_with("block") || !name.ends_with("_ids")) continue;
    const auto tokens = parse_integer(std::string_view(name).substr(5, name.size() - 9), kMaxTokens);
    if (tokens.problem != nullptr || tokens.value == 0)
      throw InputError(table.at(),
                       name + ": expected blockN_ids with N tokens per block, such as block16_ids");
    if (found.second != 0)
      throw InputError(table.at(),
                       name + ": a second column of block ids beside " + found.first + ", expected one");
    found = {name, static_cast<int>(tokens.value)};
  }
  return found;
}

class TesseraRows final : public RowReader {
 public:
  TesseraRows(const Source& source, const std::pair<std::string, int>& blocks, bool remember_ids)
      : csv_(source, {"request_id", "arrival_s", "input_tokens", "output_tokens"},
             blocks.second == 0
                 ? std::vector<std::string>{"session", "prompt_class", "tenant"}
                 : std::vector<std::string>{"session", "prompt_class", "tenant", blocks.first}),
        ids_(remember_ids) {
    facts_.has_ids = true;
    facts_.has_sessions = csv_.has(kSession);
    facts_.has_classes = csv_.has(kClass);
    facts_.has_tenants = csv_.has(kTenant);
    facts_.block_tokens = blocks.second;
    if (!csv_.ignored_columns().empty())
      facts_.notes.push_back("columns passed over: " + join(csv_.ignored_columns(), ", "));
  }

  bool next(Request& request) override {
    if (!csv_.next()) return false;
    request = {};
    if (csv_.field(kId).empty()) throw csv_.error(kId, "is empty, expected a name for each request");
    ids_.check(csv_.field(kId), at(), "request_id");
    request.id = csv_.field(kId);
    request.arrival_ps = since_first(csv_.duration(kArrival));
    request.input_tokens = csv_.tokens(kInput);
    request.output_tokens = csv_.tokens(kOutput);
    if (facts_.has_sessions && !csv_.field(kSession).empty())
      request.session = static_cast<std::uint32_t>(csv_.integer(kSession, kNoSession - 1));
    if (facts_.has_classes)
      request.prompt_class = static_cast<std::uint32_t>(csv_.integer(kClass, 0xffff'ffff));
    if (facts_.has_tenants) request.tenant = static_cast<std::uint32_t>(csv_.integer(kTenant, 0xffff'ffff));
    if (facts_.block_tokens > 0) {
      read_blocks();
      request.blocks = blocks_;
      check_blocks(request);
    }
    return true;
  }
  [[nodiscard]] Location at() const override { return csv_.at(); }
  [[nodiscard]] bool ids_ascending() const override { return ids_.ascending(); }

 private:
  void read_blocks() {
    blocks_.clear();
    std::string_view text = csv_.field(kBlocks);
    while (!text.empty()) {
      const std::size_t end = std::min(text.find(' '), text.size());
      const auto id = parse_integer(text.substr(0, end), UINT64_MAX);
      if (id.problem != nullptr)
        throw csv_.error(kBlocks, describe(text.substr(0, end), id.problem) +
                                      ", expected whole numbers separated by one space");
      blocks_.push_back(id.value);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
  }

  CsvTable csv_;
  UniqueIds ids_;
  std::vector<std::uint64_t> blocks_;
};

}  // namespace

RowReaderPtr open_tessera_csv(const Source& source, const ReadOptions& /*options*/, bool remember_ids) {
  return std::make_unique<TesseraRows>(source, find_block_column(source), remember_ids);
}

}  // namespace tessera
