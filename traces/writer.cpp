#include "traces/writer.hpp"

#include <fmt/format.h>

#include <iterator>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "traces/numbers.hpp"

namespace tessera {
namespace {

constexpr std::size_t kFlushAt = 64 * 1024;

class BufferedWriter : public TraceWriter {
 public:
  explicit BufferedWriter(std::unique_ptr<ByteSink> to) : to_(std::move(to)) {}
  void finish() final {
    to_->write(text_);
    to_->finish();
  }

 protected:
  void flush_if_full() {
    if (text_.size() < kFlushAt) return;
    to_->write(text_);
    text_.clear();
  }
  template <class... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }
  std::string text_;

 private:
  std::unique_ptr<ByteSink> to_;
};

class CsvWriter final : public BufferedWriter {
 public:
  CsvWriter(std::unique_ptr<ByteSink> to, const TraceInfo& columns, const std::vector<std::string>& comment)
      : BufferedWriter(std::move(to)), columns_(columns) {
    for (const std::string& line : comment) put("# {}\n", line);
    text_ += "request_id,arrival_s,input_tokens,output_tokens";
    if (columns.block_tokens > 0) put(",block{}_ids", columns.block_tokens);
    if (columns.has_sessions) text_ += ",session";
    if (columns.has_classes) text_ += ",prompt_class";
    if (columns.has_tenants) text_ += ",tenant";
    text_ += '\n';
  }
  void write(const Request& request) override {
    if (request.id.empty())
      put("{}", number_);
    else
      put_quoted(request.id);
    ++number_;
    put(",{},{},{}", decimal_text(request.arrival_ps), request.input_tokens, request.output_tokens);
    if (columns_.block_tokens > 0) put(",{}", fmt::join(request.blocks, " "));
    if (columns_.has_sessions) {
      text_ += ',';
      if (request.session != kNoSession) put("{}", request.session);
    }
    if (columns_.has_classes) put(",{}", request.prompt_class);
    if (columns_.has_tenants) put(",{}", request.tenant);
    text_ += '\n';
    flush_if_full();
  }

 private:
  void put_quoted(std::string_view id) {
    if (id.find_first_of(",\" \t") == std::string_view::npos) {
      text_ += id;
      return;
    }
    text_ += '"';
    for (const char c : id) {
      if (c == '"') text_ += '"';
      text_ += c;
    }
    text_ += '"';
  }
  TraceInfo columns_;
  std::int64_t number_ = 0;
};

class MooncakeWriter final : public BufferedWriter {
 public:
  MooncakeWriter(std::unique_ptr<ByteSink> to, const TraceInfo& columns) : BufferedWriter(std::move(to)) {
    if (columns.block_tokens != 0 && columns.block_tokens != 512)
      throw InputError(
          "the trace has blocks of " + std::to_string(columns.block_tokens) +
          " tokens, expected 512 as Mooncake JSONL means by hash_ids; write our own CSV instead");
  }
  void write(const Request& request) override {
    put(R"({{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": [{}]}})",
        decimal_text(request.arrival_ps, -3), request.input_tokens, request.output_tokens,
        fmt::join(request.blocks, ", "));
    text_ += '\n';
    flush_if_full();
  }
};

}  // namespace

std::string output_format(const std::string& format, const std::string& path) {
  if (format == "tessera" || format == "mooncake") return format;
  if (format != "auto")
    throw InputError("format: '" + format + "' cannot be written, expected tessera or mooncake" +
                     did_you_mean(format, {"tessera", "mooncake"}));
  std::string name = path;
  for (const char* packed : {".gz", ".zst"})
    if (name.ends_with(packed)) name.resize(name.size() - std::string_view(packed).size());
  return name.ends_with(".jsonl") ? "mooncake" : "tessera";
}

std::unique_ptr<TraceWriter> make_writer(const std::string& format, std::unique_ptr<ByteSink> to,
                                         const TraceInfo& columns, const std::vector<std::string>& comment) {
  if (format == "mooncake") return std::make_unique<MooncakeWriter>(std::move(to), columns);
  return std::make_unique<CsvWriter>(std::move(to), columns, comment);
}

}  // namespace tessera
