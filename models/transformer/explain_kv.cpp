#include "models/transformer/explain_kv.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

constexpr std::int64_t kMaxContext = 1'000'000'000;

std::string bytes_text(std::int64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  return fmt::format("{} B ({})", human_count(bytes), human_bytes(static_cast<double>(bytes)));
}

// "32 layers x 2 x 8 heads x 128 x 2 B + ... = 131072 B per token"
std::string formula_of(const KvLayout& layout) {
  std::vector<std::string> entries;
  std::vector<std::string> states;
  for (const KvGroup& group : layout.groups) {
    const std::string term = fmt::format("{} layers x ({})", group.layers_held, group.entry_formula);
    (group.retention == Retention::state ? states : entries).push_back(term);
  }
  std::string text;
  if (!entries.empty())
    text = fmt::format("{} = {} B per token", join(entries, " + "), layout.bytes_per_token());
  if (!states.empty())
    text += fmt::format("{}{} = {} B of state per sequence", text.empty() ? "" : "; ", join(states, " + "),
                        layout.state_bytes());
  return text;
}

std::string retention_text(const KvExplanation::Group& group) {
  if (group.retention == "window" && group.sinks > 0)
    return fmt::format("{} sinks + last {}", group.sinks, group.window);
  if (group.retention == "window") return fmt::format("last {}", group.window);
  if (group.retention == "chunked") return fmt::format("chunks of {}", group.window);
  return group.retention == "state" ? "constant state" : "all tokens";
}

}  // namespace

KvExplanation explain_kv(const Model& model, DType kv_dtype, std::int64_t context, std::int64_t tp) {
  if (context < 0 || context > kMaxContext)
    throw InputError(
        fmt::format("context: {} is out of range, expected from 0 to {} tokens", context, kMaxContext));
  if (tp < 1) throw InputError(fmt::format("tp: {} is out of range, expected at least 1", tp));
  const KvLayout layout = make_kv_layout(model, kv_dtype, tp);
  KvExplanation e;
  e.model = model.name;
  e.source = model.source;
  e.kv_dtype = name_of(kv_dtype);
  e.tp = tp;
  e.context = context;
  e.bytes_per_token = layout.bytes_per_token();
  e.unbounded_bytes_per_token = layout.unbounded_bytes_per_token();
  e.bytes_at_context = layout.bytes_held(context);
  e.decode_read_bytes = layout.decode_read_bytes(context);
  e.state_bytes = layout.state_bytes();
  for (const KvGroup& group : layout.groups) {
    KvExplanation::Group out;
    out.name = group.name;
    out.retention = name_of(group.retention);
    out.window = group.window, out.sinks = group.sinks;
    out.layers_held = group.layers_held, out.layers_read = group.layers_read;
    out.entry_bytes = group.entry_bytes, out.entry_formula = group.entry_formula;
    out.bytes_per_token = group.bytes_per_token();
    out.tokens_held = group.tokens_held(context);
    out.bytes_at_context = out.bytes_per_token * out.tokens_held;
    out.decode_read_bytes = group.layers_read * group.entry_bytes * group.tokens_read(context);
    out.state_bytes = group.layers_held * group.state_bytes;
    e.per_group.push_back(std::move(out));
  }
  e.formula = formula_of(layout);
  if (context > model.max_position)
    e.warnings.push_back(fmt::format("a context of {} tokens is beyond the {} positions of {}",
                                     human_count(context), human_count(model.max_position), model.name));
  return e;
}

std::string to_text(const KvExplanation& e) {
  std::string text = fmt::format("{}, KV cache in {}{}\n", e.model, e.kv_dtype,
                                 e.tp > 1 ? fmt::format(", one of {} tensor-parallel ranks", e.tp) : "");
  text += fmt::format("  {}\n", e.formula);
  text += fmt::format("  one more token                {}\n", bytes_text(e.bytes_per_token));
  if (e.unbounded_bytes_per_token != e.bytes_per_token)
    text += fmt::format("  once every window is full     {}\n", bytes_text(e.unbounded_bytes_per_token));
  text += fmt::format("  a sequence of {} tokens holds {}\n", human_count(e.context),
                      bytes_text(e.bytes_at_context));
  text += fmt::format("  a decode step there reads     {}\n", bytes_text(e.decode_read_bytes));
  if (e.state_bytes > 0)
    text += fmt::format("  recurrent state               {} per sequence\n", bytes_text(e.state_bytes));
  for (const KvExplanation::Group& group : e.per_group) {
    text += fmt::format("  {:<20} {} layers", group.name, group.layers_held);
    if (group.layers_read != group.layers_held) text += fmt::format(" (read by {})", group.layers_read);
    text += fmt::format(", {}, {}: {}", retention_text(group), group.entry_formula,
                        bytes_text(group.retention == "state" ? group.state_bytes : group.bytes_at_context));
    if (group.decode_read_bytes < group.layers_read * group.entry_bytes * group.tokens_held)
      text += fmt::format(", of which a step reads {}", bytes_text(group.decode_read_bytes));
    text += '\n';
  }
  if (!e.source.empty()) text += fmt::format("  shapes: {}\n", e.source);
  for (const std::string& warning : e.warnings) text += fmt::format("  warning: {}\n", warning);
  return text;
}

}  // namespace tessera
