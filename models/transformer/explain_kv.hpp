// `explain kv`: the KV bytes of a model with the formula and its numbers, as text and as plain data for JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/transformer/kv_layout.hpp"
#include "models/transformer/model.hpp"

namespace tessera {

struct KvExplanation {
  struct Group {
    std::string name;
    std::string retention;
    std::int64_t window = 0;
    std::int64_t sinks = 0;
    std::int64_t stride = 1;
    std::int64_t reach = 0;  // tokens back to the oldest entry of a long sequence; 0: all
    std::string retention_text;
    std::string retention_formula;  // entries held of n tokens
    bool selects = false;           // a step reads fewer entries than are held
    double effective_bits = 0;      // per number, scales included; 0 for a state
    std::int64_t layers_held = 0;
    std::int64_t layers_read = 0;
    std::int64_t layers_copied = 0;  // of layers_held, copies of another pipeline stage's
    std::int64_t entry_bytes = 0;
    std::string entry_formula;
    std::int64_t bytes_per_token = 0;
    std::int64_t tokens_held = 0;  // at `context`
    std::int64_t bytes_at_context = 0;
    std::int64_t decode_read_bytes = 0;  // of one decode step at `context`
    std::int64_t decode_write_bytes = 0;
    std::int64_t numbers_converted = 0;  // by that step
    std::int64_t state_bytes = 0;
  };
  std::string model;
  std::string source;
  std::string kv_dtype;
  std::int64_t tp = 1;  // figures are of one of these ranks
  std::int64_t context = 0;
  std::int64_t bytes_per_token = 0;            // in all layers, before any window binds
  std::int64_t unbounded_bytes_per_token = 0;  // after every window has bound
  std::int64_t bytes_at_context = 0;           // one sequence, KV only
  std::int64_t decode_read_bytes = 0;
  std::int64_t decode_write_bytes = 0;
  std::int64_t numbers_converted = 0;
  std::int64_t state_bytes = 0;     // recurrent state of one sequence
  std::int64_t residual_bytes = 0;  // of bytes_at_context or beside it: buffers of unquantised entries
  // Quality is a ledger of its own: what the cache still knows, not what a task scores.
  struct Kept {
    std::int64_t exact_in_every_layer = 0;  // tokens of the context whose own entries every layer holds
    std::int64_t layers_that_see_all =
        0;                   // attention layers with an entry, own or compressed, of every token
    double fewest_bits = 0;  // of a stored number
  };
  Kept kept;
  std::vector<Group> per_group;
  std::string formula;
  std::vector<std::string> warnings;
};

KvExplanation explain_kv(const Model& model, const KvPrecision& precision, std::int64_t context,
                         std::int64_t tp = 1, const LayerRange& range = {});
std::string to_text(const KvExplanation& explanation);

}  // namespace tessera
