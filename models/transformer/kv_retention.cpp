#include "models/transformer/kv_retention.hpp"

#include <algorithm>

#include "models/base/check.hpp"
#include "models/base/units.hpp"

namespace tessera {
namespace {

// Walks the sub-windows of a cascade: visit(entries ever taken, spacing in tokens).
template <class Visit>
void for_each_cascade(const RetentionRule& rule, std::int64_t context, Visit visit) {
  const std::int64_t slots = rule.window / rule.cascades;
  std::int64_t taken = std::max<std::int64_t>(0, context - rule.sinks);
  for (std::int64_t i = 0; i < rule.cascades && taken > 0; ++i) {
    visit(taken, std::int64_t{1} << i);
    taken = ceil_div(std::max<std::int64_t>(0, taken - slots), 2);
  }
}

std::int64_t held_by_cascade(const RetentionRule& rule, std::int64_t context) {
  std::int64_t sum = std::min(rule.sinks, context);
  for_each_cascade(rule, context, [&](std::int64_t taken, std::int64_t) {
    sum += std::min(taken, rule.window / rule.cascades);
  });
  return sum;
}

// Entry k of a sub-window with spacing d is token sinks + k x d.
std::int64_t newest_of_cascade(const RetentionRule& rule, std::int64_t context, std::int64_t count) {
  const std::int64_t from = context - count;  // token positions from here on count
  std::int64_t sum = std::max<std::int64_t>(0, std::min(rule.sinks, context) - from);
  for_each_cascade(rule, context, [&](std::int64_t taken, std::int64_t spacing) {
    const std::int64_t oldest = std::max<std::int64_t>(0, taken - rule.window / rule.cascades);
    const std::int64_t first = ceil_div(std::max<std::int64_t>(0, from - rule.sinks), spacing);
    sum += std::max<std::int64_t>(0, taken - std::max(oldest, first));
  });
  return sum;
}

}  // namespace

const char* name_of(Retention retention) {
  switch (retention) {
    case Retention::full:
      return "full";
    case Retention::window:
      return "window";
    case Retention::chunked:
      return "chunked";
    case Retention::cascade:
      return "cascade";
    case Retention::strided:
      return "strided";
    case Retention::state:
      return "state";
  }
  return "?";
}

std::int64_t RetentionRule::appended(std::int64_t context) const {
  if (kind == Retention::state) return 0;
  return strided() ? std::max<std::int64_t>(0, context - lag) / stride : context;
}

std::int64_t RetentionRule::held(std::int64_t context) const {
  TESSERA_CHECK(context >= 0, "a context has a length");
  switch (kind) {
    case Retention::full:
      return context;
    case Retention::window:
      return std::min(context, sinks + window);
    case Retention::chunked:
      return context == 0 ? 0 : (context - 1) % window + 1;
    case Retention::cascade:
      return held_by_cascade(*this, context);
    case Retention::strided:
      return slots > 0 ? std::min(appended(context), slots) : appended(context);
    case Retention::state:
      return 0;
  }
  return 0;
}

std::int64_t RetentionRule::held_of_newest(std::int64_t context, std::int64_t count) const {
  const std::int64_t newest = std::clamp<std::int64_t>(count, 0, appended(context));
  switch (kind) {
    case Retention::window: {
      const std::int64_t old_sinks = std::min(sinks, std::max<std::int64_t>(0, context - window));
      return std::min(newest, window) + std::max<std::int64_t>(0, old_sinks - (context - newest));
    }
    case Retention::cascade:
      return newest_of_cascade(*this, context, newest);
    default:  // the held entries are the newest ones
      return std::min(newest, held(context));
  }
}

std::int64_t RetentionRule::reach() const {
  switch (kind) {
    case Retention::window:
    case Retention::chunked:
      return window;
    case Retention::cascade:
      return window / cascades * ((std::int64_t{1} << cascades) - 1);
    case Retention::strided:
      return slots > 0 ? lag + slots * stride : 0;
    case Retention::full:
    case Retention::state:
      return 0;
  }
  return 0;
}

std::int64_t RetentionRule::entries_per_page(std::int64_t block_tokens) const {
  return ceil_div(block_tokens, stride);
}

std::int64_t RetentionRule::pages(std::int64_t context, std::int64_t block_tokens) const {
  TESSERA_CHECK(context >= 0 && block_tokens > 0, "pages hold tokens");
  const std::int64_t entries = held(context);
  if (entries == 0) return 0;
  if (kind == Retention::cascade) return ceil_div(entries, block_tokens);
  if (strided()) {
    if (stride >= block_tokens) return entries;  // no two entries share a page
    const std::int64_t last = appended(context) - 1;
    return last * stride / block_tokens - (last - entries + 1) * stride / block_tokens + 1;
  }
  const LivePages live = live_pages(context, block_tokens);
  return ceil_div(context, block_tokens) - std::max<std::int64_t>(0, live.first_live - live.kept_prefix);
}

std::int64_t RetentionRule::peak_pages(std::int64_t context, std::int64_t block_tokens) const {
  const std::int64_t all = ceil_div(context, block_tokens);
  const std::int64_t span = ceil_div(window - 1 + block_tokens, block_tokens);
  switch (kind) {
    case Retention::window:
      return std::min(all, ceil_div(std::min(sinks, context), block_tokens) + span);
    case Retention::chunked:
      return std::min(all, span);
    case Retention::strided: {
      if (stride >= block_tokens) return held(context);
      const std::int64_t made = ceil_div(appended(context) * stride, block_tokens);
      return slots > 0 ? std::min(made, ceil_div((slots - 1) * stride + block_tokens, block_tokens)) : made;
    }
    case Retention::full:
    case Retention::cascade:
    case Retention::state:
      return pages(context, block_tokens);
  }
  return all;
}

RetentionRule::LivePages RetentionRule::live_pages(std::int64_t context, std::int64_t block_tokens) const {
  switch (kind) {
    case Retention::full:
    case Retention::cascade:  // scattered survivors pin every page they ever lay in
      return {0, 0};
    case Retention::window:
      return {ceil_div(std::min(sinks, context), block_tokens),
              std::max<std::int64_t>(0, context - window) / block_tokens};
    case Retention::chunked:
      return {0, context == 0 ? 0 : (context - 1) / window * window / block_tokens};
    case Retention::strided:
      if (held(context) > 0) return {0, (appended(context) - held(context)) * stride / block_tokens};
      return {0, ceil_div(context, block_tokens)};
    case Retention::state:
      return {0, ceil_div(context, block_tokens)};
  }
  return {};
}

}  // namespace tessera
