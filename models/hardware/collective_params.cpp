#include "models/hardware/collective_params.hpp"

namespace tessera {

void CustomAllReduceParams::describe(Fields& f) {
  f.field("base_us", base_us,
          {.doc = "smallest one-shot all-reduce of two GPUs in a replayed graph",
           .unit = "us",
           .min = 0.5,
           .max = 30});
  f.field("rank_us", rank_us, {.doc = "added by each GPU beyond two", .unit = "us", .min = 0, .max = 5});
  f.field("one_shot_gb_s", one_shot_gb_s,
          {.doc = "rate at which a rank reads its peers' buffers, one-shot",
           .unit = "GB/s",
           .min = 1,
           .max = 2000});
  f.field("two_shot_us", two_shot_us,
          {.doc = "second phase of the two-shot algorithm, per doubling of ranks",
           .unit = "us",
           .min = 0,
           .max = 50});
  f.field("two_shot_gb_s", two_shot_gb_s,
          {.doc = "the same rate, two-shot", .unit = "GB/s", .min = 1, .max = 2000});
  f.field("limit_bytes", limit_bytes,
          {.doc = "workspace limit: buffers of this size and above go to NCCL", .unit = "B", .min = 0});
  f.field("eager_host_us", eager_host_us,
          {.doc = "least time of an eager call, spent on the host", .unit = "us", .min = 0, .max = 200});
}

void NcclParams::describe(Fields& f) {
  f.field("base_us", base_us,
          {.doc = "launch and first synchronisation", .unit = "us", .min = 0.5, .max = 50});
  f.field("step_us", step_us,
          {.doc = "one ring step of the low-latency protocols", .unit = "us", .min = 0, .max = 10});
  f.field("all_to_all_us", all_to_all_us,
          {.doc = "extra start of the point-to-point kernel", .unit = "us", .min = 0, .max = 30});
  f.field("ll_gb_s", ll_gb_s, {.doc = "rate of the LL protocol", .unit = "GB/s", .min = 0.5, .max = 2000});
  f.field("ll128_us", ll128_us, {.doc = "extra start of LL128", .unit = "us", .min = 0, .max = 50});
  f.field("ll128_gb_s", ll128_gb_s, {.doc = "rate of LL128", .unit = "GB/s", .min = 1, .max = 2000});
  f.field("all_to_all_ll128_us", all_to_all_ll128_us,
          {.doc = "extra start of the middle protocol, all-to-all", .unit = "us", .min = 0, .max = 50});
  f.field("all_to_all_ll128_gb_s", all_to_all_ll128_gb_s,
          {.doc = "rate of the middle protocol, all-to-all", .unit = "GB/s", .min = 1, .max = 2000});
  f.field("simple_us", simple_us,
          {.doc = "extra start of the Simple protocol", .unit = "us", .min = 0, .max = 200});
  f.field("simple_gb_s", simple_gb_s,
          {.doc = "rate of the Simple protocol", .unit = "GB/s", .min = 1, .max = 2000});
  f.field("copy_share", copy_share,
          {.doc = "cost of the local copy, as a share of link traffic", .min = 0, .max = 1});
  f.field("switch_us", switch_us,
          {.doc = "extra start of in-switch reduction", .unit = "us", .min = 0, .max = 200});
  f.field(
      "switch_gb_s", switch_gb_s,
      {.doc = "rate of in-switch reduction; 0: the fabric has none", .unit = "GB/s", .min = 0, .max = 2000});
}

void CollectiveParams::describe(Fields& f) {
  f.field("source", source, {.doc = "what the figures were fitted to, and the error on rows not used"});
  f.group("custom", custom, {.doc = "the serving frameworks' own all-reduce"});
  f.group("nccl", nccl, {.doc = "NCCL inside one node"});
}

}  // namespace tessera
