#include "models/hardware/list.hpp"

namespace tessera {
namespace {

// Counts the figures whose source says that they are estimates.
class EstimateCounter final : public Fields {
 public:
  int count = 0;

 protected:
  void scalar(const char*, Slot slot, const std::vector<std::string>&, const Doc&) override {
    if (const auto* whole = std::get_if<Sourced<std::int64_t>*>(&slot)) add((*whole)->source);
    if (const auto* real = std::get_if<Sourced<double>*>(&slot)) add((*real)->source);
  }
  bool enter(const char*, const Doc&) override { return true; }
  bool enter_optional(const char*, bool present, const Doc&) override { return present; }
  bool enter_reference(const char*, std::string&, const char*, const Doc&) override { return false; }
  std::size_t enter_list(const char*, std::size_t size, const Doc&) override { return size; }
  void enter_item(std::size_t, bool) override {}
  void leave() override {}

 private:
  void add(const std::string& source) { count += source.starts_with("estimated") ? 1 : 0; }
};

}  // namespace

GpuSummary summary_of(const Gpu& gpu) {
  GpuSummary row;
  row.name = gpu.name;
  row.title = gpu.title;
  row.architecture = gpu.architecture;
  row.status = gpu.status;
  row.kernels = gpu.kernels.name;
  row.sms = gpu.sms;
  row.peak_bf16_tflops = gpu.peak_flops(DType::bf16) * 1e-12;
  row.datasheet_bf16_tflops = gpu.datasheet_bf16_tflops;
  row.memory_gib = static_cast<double>(gpu.memory_bytes) / (1 << 30);
  row.hbm_gb_s = gpu.hbm_gb_s;
  row.l2_mib = static_cast<double>(gpu.l2_bytes) / (1 << 20);
  row.nvlink_gb_s = gpu.nvlink_gb_s;
  row.gpus_per_node = gpu.gpus_per_node;
  EstimateCounter estimates;
  Gpu copy = gpu;
  copy.describe(estimates);
  row.estimated_numbers = estimates.count;
  return row;
}

std::vector<GpuSummary> list_gpus() {
  std::vector<GpuSummary> rows;
  for (const std::string& name : config_names("gpus")) rows.push_back(summary_of(load_gpu(name)));
  return rows;
}

}  // namespace tessera
