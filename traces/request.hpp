// What a request trace says: when each request arrives, how long its prompt and answer are and,
// in some traces, which blocks of its prompt it shares with others.
//
// Requests come from a TraceReader in time order, the first at 0 ps. The views in a Request (id,
// blocks) stay valid until the next call, so a reader needs no memory per request.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/base/units.hpp"

namespace tessera {

inline constexpr std::int64_t kMaxTokens = 100'000'000;  // of one prompt or answer; more is a broken row
inline constexpr std::int64_t kMaxSpanPs = 100 * 86'400 * kPsPerSecond;
inline constexpr std::uint32_t kNoSession = 0xffff'ffff;

struct Request {
  std::int64_t arrival_ps = 0;
  std::int32_t input_tokens = 0;
  std::int32_t output_tokens = 0;
  std::uint32_t prompt_class = 0;  // requests of one class share a prompt prefix; 0 if the trace names none
  std::uint32_t session = kNoSession;     // requests of one conversation
  std::span<const std::uint64_t> blocks;  // chained identities of the prompt's leading blocks; may be empty
  std::string_view id;                    // empty if the trace names its requests not
  std::uint32_t tenant = 0;               // whose request it is; 0 if the trace names none
};

// Rows that are no requests, by reason.
struct SkippedRows {
  std::string reason;
  std::int64_t rows = 0;
};

struct TraceInfo {
  std::string file;
  std::string format;
  std::int64_t requests = 0;   // -1: not known before the end (generated from rates)
  std::int64_t span_ps = 0;    // first to last arrival; 0 where requests is -1
  std::int64_t origin_s = 0;   // the trace's own clock at the first arrival, whole seconds ...
  std::int64_t origin_ps = 0;  // ... and the rest, 0 <= origin_ps < 10^12
  int block_tokens = 0;        // tokens behind one block id; 0: the trace has no block ids
  bool has_arrivals = true;
  bool has_ids = false;
  bool has_sessions = false;
  bool has_classes = false;
  bool has_tenants = false;
  std::vector<SkippedRows> skipped;
  std::vector<std::string> notes;  // what a careful user wants to know: sorting, ignored columns, assumptions
};

class TraceReader {
 public:
  TraceReader() = default;
  TraceReader(const TraceReader&) = delete;
  TraceReader& operator=(const TraceReader&) = delete;
  virtual ~TraceReader() = default;

  virtual bool next(Request& request) = 0;
  [[nodiscard]] virtual const TraceInfo& info() const = 0;
};

}  // namespace tessera
