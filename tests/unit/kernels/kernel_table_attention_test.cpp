// The `table` source on attention: which layers and batches a table answers for, and what it says.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "tests/unit/kernels/kernel_table_shapes.hpp"

namespace tessera {
namespace {

TEST(KernelTableAttention, GivesMeasuredAttentionItsMeasuredTime) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  KernelTable table;
  table.add_decode(heads(32, 8, true), 8, 1024, 61.0);
  table.add_prefill(heads(32, 8, true), 2, 4096, 1900.0);
  table.finish(gpu);
  EXPECT_NEAR(table.decode(gpu, heads(32, 8, true), batch(8, 1024))->total, 61.0, 1e-9);
  const std::vector<PrefillChunk> chunks(2, {4096, 0});
  EXPECT_NEAR(table.prefill(gpu, heads(32, 8, true), chunks)->total, 1900.0, 1e-9);
}

TEST(KernelTableAttention, AnswersOnlyForLayersItHolds) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  KernelTable table;
  table.add_decode(heads(32, 8, true), 8, 1024, 61.0);
  table.finish(gpu);
  const auto answers = [&](const Gpu& card, const std::function<void(AttentionShape&)>& change) {
    AttentionShape shape = heads(32, 8, true);
    change(shape);
    return table.decode(card, shape, batch(8, 1024)).has_value();
  };
  EXPECT_TRUE(answers(gpu, [](AttentionShape&) {}));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.q_heads = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.kv_heads = 4; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.head_dim = s.v_head_dim = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.v_head_dim = 64; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.window = 512; }));
  EXPECT_FALSE(answers(gpu, [](AttentionShape& s) { s.kv_dtype = DType::fp8; }));
  Gpu other = gpu;
  other.kernels->attention.kernel = "fa3";
  EXPECT_FALSE(answers(other, [](AttentionShape&) {}));
}

TEST(KernelTableAttention, TakesServingDecodesOnlyFromRowsWithColdKv) {
  const Gpu gpu = load_gpu("a100-sxm-80g");  // 40 MiB of L2: cold from 63 MB on
  const AttentionShape replayed = heads(32, 8, true), serving = heads(32, 8, false);
  const double token_bytes = 2 * 8 * 128 * 2.0;
  const auto is_cold = [&](std::int64_t n, std::int64_t context) {
    return double(n * context) * token_bytes >= 1.5 * double(gpu.l2_bytes.value);
  };
  KernelTable table;
  for (std::int64_t n = 1; n <= 256; n *= 2)
    for (std::int64_t context = 64; context <= 16384; context *= 2)
      table.add_decode(
          replayed, n, context,
          decode_attention_time(gpu, replayed, batch(n, context)).total / (is_cold(n, context) ? 0.8 : 4.0));
  table.finish(gpu);

  ASSERT_FALSE(is_cold(8, 1000));
  EXPECT_FALSE(table.decode(gpu, serving, batch(8, 1000)).has_value());
  EXPECT_TRUE(table.decode(gpu, replayed, batch(8, 1000)).has_value());  // validation asks for the row itself

  ASSERT_TRUE(is_cold(8, 2000));
  const OpTime time = *table.decode(gpu, serving, batch(8, 2000));  // warm rows lie within one octave
  EXPECT_NEAR(time.total, decode_attention_time(gpu, serving, batch(8, 2000)).total / 0.8, 1e-6 * time.total);
  EXPECT_TRUE(time.in_range);
}

TEST(KernelTableAttention, ScalesWhatUnequalContextsCostWithTheRest) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  const AttentionShape serving = heads(32, 8, false);
  KernelTable table;
  table.add_decode(serving, 64, 4096,
                   2 * decode_attention_time(gpu, heads(32, 8, true), batch(64, 4096)).total);
  table.finish(gpu);
  std::vector<std::int32_t> lengths(64, 3072);
  std::fill(lengths.begin(), lengths.begin() + 4, 20480);
  DecodeBatch uneven = batch(64, 4096);
  uneven.longest = lengths;
  const double closed = decode_attention_time(gpu, serving, uneven).total;
  ASSERT_NE(closed, decode_attention_time(gpu, serving, batch(64, 4096)).total);
  EXPECT_NEAR(table.decode(gpu, serving, uneven)->total, 2 * closed, 1e-6 * closed);
}

TEST(KernelTableAttention, PricesPromptsOfUnequalLengthButNoneWithHistory) {
  const Gpu gpu = load_gpu("a100-sxm-80g");
  const AttentionShape shape = heads(32, 8, true);
  KernelTable table;
  for (std::int64_t tokens = 512; tokens <= 8192; tokens *= 2)
    for (const std::int64_t sequences : {1, 2, 4}) {
      const std::vector<PrefillChunk> chunks(std::size_t(sequences), {tokens, 0});
      table.add_prefill(shape, sequences, tokens, prefill_attention_time(gpu, shape, chunks).total / 0.7);
    }
  table.finish(gpu);
  const std::vector<PrefillChunk> uneven{{1000, 0}, {3000, 0}}, later{{1000, 0}, {3000, 16}};
  const OpTime time = *table.prefill(gpu, shape, uneven);
  EXPECT_NEAR(time.total, prefill_attention_time(gpu, shape, uneven).total / 0.7, 1e-6 * time.total);
  EXPECT_TRUE(time.in_range);
  EXPECT_FALSE(table.prefill(gpu, shape, later).has_value());
  EXPECT_FALSE(table.prefill(gpu, shape, {}).has_value());
}

}  // namespace
}  // namespace tessera
