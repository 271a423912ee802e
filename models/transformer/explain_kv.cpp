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
    const std::string stride = group.rule.stride > 1 ? fmt::format(" / {}", group.rule.stride) : "";
    const std::string term =
        fmt::format("{} layers x ({}){}", group.layers_held, group.entry_formula, stride);
    (group.rule.kind == Retention::state ? states : entries).push_back(term);
  }
  std::string text;
  if (!entries.empty())
    text = fmt::format("{} = {} B per token", join(entries, " + "), layout.bytes_per_token());
  if (!states.empty())
    text += fmt::format("{}{} = {} B of state per sequence", text.empty() ? "" : "; ", join(states, " + "),
                        layout.state_bytes());
  return text;
}

// What is kept, for people.
std::string retention_text(const RetentionRule& r) {
  const std::string sinks = r.sinks > 0 ? fmt::format("{} sinks + ", r.sinks) : "";
  switch (r.kind) {
    case Retention::full:
      return "all tokens";
    case Retention::window:
      return fmt::format("{}last {}", sinks, r.window);
    case Retention::chunked:
      return fmt::format("chunks of {}", r.window);
    case Retention::cascade:
      return fmt::format("{}{} sub-windows of {}, reach {}", sinks, r.cascades, r.window / r.cascades,
                         human_count(r.reach()));
    case Retention::strided:
      return fmt::format("1 entry per {} tokens{}{}", r.stride,
                         r.lag > 0 ? fmt::format(" older than {}", r.lag) : "",
                         r.slots > 0 ? fmt::format(", newest {}", r.slots) : "");
    case Retention::state:
      return "constant state";
  }
  return {};
}

// Entries of a sequence of n tokens.
std::string entries_formula(const RetentionRule& r) {
  switch (r.kind) {
    case Retention::full:
      return "n";
    case Retention::window:
      return r.sinks > 0 ? fmt::format("min(n, {} + {})", r.sinks, r.window)
                         : fmt::format("min(n, {})", r.window);
    case Retention::chunked:
      return fmt::format("(n - 1) mod {} + 1", r.window);
    case Retention::cascade:
      return fmt::format(
          "min(n, {}) + sum over i < {} of min(a_i, {}), a_0 = n - {}, a_i+1 = ceil((a_i - {}) / 2)", r.sinks,
          r.cascades, r.window / r.cascades, r.sinks, r.window / r.cascades);
    case Retention::strided: {
      const std::string made = r.lag > 0 ? fmt::format("floor((n - {}) / {})", r.lag, r.stride)
                                         : fmt::format("floor(n / {})", r.stride);
      return r.slots > 0 ? fmt::format("min({}, {})", made, r.slots) : made;
    }
    case Retention::state:
      return "0";
  }
  return {};
}

// Bits per number at rest, weighted over K and V.
double effective_bits(const KvGroup& group, DType base) {
  double stored = 0, full = 0;
  for (const KvPart& part : group.parts)
    stored += static_cast<double>(part.bytes), full += static_cast<double>(part.full_bytes);
  return full > 0 ? 8 * bytes_of(base) * stored / full : 0;
}

// Index keys, magnitudes and kept tokens serve entries of another group and know nothing on their own.
KvExplanation::Kept what_is_kept(const KvLayout& layout, std::int64_t context,
                                 const std::vector<KvExplanation::Group>& groups) {
  KvExplanation::Kept kept;
  kept.exact_in_every_layer = context;
  for (std::size_t i = 0; i < layout.groups.size(); ++i) {
    const KvGroup& group = layout.groups[i];
    if (group.rule.kind == Retention::state || group.serves_another) continue;
    const double bits = groups[i].effective_bits;
    if (bits > 0 && (kept.fewest_bits == 0 || bits < kept.fewest_bits)) kept.fewest_bits = bits;
    if (!group.rule.strided())
      kept.exact_in_every_layer = std::min(kept.exact_in_every_layer, group.rule.held(context));
    if (!group.rule.bounded()) kept.layers_that_see_all += group.layers_read;
  }
  return kept;
}

}  // namespace

KvExplanation explain_kv(const Model& model, const KvPrecision& precision, std::int64_t context,
                         std::int64_t tp, const LayerRange& range) {
  if (context < 0 || context > kMaxContext)
    throw InputError(
        fmt::format("context: {} is out of range, expected from 0 to {} tokens", context, kMaxContext));
  if (tp < 1) throw InputError(fmt::format("tp: {} is out of range, expected at least 1", tp));
  const KvLayout layout = make_kv_layout(model, precision, tp, range);
  KvExplanation e;
  e.model = model.name;
  e.source = model.source;
  e.kv_dtype = precision.name;
  e.tp = tp;
  e.context = context;
  e.bytes_per_token = layout.bytes_per_token();
  e.unbounded_bytes_per_token = layout.unbounded_bytes_per_token();
  e.bytes_at_context = layout.bytes_held(context);
  e.decode_read_bytes = layout.decode_read_bytes(context);
  e.decode_write_bytes = context > 0 ? layout.decode_write_bytes(context) : 0;
  e.numbers_converted = layout.numbers_converted(context);
  e.state_bytes = layout.state_bytes();
  e.residual_bytes = layout.sequence_bytes() - layout.state_bytes();
  for (const KvGroup& group : layout.groups) {
    KvExplanation::Group out;
    out.name = group.name;
    out.retention = name_of(group.rule.kind);
    out.retention_text = retention_text(group.rule);
    out.retention_formula = entries_formula(group.rule);
    out.window = group.rule.window, out.sinks = group.rule.sinks, out.stride = group.rule.stride;
    out.reach = group.rule.reach();
    out.effective_bits = effective_bits(group, precision.base);
    out.layers_held = group.layers_held, out.layers_read = group.layers_read;
    out.layers_copied = group.layers_copied;
    out.entry_bytes = group.entry_bytes, out.entry_formula = group.entry_formula;
    out.bytes_per_token = group.bytes_per_token();
    out.tokens_held = group.tokens_held(context);
    out.bytes_at_context = group.bytes_held(context);
    out.decode_read_bytes = group.decode_read_bytes(context);
    out.decode_write_bytes = context > 0 ? group.decode_write_bytes(context) : 0;
    out.numbers_converted = group.numbers_converted(context);
    out.state_bytes = group.layers_held * group.state_bytes;
    out.selects = group.tokens_read(context) < group.tokens_held(context);
    e.per_group.push_back(std::move(out));
  }
  e.kept = what_is_kept(layout, context, e.per_group);
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
  text += fmt::format("  and writes                    {}\n", bytes_text(e.decode_write_bytes));
  if (e.numbers_converted > 0)
    text += fmt::format("  and converts                  {} numbers\n", human_count(e.numbers_converted));
  if (e.kept.exact_in_every_layer < e.context || e.kept.fewest_bits < 16)
    text += fmt::format(
        "  of its tokens, {} are exact in every layer; {} layers see all of them; {:.4g} bits or more\n",
        human_count(e.kept.exact_in_every_layer), e.kept.layers_that_see_all, e.kept.fewest_bits);
  if (e.residual_bytes > 0)
    text += fmt::format("  a seat's unquantised buffers  {}\n", bytes_text(e.residual_bytes));
  if (e.state_bytes > 0)
    text += fmt::format("  recurrent state               {} per sequence\n", bytes_text(e.state_bytes));
  for (const KvExplanation::Group& group : e.per_group) {
    text += fmt::format("  {:<20} {} layers", group.name, group.layers_held);
    if (group.layers_read != group.layers_held) text += fmt::format(" (read by {})", group.layers_read);
    if (group.layers_copied > 0) text += fmt::format(", {} copied from other stages", group.layers_copied);
    text += fmt::format(", {}, {}: {}", group.retention_text, group.entry_formula,
                        bytes_text(group.retention == "state" ? group.state_bytes : group.bytes_at_context));
    if (group.selects) text += fmt::format(", of which a step reads {}", bytes_text(group.decode_read_bytes));
    text += '\n';
  }
  if (!e.source.empty()) text += fmt::format("  shapes: {}\n", e.source);
  for (const std::string& warning : e.warnings) text += fmt::format("  warning: {}\n", warning);
  return text;
}

}  // namespace tessera
