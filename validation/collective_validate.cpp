// nccl-tests tables (size argument = message_elements x 2 bytes for half, 1 for int8) and the all-reduce of
// the serving framework, in a graph and eager. Only vLLM's kernels are modelled: TensorRT-LLM's switch to
// another protocol in the middle.
#include "validation/collective_validate.hpp"

#include <fmt/format.h>

#include "kernels/cost/collective.hpp"
#include "models/base/text.hpp"
#include "validation/fit_knobs.hpp"
#include "validation/statistics.hpp"

namespace tessera {
namespace {

constexpr double kHostBoundBytes = 65536;  // an eager call of this size waits for the host on every card

int ranks(const Row& row) {
  const std::int64_t p = row.integer("num_gpus");
  if (p < 2 || p > 1024) throw InputError(row.at("num_gpus"), "num_gpus: out of range, expected 2 to 1024");
  return static_cast<int>(p);
}

double link_of(const Gpu& gpu) {
  if (gpu.nvlink_gb_s <= 0)
    throw InputError(gpu.name + ": no NVLink, the tables of collectives are of linked cards");
  return gpu.nvlink_gb_s;
}

std::string size_regime(double bytes) {
  return bytes <= 65536 ? "<=64KiB" : bytes <= 4194304 ? "<=4MiB" : ">4MiB";
}

// --- NCCL ---------------------------------------------------------------------------------------

Collective op_of(const Row& row) {
  const std::string name(row.text("op_name"));
  if (name == "all_reduce") return Collective::all_reduce;
  if (name == "all_gather") return Collective::all_gather;
  if (name == "reduce_scatter") return Collective::reduce_scatter;
  if (name == "alltoall") return Collective::all_to_all;
  const std::vector<std::string> known = {"all_reduce", "all_gather", "reduce_scatter", "alltoall"};
  throw InputError(row.at("op_name"), fmt::format("op_name: '{}' is not known, expected one of {}{}", name,
                                                  join(known, ", "), did_you_mean(name, known)));
}

double elements(const Row& row) {
  return static_cast<double>(row.count("message_elements", 1, std::int64_t{1} << 40));
}

bool is_known_type(const Row& row) {
  const std::string_view dtype = row.text("nccl_dtype");
  return dtype == "half" || dtype == "bfloat16" || dtype == "int8";
}

double nccl_bytes(const Row& row) { return elements(row) * (row.text("nccl_dtype") == "int8" ? 1 : 2); }

DType dtype_of(const Row& row) { return row.text("nccl_dtype") == "int8" ? DType::int8 : DType::fp16; }

OpTime predict_nccl(const Gpu& gpu, const Row& row) {
  return nccl_time(gpu, op_of(row), ranks(row), nccl_bytes(row), dtype_of(row));
}

KernelFit calibrate_nccl(Gpu& gpu, std::span<const Row> rows, const FitControl& control) {
  NcclParams& p = gpu.kernels->collectives.nccl;
  struct Case {
    Collective op;
    int gpus;
    double bytes;
    DType dtype;
  };
  std::vector<Case> cases;
  std::vector<double> measured;
  for (const Row& row : rows) {
    cases.push_back({op_of(row), ranks(row), nccl_bytes(row), dtype_of(row)});
    measured.push_back(row.latency_us());
  }
  const double link = link_of(gpu);
  if (!control.prior && !control.light)
    p.simple_gb_s = 0.75 * link, p.ll128_gb_s = p.all_to_all_ll128_gb_s = 0.4 * link;
  std::vector<Knob> knobs = {{"nccl.base_us", &p.base_us, 1, 20},
                             {"nccl.step_us", &p.step_us, 0.3, 3},
                             {"nccl.all_to_all_us", &p.all_to_all_us, 0.1, 15},
                             {"nccl.ll_gb_s", &p.ll_gb_s, 2, 60},
                             {"nccl.ll128_us", &p.ll128_us, 0.2, 20},
                             {"nccl.ll128_gb_s", &p.ll128_gb_s, 0.1 * link, link},
                             {"nccl.all_to_all_ll128_us", &p.all_to_all_ll128_us, 0.2, 20},
                             {"nccl.all_to_all_ll128_gb_s", &p.all_to_all_ll128_gb_s, 0.1 * link, link},
                             {"nccl.simple_us", &p.simple_us, 2, 80},
                             {"nccl.simple_gb_s", &p.simple_gb_s, 0.3 * link, link},
                             {"nccl.copy_share", &p.copy_share, 0, 1, Scale::linear}};
  if (p.switch_gb_s > 0) {
    knobs.push_back({"nccl.switch_us", &p.switch_us, 15, 60});
    knobs.push_back({"nccl.switch_gb_s", &p.switch_gb_s, 0.5 * link, 0.7 * link});
  }
  return fit_knobs(
      knobs, measured,
      [&](std::size_t i) {
        return nccl_time(gpu, cases[i].op, cases[i].gpus, cases[i].bytes, cases[i].dtype).total;
      },
      {.iterations = 80, .restarts = 4, .robust_width = 0.05}, control);
}

// --- the framework's all-reduce -------------------------------------------------------------------

double all_reduce_bytes(const Row& row) { return 2 * elements(row); }
bool in_graph(const Row& row) { return row.text("backend") != "vllm_eager"; }
bool is_vllm(const Row& row) {
  return row.text("kernel_source").substr(0, 4) == "vLLM" && row.has("backend");
}

OpTime predict_all_reduce(const Gpu& gpu, const Row& row) {
  return all_reduce_time(gpu, ranks(row), all_reduce_bytes(row), in_graph(row));
}

// The kernel is fitted on graph rows below its limit (above it the NCCL parameters decide), the host's floor
// on small eager ones.
KernelFit calibrate_all_reduce(Gpu& gpu, std::span<const Row> rows, const FitControl& control) {
  CustomAllReduceParams& p = gpu.kernels->collectives.custom;
  std::vector<Row> used;
  std::vector<double> measured, host;
  for (const Row& row : rows) {
    if (!in_graph(row)) {
      if (all_reduce_bytes(row) <= kHostBoundBytes) host.push_back(row.latency_us());
    } else if (all_reduce_bytes(row) < p.limit_bytes) {
      used.push_back(row);
      measured.push_back(row.latency_us());
    }
  }
  if (used.empty())
    throw InputError("custom_allreduce: no row below the workspace limit, expected some to fit");
  if (!host.empty()) p.eager_host_us = quantile(host, 0.5);
  const double link = link_of(gpu);
  if (!control.prior && !control.light) p.one_shot_gb_s = p.two_shot_gb_s = 0.6 * link;
  return fit_knobs(
      {{"custom.base_us", &p.base_us, 1, 10},
       {"custom.rank_us", &p.rank_us, 0.01, 1},
       {"custom.one_shot_gb_s", &p.one_shot_gb_s, 0.2 * link, link},
       {"custom.two_shot_us", &p.two_shot_us, 0.2, 10},
       {"custom.two_shot_gb_s", &p.two_shot_gb_s, 0.2 * link, link}},
      measured, [&](std::size_t i) { return predict_all_reduce(gpu, used[i]).total; },
      {.restarts = 2, .robust_width = 0.05}, control);
}

}  // namespace

KernelValidator nccl_validator() {
  return {
      .name = "nccl",
      .recognises = [](const MeasurementTable& t) { return t.find_column("nccl_dtype") >= 0; },
      .columns = {"op_name", "kernel_source", "nccl_dtype", "num_gpus", "message_elements"},
      .covers = is_known_type,
      .fitted = is_known_type,
      .predict = predict_nccl,
      .shape_key =
          [](const Row& row) {
            return fmt::format("nccl {} {} {}", row.text("op_name"), row.key("num_gpus"), nccl_bytes(row));
          },
      .dtype = [](const Row& row) { return std::string(row.text("nccl_dtype")); },
      .regime =
          [](const Row& row) {
            return fmt::format("{} {}", row.text("op_name"), size_regime(nccl_bytes(row)));
          },
      .calibrate = calibrate_nccl,
      .section = "collectives",
      .source = [](KernelBehaviour& b) -> std::string& { return b.collectives.source; },
      .add_to_table =
          [](KernelTable& table, const Row& row) {
            table.add_collective(op_of(row), ranks(row), nccl_bytes(row), dtype_of(row), row.latency_us());
          },
      .look_up =
          [](const KernelTable& table, const Gpu& gpu, const Row& row) {
            return table.collective(gpu, op_of(row), ranks(row), nccl_bytes(row), dtype_of(row));
          }};
}

KernelValidator custom_allreduce_validator() {
  return {.name = "custom_allreduce",
          .recognises = [](const MeasurementTable& t) { return t.find_column("allreduce_dtype") >= 0; },
          .columns = {"kernel_source", "allreduce_dtype", "num_gpus", "message_elements"},
          .covers = is_vllm,
          .fitted = is_vllm,
          .predict = predict_all_reduce,
          .shape_key =
              [](const Row& row) {
                return fmt::format("all-reduce {} {}", row.key("num_gpus"), row.key("message_elements"));
              },
          .dtype = [](const Row& row) { return std::string(row.text("allreduce_dtype")); },
          .regime =
              [](const Row& row) {
                return fmt::format("{} {} GPUs {}", in_graph(row) ? "graph" : "eager", row.text("num_gpus"),
                                   size_regime(all_reduce_bytes(row)));
              },
          .calibrate = calibrate_all_reduce,
          .section = "collectives",
          .source = [](KernelBehaviour& b) -> std::string& { return b.collectives.source; },
          .add_to_table =
              [](KernelTable& table, const Row& row) {
                table.add_all_reduce(ranks(row), all_reduce_bytes(row), in_graph(row), row.latency_us());
              },
          .look_up =
              [](const KernelTable& table, const Gpu& gpu, const Row& row) {
                return table.all_reduce(gpu, ranks(row), all_reduce_bytes(row), in_graph(row));
              }};
}

}  // namespace tessera
