#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/base/error.hpp"
#include "sim/cli/commands.hpp"
#include "sim/memory/miss_ratio_curve.hpp"
#include "sim/memory/prefix_replay.hpp"
#include "traces/formats.hpp"
#include "traces/key_trace.hpp"
#include "traces/open.hpp"

namespace tessera {
namespace {

DenseTrace load(const CacheOptions& options) {
  const Source source{options.trace, {}};
  const TraceFormat& format = options.format == "auto" ? detect_format(source) : find_format(options.format);
  DenseTrace trace;
  if (format.kind == TraceFormat::Kind::keys) {
    const auto keys = open_keys(source, format.name);
    KeyAccess access;
    while (keys->next(access)) trace.add_key(access.key);
    return trace;
  }
  ReadOptions read;
  read.format = options.format;
  read.need_arrivals = false;
  const auto requests = open_trace(source, read);
  if (requests->info().block_tokens == 0)
    throw InputError(
        {options.trace, 0, 0},
        fmt::format(
            "a {} trace has no block identities to cache, expected hash_ids, blockN_ids or one key per line",
            format.name));
  Request request;
  while (requests->next(request)) trace.add_request(request.blocks);
  return trace;
}

std::uint32_t capacity(const std::string& text) {
  if (text == "unbounded" || text == "inf") return kUnboundedBlocks;
  const std::int64_t blocks = parse_tokens(text, "--blocks");
  if (blocks < 1 || blocks >= kUnboundedBlocks)
    throw InputError({"--blocks", 0, 0}, fmt::format("'{}' is out of range, expected 1 to {} or unbounded",
                                                     text, kUnboundedBlocks - 1));
  return static_cast<std::uint32_t>(blocks);
}

std::string blocks_text(std::uint32_t blocks) {
  return blocks == kUnboundedBlocks ? "unbounded" : std::to_string(blocks);
}

}  // namespace

std::int64_t parse_tokens(const std::string& text, const std::string& what) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  double scale = 1;
  std::string_view suffix(stop, static_cast<std::size_t>(end - stop));
  if (what == "--blocks")
    scale = suffix == "k" || suffix == "K" ? 1e3 : suffix == "M" ? 1e6 : 1;
  else
    scale = suffix == "k" || suffix == "K" ? 1024 : suffix == "M" ? 1048576 : 1;
  if (error != std::errc{} || (!suffix.empty() && scale == 1) || !std::isfinite(value) || value < 0 ||
      value * scale > 1e15 || value * scale != std::floor(value * scale))
    throw InputError({what, 0, 0},
                     fmt::format("'{}' is not valid, expected a whole number, e.g. 4096, 128k or 1M", text));
  return static_cast<std::int64_t>(value * scale);
}

int cache_command(const CacheOptions& options) {
  std::vector<std::uint32_t> sizes;
  for (const std::string& text : options.blocks) sizes.push_back(capacity(text));
  const DenseTrace trace = load(options);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  const auto add = [&](const CacheResult& r) {
    nlohmann::ordered_json blocks = r.capacity;
    if (r.capacity == kUnboundedBlocks) blocks = "unbounded";
    rows.push_back({{"policy", r.policy},
                    {"blocks", blocks},
                    {"requests", r.requests},
                    {"references", r.references},
                    {"hits", r.hits},
                    {"misses", r.misses},
                    {"miss_ratio", r.miss_ratio()},
                    {"prefix_hit_ratio", r.prefix_hit_ratio()},
                    {"requests_per_s", r.requests_per_s}});
    if (!options.json)
      fmt::print("{:<12} {:>12} {:>12} {:>12} {:>10.4f} {:>10.4f} {:>14.0f}\n", r.policy,
                 blocks_text(static_cast<std::uint32_t>(r.capacity)), r.references, r.hits, r.miss_ratio(), r.prefix_hit_ratio(),
                 r.requests_per_s);
  };
  if (!options.json)
    fmt::print("{:<12} {:>12} {:>12} {:>12} {:>10} {:>10} {:>14}\n", "policy", "blocks", "references", "hits",
               "miss ratio", "prefix hit", "requests/s");
  for (const std::string& policy : options.policies)
    for (const std::uint32_t blocks : sizes) add(replay(policy, trace, blocks));
  if (options.mrc) {
    const MissRatioCurve curve(trace);
    for (std::uint32_t blocks = 1;; blocks *= 2) {
      const std::uint32_t at = std::min(blocks, curve.saturation());
      CacheResult r;
      r.policy = "lru-mrc";
      r.capacity = at;
      r.requests = static_cast<std::int64_t>(trace.requests());
      r.references = curve.references();
      r.hits = curve.hits(at);
      r.misses = r.references - r.hits;
      r.prefix_hits = curve.prefix_hits(at);
      add(r);
      if (at >= curve.saturation()) break;
    }
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  return kOk;
}

}  // namespace tessera
