// Published factors beside ours: the arithmetic of each metric, and that no claim is left without its reason.
#include "sim/serving/kv_claims.hpp"

#include <gtest/gtest.h>

#include "models/base/error.hpp"

namespace tessera {
namespace {

ClaimResult shipped(const std::string& id) {
  for (const KvClaim& claim : load_kv_claims("kv_claims").claims)
    if (claim.id == id) return check_claim(claim);
  ADD_FAILURE() << id << " is not in configs/studies/kv_claims.yaml";
  return {};
}

KvClaim cla_claim(const char* metric) {
  KvClaim claim;
  claim.metric = metric;
  claim.published = 2;
  claim.context = 2048;
  claim.batch = 4;
  claim.ours = {"llama-2-7b", "cla-2"};
  claim.baseline = {"llama-2-7b", "base"};
  return claim;
}

TEST(KvClaims, EveryRowRunsAndSaysWhatItAssumes) {
  for (const KvClaim& claim : load_kv_claims("kv_claims").claims) {
    const ClaimResult r = check_claim(claim);
    EXPECT_EQ(r.refusal, "") << claim.id;
    EXPECT_GT(r.factor, 0) << claim.id;
    EXPECT_FALSE(claim.assumes.empty()) << claim.id;
    // A miss must be explained.
    EXPECT_TRUE(r.within || !claim.verdict.empty()) << claim.id << ": " << r.factor;
  }
}

TEST(KvClaims, SizesThatArithmeticGivesAreWithinTheirTolerance) {
  for (const char* id : {"yoco-65b-kv", "minicache-compression", "kvsharer-kv"})
    EXPECT_TRUE(shipped(id).within) << id;
}

// One H100 reads 512K tokens through 13 window layers and one projection in less than the published 6 s.
TEST(KvClaims, YocoReadsHalfAMillionTokensInUnderSixSeconds) { EXPECT_LT(shipped("yoco-prefill").ours, 6); }

TEST(KvClaims, RecomputingAWindowForEveryTokenIsTwentyTimesSlower) {
  EXPECT_NEAR(shipped("streaming-recompute").factor, 22.2, 0.2 * 22.2);
}

TEST(KvClaims, BytesAreComparedAsBaselineOverOurs) {
  const ClaimResult r = check_claim(cla_claim("kv"));
  EXPECT_DOUBLE_EQ(r.factor, 2);
  EXPECT_DOUBLE_EQ(r.baseline, 1);  // 2048 tokens x 512 KiB
  EXPECT_TRUE(r.within);
  EXPECT_LT(check_claim(cla_claim("memory")).factor, 1.2);  // weights stay but for 16 layers' K and V
}

// Rates are ours over the baseline's; at equal batch sharing only saves projections.
TEST(KvClaims, RatesAreComparedAsOursOverBaseline) {
  const ClaimResult decode = check_claim(cla_claim("decode"));
  EXPECT_DOUBLE_EQ(decode.factor, decode.ours / decode.baseline);
  EXPECT_GT(decode.factor, 1);
  EXPECT_LT(decode.factor, 1.15);
  EXPECT_FALSE(decode.within);
}

// Counting the prompt lowers a rate, and the less so the longer the answer.
TEST(KvClaims, GeneratingCountsThePrompt) {
  KvClaim claim = cla_claim("generate");
  claim.output = 16;
  const double brief = check_claim(claim).baseline;
  claim.output = 4096;
  const double lengthy = check_claim(claim).baseline;
  const double decode = check_claim(cla_claim("decode")).baseline;
  EXPECT_LT(brief, lengthy);
  EXPECT_LT(lengthy, decode);
}

TEST(KvClaims, ASideThatDoesNotFitIsNamed) {
  KvClaim claim = cla_claim("decode");
  claim.baseline.model = "llama-3.1-70b";
  EXPECT_NE(check_claim(claim).refusal.find("llama-3.1-70b: "), std::string::npos);
}

}  // namespace
}  // namespace tessera
