#include "models/transformer/kv_pages.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/base/check.hpp"
#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/base/units.hpp"

namespace tessera {

std::int64_t KvPageGroup::bytes_per_page() const {
  return layers * entry_bytes * (snapshot ? 1 : rule.entries_per_page(page_tokens));
}

std::int64_t KvPagePlan::blocks_per_page() const {
  std::int64_t sum = 0;
  for (const KvPageGroup& group : groups) sum += group.tables;
  return sum;
}

double KvPagePlan::padding(const KvPageGroup& group) const {
  return 1 - static_cast<double>(group.bytes_per_page()) / static_cast<double>(group.tables * block_bytes());
}

std::string KvPagePlan::text() const {
  std::vector<std::string> parts;
  for (const KvPageGroup& group : groups)
    parts.push_back(fmt::format("{} layers {} in {} table{} of {} tokens a block ({:.1f} % padding)",
                                group.layers, group.name, group.tables, group.tables == 1 ? "" : "s",
                                group.page_tokens, 100 * padding(group)));
  return fmt::format("blocks of {} layers x {}: {}", layers_per_block,
                     human_bytes(static_cast<double>(page_bytes)), join(parts, ", "));
}

KvPagePlan plan_pages(const KvLayout& layout, std::int64_t block_tokens, std::int64_t snapshot_tokens) {
  TESSERA_CHECK(block_tokens > 0 && snapshot_tokens > 0 && snapshot_tokens % block_tokens == 0,
                "snapshots stand at the ends of blocks");
  KvPagePlan plan;
  plan.block_tokens = block_tokens;
  std::int64_t fewest = 0, most = 0;
  for (const KvGroup& group : layout.groups) {
    if (group.entry_bytes == 0) continue;
    plan.page_bytes = std::max(plan.page_bytes, group.entry_bytes * block_tokens);
    fewest = fewest == 0 ? group.layers_held : std::min(fewest, group.layers_held);
    most = std::max(most, group.layers_held);
  }
  if (fewest == 0) throw InputError("the model stores no keys and values, so there are no blocks to share");
  plan.layers_per_block = 4 * most < 5 * fewest ? most : fewest;
  plan.hit_tokens = block_tokens;
  for (const KvGroup& group : layout.groups) {
    KvPageGroup out;
    out.name = group.name;
    out.rule = group.rule;
    out.layers = group.layers_held;
    if (group.entry_bytes > 0) {
      out.entry_bytes = group.entry_bytes;
      const std::int64_t tokens = plan.page_bytes / group.entry_bytes * group.rule.stride;
      out.page_tokens = tokens / block_tokens * block_tokens;
      out.tables = ceil_div(out.layers, plan.layers_per_block);
    } else {
      out.entry_bytes = group.state_bytes;
      out.rule = {};
      out.rule.kind = Retention::window;
      out.rule.window = 2;  // the token before, at whose end the state was copied
      out.snapshot = true;
      out.page_tokens = snapshot_tokens;
      out.tables = ceil_div(out.layers * out.entry_bytes, plan.block_bytes());
    }
    plan.hit_tokens = std::lcm(plan.hit_tokens, out.page_tokens);
    plan.groups.push_back(std::move(out));
  }
  return plan;
}

}  // namespace tessera
