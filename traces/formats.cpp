#include "traces/formats.hpp"

#include <algorithm>

#include "models/base/text.hpp"
#include "traces/csv.hpp"

namespace tessera {
namespace {

constexpr std::size_t kHead = 64 * 1024;
constexpr std::size_t kOracleRecord = 24;

std::string_view first_row(std::string_view head) {
  if (head.starts_with("\xef\xbb\xbf")) head.remove_prefix(3);
  while (!head.empty()) {
    const std::size_t end = std::min(head.find('\n'), head.size());
    std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + 1, head.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty() && line.front() != '#') return line;
  }
  return {};
}

bool is_binary(std::string_view head) {
  return std::any_of(head.begin(), head.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 && c != '\n' && c != '\r' && c != '\t';
  });
}

std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i)
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  return value;
}

// oracleGeneral has no magic number: whole records whose times never step back and whose next-access
// times lie ahead of the record (or are -1, or int64's largest: never again).
bool looks_like_oracle(std::string_view head) {
  if (head.size() < kOracleRecord) return false;
  if (head.size() < kHead && head.size() % kOracleRecord != 0) return false;
  std::uint64_t before = 0;
  for (std::size_t i = 0; (i + 1) * kOracleRecord <= head.size(); ++i) {
    const std::string_view record = head.substr(i * kOracleRecord, kOracleRecord);
    const std::uint64_t time = little_endian(record.substr(0, 4));
    const auto next = static_cast<std::int64_t>(little_endian(record.substr(16, 8)));
    if (time < before || (next != -1 && next <= static_cast<std::int64_t>(i))) return false;
    before = time;
  }
  return true;
}

std::vector<std::string> json_keys(std::string_view line) {
  std::vector<std::string> keys;
  for (std::size_t colon = line.find("\":"); colon != std::string_view::npos;
       colon = line.find("\":", colon + 2)) {
    const std::size_t quote = colon == 0 ? std::string_view::npos : line.rfind('"', colon - 1);
    if (quote != std::string_view::npos) keys.emplace_back(line.substr(quote + 1, colon - quote - 1));
  }
  return keys;
}

std::size_t marks_found(const TraceFormat& format, const std::vector<std::string>& names) {
  return static_cast<std::size_t>(std::count_if(
      format.marks.begin(), format.marks.end(),
      [&](const std::string& mark) { return std::find(names.begin(), names.end(), mark) != names.end(); }));
}

bool is_jsonl(const TraceFormat& format) {
  return std::string_view(format.description).find("JSONL") != std::string_view::npos;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const TraceFormat& format : trace_formats()) names.emplace_back(format.name);
  return names;
}

}  // namespace

const std::vector<TraceFormat>& trace_formats() {
  using Kind = TraceFormat::Kind;
  static const std::vector<TraceFormat> formats = {
      {"tessera",
       "our CSV: "
       "request_id,arrival_s,input_tokens,output_tokens[,blockN_ids][,session][,prompt_class][,tenant]",
       Kind::requests,
       {"request_id", "arrival_s", "input_tokens", "output_tokens"},
       open_tessera_csv},
      {"azure",
       "Azure LLM inference CSV: TIMESTAMP,ContextTokens,GeneratedTokens",
       Kind::requests,
       {"TIMESTAMP", "ContextTokens", "GeneratedTokens"},
       open_azure},
      {"vidur",
       "Vidur CSV: [arrived_at,]num_prefill_tokens,num_decode_tokens",
       Kind::requests,
       {"num_prefill_tokens", "num_decode_tokens"},
       open_vidur},
      {"burstgpt",
       "BurstGPT CSV: Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
       Kind::requests,
       {"Timestamp", "Request tokens", "Response tokens"},
       open_burstgpt},
      {"bailian",
       "Alibaba Bailian JSONL: "
       "chat_id,parent_chat_id,timestamp,input_length,output_length,type,turn,hash_ids (16 tokens per id)",
       Kind::requests,
       {"chat_id", "timestamp", "input_length", "output_length"},
       open_bailian},
      {"mooncake",
       "Mooncake JSONL: timestamp (ms),input_length,output_length,hash_ids (512 tokens per id)",
       Kind::requests,
       {"timestamp", "input_length", "output_length"},
       open_mooncake},
      {"servegen",
       "ServeGen client rates CSV: client,window_start_s,rate_rps,interarrival_cv (requests are drawn; "
       "lengths must be given)",
       Kind::requests,
       {"client", "window_start_s", "rate_rps", "interarrival_cv"},
       open_servegen},
      {"oracle",
       "libCacheSim oracleGeneral: binary records of 24 bytes (for cache replay)",
       Kind::keys,
       {},
       nullptr},
      {"keys", "one key per line (for cache replay)", Kind::keys, {}, nullptr},
  };
  return formats;
}

const TraceFormat& find_format(const std::string& name) {
  for (const TraceFormat& format : trace_formats())
    if (name == format.name) return format;
  throw InputError("format: '" + name + "' is no trace format, expected auto, " + join(format_names(), ", ") +
                   did_you_mean(name, format_names()));
}

const TraceFormat& detect_format(const Source& source) {
  const std::string head = peek_bytes(source, kHead);
  if (head.empty()) throw InputError({source.name, 1, 0}, "the file is empty, expected a request trace");
  if (is_binary(head)) {
    if (looks_like_oracle(head)) return find_format("oracle");
    throw InputError({source.name, 1, 0},
                     "binary data of no known kind, expected a trace: " + join(format_names(), ", "));
  }
  const std::string_view line = first_row(head);
  if (line.empty()) throw InputError({source.name, 1, 0}, "the file holds no rows, expected a request trace");
  const bool json = line.front() == '{';
  const std::vector<std::string> names = json ? json_keys(line) : header_columns(line);

  const TraceFormat* best = nullptr;
  std::size_t best_found = 0;
  for (const TraceFormat& format : trace_formats()) {
    if (format.kind == TraceFormat::Kind::keys || is_jsonl(format) != json) continue;
    const std::size_t found = marks_found(format, names);
    if (found == format.marks.size()) return format;
    if (found > best_found) {
      best_found = found;
      best = &format;
    }
  }
  if (best != nullptr) return *best;
  if (!json && names.size() == 1 && line.find(' ') == std::string_view::npos && line.size() <= 4'096)
    return find_format("keys");
  throw InputError({source.name, 1, 0}, describe(line, "is the first row of no known trace format") +
                                            ", expected one of " + join(format_names(), ", ") +
                                            " (see `list formats`)");
}

}  // namespace tessera
