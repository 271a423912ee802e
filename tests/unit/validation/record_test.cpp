// The accuracy record, provenance comments, and what calibrate asks for.
#include "validation/record.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "kernels/cost/gemm.hpp"
#include "tests/unit/kernels/paper_gpu.hpp"
#include "validation/calibrate.hpp"
#include "validation/coverage.hpp"
#include "validation/layer_rows.hpp"

namespace tessera {
namespace {

std::vector<RecordedAccuracy> sample() {
  return {{"paper",
           "gemm",
           "bfloat16",
           "roofline",
           "half",
           "t.csv.gz",
           {100, 6, 5, 12, -1, 0.99},
           200,
           "2000-01-02",
           "abc"},
          {"paper",
           "gemm",
           "bfloat16",
           "table",
           "folds",
           "t.csv.gz",
           {190, 4, 3, 9, 0.5, 0.999},
           200,
           "2000-01-02",
           "abc"},
          {"other",
           "layer_gemm",
           "bfloat16",
           "roofline",
           "borrowed",
           "p.csv",
           {10, 8, 7, 20, 2, 0.9},
           10,
           "2000-01-02",
           "abc"}};
}

TEST(Record, IsReadBackAsWritten) {
  const std::string csv = to_csv(sample());
  EXPECT_EQ(to_csv(parse_record(csv, "r.csv")), csv);
  EXPECT_THROW(parse_record("gpu,kernel\n1,2\n", "r.csv"), InputError);
}

TEST(Record, MarkdownHasALineACardAndTypeAndAColumnASource) {
  const std::string text = to_markdown(sample());
  EXPECT_NE(text.find("| paper | gemm | bfloat16 | 5.0 / 12.0 (100) | | 3.0 / 9.0 (190) |"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("| other | layer_gemm | bfloat16 | 7.0 / 20.0 (10, unfitted) | | |"), std::string::npos)
      << text;
  EXPECT_NE(text.find("2000-01-02 at abc"), std::string::npos);
}

TEST(Record, AFolderWithoutTablesIsAnError) {
  EXPECT_THROW(
      record_accuracy(
          {.data = std::filesystem::temp_directory_path().string() + "/none", .date = "", .commit = ""}),
      InputError);
}

// What is committed is what this program writes, and holds what the project promises.
TEST(Record, TheCommittedOneKeepsTheTargets) {
  std::ifstream in(TESSERA_SOURCE_DIR "/validation/accuracy.csv");
  ASSERT_TRUE(in);
  const std::string csv((std::istreambuf_iterator<char>(in)), {});
  const std::vector<RecordedAccuracy> record = parse_record(csv, "accuracy.csv");
  const std::map<std::string, double> most = {{"gemm", 5},
                                              {"generation_attention", 3},
                                              {"context_attention", 3},
                                              {"custom_allreduce", 4},
                                              {"nccl", 8}};
  std::size_t tables = 0;
  for (const RecordedAccuracy& r : record) {
    EXPECT_GE(r.errors.p90_ape, r.errors.median_ape);
    EXPECT_LE(r.errors.rows, r.of);
    if (r.source != "table" || most.count(r.kernel) == 0) continue;
    ++tables;
    EXPECT_LE(r.errors.median_ape, most.at(r.kernel)) << r.gpu << " " << r.kernel << " " << r.dtype;
  }
  EXPECT_GE(tables, 20u);
  for (const RecordedAccuracy& r : record)
    if (r.gpu == "h100-sxm" && r.kernel == "moe") {
      const bool named =
          r.dtype == "w4a16_mxfp4" && r.source == "roofline";  // low confidence, as the README says
      EXPECT_LE(r.errors.median_ape, named ? 10 : 8) << r.dtype << " " << r.source;
    }
}

TEST(Provenance, StandsBesideEachFigureAndTheFileIsReadAgain) {
  KernelBehaviour b = paper_gpu().kernels.value;
  b.name = b.card = "paper";
  b.gemm.floor_us = 2.5;
  const FitRecord record{"gemm.floor_us", 2.5, 2.4, 2.6, "rows", "60 rows of t.csv, 2000-01-02"};
  const std::string text = annotated_yaml(b, std::vector<FitRecord>{record}, "");
  EXPECT_NE(text.find("  floor_us: 2.5  # 2.4 to 2.6 (95 % jointly), 60 rows of t.csv, 2000-01-02\n"),
            std::string::npos)
      << text;
  KernelBehaviour read;
  read_spec(parse_yaml(text, "b.yaml"), read);
  EXPECT_EQ(read.gemm.floor_us, 2.5);
  // A later fit of another section keeps the comment while the figure stays, and only then.
  EXPECT_EQ(annotated_yaml(b, {}, text), text);
  b.gemm.floor_us = 2.7;
  EXPECT_EQ(annotated_yaml(b, {}, text).find("60 rows"), std::string::npos);
}

TEST(Coverage, NamesTheRowsThatWouldDetermineAParameter) {
  const auto rows = MeasurementTable::parse("gemm_dtype,m,n,k,latency_ms\nbfloat16,512,512,512,1\n", "t.csv");
  const std::vector<Row> one = {rows.row(0)};
  EXPECT_EQ(missing_rows("gemm", "floor_us", one),
            "no row with k <= 64 (launch and drain alone): floor_us not determined");
  EXPECT_EQ(missing_rows("tile.gemm", "floor_us", one), missing_rows("gemm", "floor_us", one));
  EXPECT_EQ(covered_parameters("gemm").size(), 16u);
  EXPECT_EQ(covered_parameters("moe").size(), 9u);
  EXPECT_EQ(covered_parameters("collectives").size(), 18u);
}

MeasurementTable gemm_rows(const Gpu& truth, const std::vector<int>& m, const std::vector<int>& k) {
  std::string text = "kernel_source,gemm_dtype,m,n,k,latency_ms,device,driver,clocks,date,commit,flag\n";
  for (const int mi : m)
    for (const int n : {128, 700, 2048, 6000, 16384})
      for (const int ki : k)
        text += fmt::format("cublas,bfloat16,{},{},{},{:.6g},NVIDIA Paper,580.1,1980 MHz,2000-01-01,abc,\n",
                            mi, n, ki, gemm_time(truth, {mi, n, ki, DType::bf16, 6}).total * 1e-3);
  return MeasurementTable::parse(std::move(text), "made.csv");
}

TEST(Calibrate, RefusesWithTheMeasurementsThatAreMissing) {
  Gpu truth = paper_gpu();
  truth.kernels->card = truth.name;
  std::vector<MeasurementTable> tables;
  tables.push_back(
      gemm_rows(truth, {2, 16, 64}, {2048, 4096, 8192, 16384}));  // no short k, no m = 1, no large m
  Gpu card = truth;
  try {
    calibrate(card, tables, {"2000-01-02", ""});
    FAIL() << "an under-determined fit was accepted";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("no row with m = 1 and k >= 2048: gemv_serial_ns_per_k not determined"),
              std::string::npos)
        << text;
    EXPECT_NE(text.find("--prior CARD"), std::string::npos) << text;
  }
}

TEST(Calibrate, APriorStandsInForWhatIsMissingAndSaysSo) {
  Gpu truth = paper_gpu();
  truth.kernels->card = truth.name;
  truth.kernels->gemm.hbm_fraction = 0.72;
  const Gpu sibling = load_gpu("h200-sxm");
  std::vector<MeasurementTable> tables;
  tables.push_back(gemm_rows(truth, {2, 16, 64}, {2048, 4096, 8192, 16384}));
  Gpu card = truth;
  const auto notes =
      calibrate(card, tables, {"2000-01-02", ""}, Cost::roofline, {.folds = 3, .prior = &sibling});
  EXPECT_NEAR(card.kernels->gemm.hbm_fraction, 0.72, 0.03);
  ASSERT_FALSE(notes[0].undetermined.empty());
  EXPECT_NE(notes[0].text.find("fitted on all 60 rows; cross-validated over 3 folds"), std::string::npos)
      << notes[0].text;
  EXPECT_NE(notes[0].text.find("prior: h200-sxm rescaled"), std::string::npos);
  const auto gemv = std::find_if(notes[0].records.begin(), notes[0].records.end(), [](const FitRecord& r) {
    return r.parameter == "gemm.gemv_serial_ns_per_k";
  });
  ASSERT_NE(gemv, notes[0].records.end());
  EXPECT_EQ(gemv->how, "prior");
}

TEST(Calibrate, TheSameRowsGiveTheSameFile) {
  Gpu truth = paper_gpu();
  truth.kernels->card = truth.name;
  const auto fitted = [&] {
    std::vector<MeasurementTable> tables;
    tables.push_back(gemm_rows(truth, {1, 16, 512, 4000}, {64, 1024, 4096, 16384}));
    Gpu card = truth;
    card.kernels->gemm = GemmParams{};
    const Gpu prior = load_gpu("a100-sxm-80g");
    const auto notes =
        calibrate(card, tables, {"2000-01-02", ""}, Cost::roofline, {.folds = 2, .prior = &prior});
    return annotated_yaml(*card.kernels, notes[0].records, "");
  };
  EXPECT_EQ(fitted(), fitted());
}

TEST(LayerRows, ProfilesBecomeMeasurementsOfTheirOwnKind) {
  const std::string folder = std::filesystem::temp_directory_path().string() + "/tessera_layer_rows";
  std::filesystem::create_directories(folder);
  const auto file = [&](const char* name, const char* text) {
    std::ofstream(folder + "/" + name) << text;
    return folder + "/" + name;
  };
  const auto dense =
      load_measurements(file("dense.csv", "layer,tokens,time_us\nqkv_proj,16,80\nlayernorm,16,3\n"));
  ASSERT_EQ(dense.size(), 1u);  // norms are no matrix product
  EXPECT_STREQ(kernel_of(dense).name, "layer_gemm");
  EXPECT_EQ(dense.row(0).integer("n"), 6144);
  EXPECT_NEAR(dense.row(0).latency_us(), 80, 1e-9);
  const auto old = load_measurements(file(
      "layers.csv", "layer_name,input_tokens,kv_cache_tokens,tp_size,latency_ns\nup_proj,1,0,1,164391\n"));
  EXPECT_NEAR(old.row(0).latency_us(), 164.391, 1e-9);
  const auto mixed = load_measurements(
      file("attention.csv",
           "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,8,1023,50\n64,128,8,1023,70\n"));
  const KernelValidator& kernel = kernel_of(mixed);
  EXPECT_STREQ(kernel.name, "layer_attention");
  EXPECT_EQ(kernel.regime(mixed.row(0)), "decode");
  EXPECT_EQ(kernel.regime(mixed.row(1)), "mixed");
  const Gpu gpu = load_gpu("a100-sxm-80g");
  AttentionShape layer;
  layer.q_heads = 32, layer.kv_heads = 8;
  EXPECT_EQ(kernel.predict(gpu, mixed.row(0)).total,
            decode_attention_time(gpu, layer, {8, 8 * 1024, {}, 0}).total);
  EXPECT_THROW(load_measurements(file("bad.csv", "a,b\n1,2\n")), InputError);
  EXPECT_THROW(
      kernel.predict(gpu, load_measurements(file("none.csv",
                                                 "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
                                                 "0,0,0,0,1\n"))
                              .row(0)),
      InputError);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tessera
