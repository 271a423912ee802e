// Every file shipped under configs/gpus, fabrics, engines and tiers: it reads, it is named after itself,
// every number says where it comes from, and its peaks are those of the datasheets.
#include <gtest/gtest.h>

#include <cctype>
#include <functional>
#include <map>
#include <set>

#include "models/hardware/engine_profile.hpp"
#include "models/hardware/fabric.hpp"
#include "models/hardware/gpu.hpp"
#include "models/hardware/list.hpp"

namespace tessera {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_number(const Yaml& node) {
  return node.kind == Yaml::Kind::scalar && !node.quoted && !node.scalar.empty() &&
         std::isdigit(static_cast<unsigned char>(node.scalar[node.scalar[0] == '-' ? 1 : 0])) != 0;
}

// Visits every number under `node` with whether it, or a map around it, names a source.
void visit_numbers(const Yaml& node, const std::string& path, bool sourced,
                   const std::function<void(const std::string& path, bool sourced)>& visit) {
  if (is_number(node)) visit(path, sourced);
  if (node.kind == Yaml::Kind::map) {
    const Yaml* source = node.find("source");
    const bool here = sourced || (source != nullptr && source->scalar.size() >= 5);
    for (const Yaml::Entry& entry : node.map) visit_numbers(entry.value, path + "." + entry.key, here, visit);
  }
  for (const Yaml& item : node.list) visit_numbers(item, path + "[]", sourced, visit);
}

TEST(SourceCheck, SeesANumberWithoutASource) {
  const auto unsourced = [](const std::string& text) {
    int count = 0;
    visit_numbers(parse_yaml(text, "x.yaml"), "", false,
                  [&](const std::string&, bool sourced) { count += sourced ? 0 : 1; });
    return count;
  };
  EXPECT_EQ(unsourced("a: 1\nb: {value: 2, source: datasheet}\n"), 1);
  EXPECT_EQ(unsourced("source: datasheet\na: 1\nb: {c: 2}\n"), 0);
  EXPECT_EQ(unsourced("a: {value: 2, source: ''}\n"), 1);
}

TEST(Configs, EveryNumberOfEveryFileNamesItsSource) {
  for (const char* folder : {"gpus", "fabrics", "engines", "tiers"}) {
    int numbers = 0;
    for (const std::string& name : config_names(folder))
      visit_numbers(load_config(folder, name), name, false, [&](const std::string& path, bool sourced) {
        ++numbers;
        EXPECT_TRUE(sourced) << folder << '/' << path;
      });
    EXPECT_GT(numbers, 30) << folder;
  }
}

TEST(Configs, TheCardsOfTheInterfaceAreThere) {
  const std::vector<std::string> names = config_names("gpus");
  for (const char* name : {"a100-sxm-40g", "a100-sxm-80g", "a40", "a800-sxm", "b200-sxm", "h100-sxm",
                           "h200-sxm", "h800-sxm", "l40s", "rtx-3090", "rtx-4090", "rtx-pro-6000", "t4"})
    EXPECT_TRUE(has(names, name)) << name;
}

class GpuFile : public testing::TestWithParam<std::string> {};

TEST_P(GpuFile, IsNamedAfterItselfAndKnowsItsKernels) {
  const Gpu gpu = load_gpu(GetParam());
  EXPECT_EQ(gpu.name, GetParam());
  EXPECT_TRUE(has(config_names("kernels"), gpu.kernels.name)) << gpu.kernels.name;
  EXPECT_EQ(gpu.kernels->card, gpu.name) << "borrowed behaviour is carried over to the card itself";
  // Calibrated means fitted on its own tables, and nothing else does.
  EXPECT_EQ(gpu.status == "calibrated", gpu.kernels.name == gpu.name);
}

TEST_P(GpuFile, PeakAtTheMaximumClockIsTheDatasheetsOrALittleMore) {
  // Datasheets of power-limited parts print the rate of a lower clock (H100: 1,830 of 1,980 MHz).
  static const std::set<std::string> kPowerLimited{"h100-sxm", "h200-sxm", "h800-sxm", "b200-sxm", "h20"};
  const Gpu gpu = load_gpu(GetParam());
  const double ratio = gpu.peak_flops(DType::bf16) * 1e-12 / gpu.datasheet_bf16_tflops;
  EXPECT_GT(ratio, 0.995);
  EXPECT_LT(ratio, kPowerLimited.contains(gpu.name) ? 1.09 : 1.015);
}

TEST_P(GpuFile, HoldsWhatItsArchitectureFixes) {
  struct Fixed {
    std::int64_t threads, smem_kib;
  };
  // CUDA C++ Programming Guide, technical specifications per compute capability.
  static const std::map<std::string, Fixed> kFixed{
      {"volta", {2048, 96}},      {"turing", {1024, 64}},
      {"ampere", {2048, 164}},    {"ampere-ga10x", {1536, 100}},
      {"ada", {1536, 100}},       {"hopper", {2048, 228}},
      {"blackwell", {2048, 228}}, {"blackwell-gb20x", {1536, 100}},
  };
  const Gpu gpu = load_gpu(GetParam());
  const Fixed& fixed = kFixed.at(gpu.architecture);
  EXPECT_EQ(gpu.max_threads_per_sm, fixed.threads);
  EXPECT_EQ(gpu.smem_per_sm_bytes, fixed.smem_kib * 1024);
  EXPECT_EQ(gpu.exp_per_clk_sm, 16);
}

TEST_P(GpuFile, FormatsNeverRunSlowerThanWiderOnes) {
  const Gpu gpu = load_gpu(GetParam());
  EXPECT_LE(gpu.peak_flops(DType::fp32), gpu.peak_flops(DType::bf16));
  EXPECT_LE(gpu.peak_flops(DType::bf16), gpu.peak_flops(DType::fp8));
  EXPECT_LE(gpu.peak_flops(DType::bf16), gpu.peak_flops(DType::int8));
  EXPECT_LE(gpu.peak_flops(DType::bf16), gpu.peak_flops(DType::fp4));
}

TEST_P(GpuFile, FitsItsUsualNode) {
  const Gpu gpu = load_gpu(GetParam());
  const Fabric fabric(load_fabric("auto", gpu));
  EXPECT_EQ(fabric.gpus(), gpu.gpus_per_node);
  if (fabric.gpus() > 1) {
    EXPECT_EQ(fabric.gpu_to_gpu(0, 1).gb_s, gpu.nvlink_gb_s > 0 ? gpu.nvlink_gb_s : gpu.pcie_gb_s);
  }
}

INSTANTIATE_TEST_SUITE_P(All, GpuFile, testing::ValuesIn(config_names("gpus")), [](const auto& card) {
  std::string name = card.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Printed on the datasheets, independent of the files: dense bf16 (fp16 before Ampere) TFLOP/s and GB/s.
TEST(Configs, FiguresOfTheDatasheets) {
  struct Printed {
    const char* name;
    double tflops, fp8_tflops, gb_s, memory_gb, nvlink_both_ways;
  };
  for (const Printed& card :
       {Printed{"a100-sxm-40g", 312, 0, 1555, 40, 600}, Printed{"a100-sxm-80g", 312, 0, 2039, 80, 600},
        Printed{"a800-sxm", 312, 0, 2039, 80, 400}, Printed{"h100-sxm", 989, 1979, 3350, 80, 900},
        Printed{"h800-sxm", 989, 1979, 3350, 80, 400}, Printed{"h200-sxm", 989, 1979, 4800, 141, 900},
        Printed{"b200-sxm", 2250, 4500, 8000, 180, 1800}, Printed{"l40s", 362, 733, 864, 48, 0},
        Printed{"rtx-4090", 165, 330, 1008, 24, 0}, Printed{"rtx-pro-6000", 503, 1006, 1597, 96, 0},
        Printed{"a40", 149.7, 0, 696, 48, 0}, Printed{"rtx-3090", 71, 0, 936, 24, 0},
        Printed{"t4", 65, 0, 320, 16, 0}}) {
    const Gpu gpu = load_gpu(card.name);
    EXPECT_NEAR(gpu.datasheet_bf16_tflops, card.tflops, 0.005 * card.tflops) << card.name;
    EXPECT_NEAR(gpu.hbm_gb_s, card.gb_s, 0.002 * card.gb_s) << card.name;
    EXPECT_EQ(gpu.nvlink_gb_s * 2, card.nvlink_both_ways) << card.name;
    if (card.fp8_tflops > 0) {
      EXPECT_NEAR(gpu.peak_flops(DType::fp8) / gpu.peak_flops(DType::bf16), card.fp8_tflops / card.tflops,
                  0.03)
          << card.name;
    } else {
      EXPECT_EQ(gpu.fp8_flops_per_clk_sm, 0) << card.name;
    }
    // Drivers report less than GiB on the box and, where the box counts 1e9 bytes, a little more.
    EXPECT_GT(gpu.memory_bytes, 0.9e9 * card.memory_gb) << card.name;
    EXPECT_LT(static_cast<double>(gpu.memory_bytes), card.memory_gb * (1 << 30)) << card.name;
  }
}

// Achieved rates of the public tables never pass a floor: data README, best bf16 GEMM and decode bandwidth.
TEST(Configs, MeasuredRatesStayBelowThePeaks) {
  struct Measured {
    const char* name;
    double tflops, gb_s;
  };
  for (const Measured& best :
       {Measured{"a100-sxm-80g", 299, 1774}, Measured{"h100-sxm", 939, 3184}, Measured{"h200-sxm", 891, 4464},
        Measured{"l40s", 286, 769}, Measured{"rtx-pro-6000", 458, 1533}}) {
    const Gpu gpu = load_gpu(best.name);
    EXPECT_LT(best.tflops, gpu.peak_flops(DType::bf16) * 1e-12) << best.name;
    EXPECT_LT(best.gb_s, gpu.hbm_gb_s) << best.name;
  }
}

TEST(Configs, EveryKernelFileBelongsToACalibratedCard) {
  const std::vector<std::string> names = config_names("kernels");
  EXPECT_GE(names.size(), 5u);
  for (const std::string& name : names) {
    const auto behaviour = read_config<KernelBehaviour>("kernels", name);
    EXPECT_EQ(behaviour.name, name);
    EXPECT_EQ(behaviour.card, name);
    EXPECT_EQ(load_gpu(name).status, "calibrated") << name;
  }
}

// The B200's DRAM, clock and L2 differ from the H200's: its kernels must not be the H200's unchanged, nor
// change twice.
TEST(Configs, BorrowedKernelsAreRescaledOnceAndOwnOnesNever) {
  const auto raw = read_config<Gpu>("gpus", "b200-sxm");
  EXPECT_EQ(raw.kernels->card, "h200-sxm") << "the file itself is not rescaled";
  Gpu carried = load_gpu("b200-sxm");
  const auto text_of = [](const Gpu& gpu) { return emit_yaml(to_yaml(*gpu.kernels)); };
  EXPECT_NE(text_of(carried), text_of(raw));
  const std::string once = text_of(carried);
  carry_over_kernels(carried);
  EXPECT_EQ(text_of(carried), once);
  EXPECT_EQ(text_of(load_gpu("h200-sxm")), text_of(read_config<Gpu>("gpus", "h200-sxm")));
}

TEST(Configs, KernelsOfAnUnknownCardAreAnError) {
  Gpu gpu = read_config<Gpu>("gpus", "rtx-4090");
  gpu.kernels->card = "l40z";
  try {
    carry_over_kernels(gpu);
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("rtx-4090: kernels: l40s: 'l40z' is not known"),
              std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("did you mean 'l40s'?"), std::string::npos) << error.what();
  }
  gpu.kernels->card = "rtx-3090";
  EXPECT_THROW(carry_over_kernels(gpu), InputError) << "a card that borrows cannot lend";
}

TEST(Configs, EveryFabricReadsAndConnectsAllItsGpus) {
  ASSERT_GE(config_names("fabrics").size(), 6u);
  for (const std::string& name : config_names("fabrics")) {
    const auto spec = read_config<FabricSpec>("fabrics", name);
    EXPECT_EQ(spec.name, name);
    const Fabric fabric(spec);
    for (int a = 0; a < fabric.gpus(); ++a) {
      EXPECT_GT(fabric.gpu_to_host(a).gb_s, 0) << name;
      for (int b = 0; b < a; ++b) EXPECT_GT(fabric.gpu_to_gpu(a, b).gb_s, 0) << name;
    }
  }
}

TEST(Configs, FabricsOfNamedMachinesCarryTheirGpusRates) {
  const std::map<std::string, std::string> machines{{"dgx-a100", "a100-sxm-80g"},
                                                    {"dgx-h100", "h100-sxm"},
                                                    {"hgx-h200", "h200-sxm"},
                                                    {"hgx-b200", "b200-sxm"},
                                                    {"pcie-4x-l40s", "l40s"}};
  for (const auto& [machine, card] : machines) {
    const Gpu gpu = load_gpu(card);
    const auto spec = read_config<FabricSpec>("fabrics", machine);
    EXPECT_EQ(spec.gpus, gpu.gpus_per_node) << machine;
    EXPECT_EQ(spec.nvlink.gb_s.value, gpu.nvlink_gb_s) << machine;
    EXPECT_EQ(spec.pcie.gb_s.value, gpu.pcie_gb_s) << machine;
  }
  // NVIDIA prints 3.6 TB/s both ways for the DGX H100.
  EXPECT_DOUBLE_EQ(Fabric(read_config<FabricSpec>("fabrics", "dgx-h100")).bisection_gb_s(), 1800);
}

TEST(Configs, EveryEngineProfileReads) {
  const std::vector<std::string> names = config_names("engines");
  for (const char* name : {"vllm-0.19", "vllm-0.12", "vllm-0.6", "sarathi", "trtllm-1.0", "sglang-0.5", "ideal"})
    EXPECT_TRUE(has(names, name)) << name;
  for (const std::string& name : names) {
    const EngineProfile profile = load_engine_profile(name);
    EXPECT_EQ(profile.name, name);
    EXPECT_FALSE(profile.source.empty()) << name;
  }
}

TEST(Configs, ListingShowsEveryCardOnce) {
  const std::vector<GpuSummary> rows = list_gpus();
  ASSERT_EQ(rows.size(), config_names("gpus").size());
  for (const GpuSummary& row : rows) {
    EXPECT_GT(row.peak_bf16_tflops, 60) << row.name;
    if (row.status == "calibrated") {
      EXPECT_LT(row.estimated_numbers, 8) << row.name;
    }
  }
}

}  // namespace
}  // namespace tessera
