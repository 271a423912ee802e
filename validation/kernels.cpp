#include "validation/kernels.hpp"

#include "models/base/text.hpp"
#include "validation/attention_validate.hpp"
#include "validation/collective_validate.hpp"
#include "validation/gemm_validate.hpp"
#include "validation/layer_rows.hpp"
#include "validation/moe_validate.hpp"

namespace tessera {

std::span<const KernelValidator> kernel_validators(Cost cost) {
  static const std::vector<KernelValidator> tile = {
      gemm_validator(Cost::tile),
      context_attention_validator(Cost::tile),
      generation_attention_validator(Cost::tile),
  };
  if (cost == Cost::tile) return tile;
  static const std::vector<KernelValidator> all = {
      gemm_validator(),
      moe_validator(),
      nccl_validator(),
      custom_allreduce_validator(),
      context_attention_validator(),
      generation_attention_validator(),
      layer_gemm_validator(),
      layer_attention_validator(),
  };
  return all;
}

Cost parse_cost(const std::string& name) {
  if (name == "auto") return Cost::roofline;
  for (const Cost cost : {Cost::roofline, Cost::tile, Cost::table})
    if (name == name_of(cost)) return cost;
  throw InputError("--cost " + name + ": not known, expected auto, roofline, tile or table" +
                   did_you_mean(name, {"auto", "roofline", "tile", "table"}));
}

const char* name_of(Cost cost) {
  return cost == Cost::roofline ? "roofline" : cost == Cost::tile ? "tile" : "table";
}

const KernelValidator& kernel_validator(const std::string& name, Cost cost) {
  std::vector<std::string> names;
  for (const KernelValidator& v : kernel_validators(cost)) {
    if (v.name == name) return v;
    names.emplace_back(v.name);
  }
  throw InputError("--kernel " + name + ": not known, expected one of " + join(names, ", ") +
                   did_you_mean(name, names));
}

const KernelValidator& kernel_of(const MeasurementTable& table, Cost cost) {
  for (const KernelValidator& v : kernel_validators(cost))
    if (v.recognises(table)) return v;
  throw InputError(Location{table.file(), 1, 1},
                   "these columns belong to no kernel known here, found " + join(table.columns(), ", "));
}

}  // namespace tessera
