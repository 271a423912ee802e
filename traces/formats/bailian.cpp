// Alibaba Bailian traces (alibaba-edu/qwen-bailian-usagetraces-anon; Wang et al., USENIX ATC'25): JSONL with
// chat_id, parent_chat_id (-1: a first turn), timestamp in seconds, input_length, output_length, type,
// turn and hash_ids, chained identities of 16-token blocks.
//
// A session is named by the chat_id of its first turn in the file, a prompt class is numbered in order of
// first appearance of its type. Finding sessions keeps 16 bytes or so per chat: the one reader whose
// memory grows with the file.
#include <unordered_map>

#include "traces/formats.hpp"
#include "traces/json_request.hpp"

namespace tessera {
namespace {

class BailianRows final : public RowReader {
 public:
  BailianRows(const Source& source, bool remember_ids) : lines_(source), ids_(remember_ids) {
    facts_.block_tokens = 16;
    facts_.has_ids = facts_.has_sessions = facts_.has_classes = true;
  }

  bool next(Request& request) override {
    JsonRequest row(blocks_);
    if (!row.read(lines_)) return false;
    request = {};
    request.arrival_ps = since_first(row.time("timestamp", 0));
    request.input_tokens = row.tokens("input_length");
    request.output_tokens = row.tokens("output_length");
    request.blocks = blocks_;
    check_blocks(request);
    id_.assign(row.text("chat_id"));
    ids_.check(id_, at(), "chat_id");
    request.id = id_;
    request.session = session_of(row);
    request.prompt_class = row.has("type") ? class_of(row.text("type")) : 0;
    return true;
  }
  [[nodiscard]] Location at() const override { return lines_.at(); }
  [[nodiscard]] bool ids_ascending() const override { return ids_.ascending(); }

 private:
  std::uint32_t chat_number(const JsonRequest& row, std::string_view key) const {
    const auto number = parse_integer(row.text(key), kNoSession - 1);
    if (number.problem != nullptr)
      throw row.error(key,
                      describe(row.text(key), number.problem) + ", expected a chat number below 4294967295");
    return static_cast<std::uint32_t>(number.value);
  }
  std::uint32_t session_of(const JsonRequest& row) {
    const std::uint32_t chat = chat_number(row, "chat_id");
    std::uint32_t session = chat;
    if (row.has("parent_chat_id") && row.text("parent_chat_id") != "-1") {
      const auto parent = session_of_chat_.find(chat_number(row, "parent_chat_id"));
      if (parent != session_of_chat_.end()) session = parent->second;
    }
    session_of_chat_.emplace(chat, session);
    return session;
  }
  std::uint32_t class_of(std::string_view type) {
    for (std::size_t i = 0; i < types_.size(); ++i)
      if (types_[i] == type) return static_cast<std::uint32_t>(i);
    if (types_.size() == 64)
      throw InputError(at(), "type: more than 64 request types, expected a handful such as text or search");
    types_.emplace_back(type);
    facts_.notes.push_back("prompt class " + std::to_string(types_.size() - 1) + " is type '" +
                           types_.back() + "'");
    return static_cast<std::uint32_t>(types_.size() - 1);
  }

  LineReader lines_;
  UniqueIds ids_;
  std::string id_;
  std::vector<std::uint64_t> blocks_;
  std::unordered_map<std::uint32_t, std::uint32_t> session_of_chat_;
  std::vector<std::string> types_;
};

}  // namespace

RowReaderPtr open_bailian(const Source& source, const ReadOptions& /*options*/, bool remember_ids) {
  return std::make_unique<BailianRows>(source, remember_ids);
}

}  // namespace tessera
