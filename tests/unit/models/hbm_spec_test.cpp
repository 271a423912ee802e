// Memory descriptions: what ships, what is derived, what is refused.
#include <gtest/gtest.h>

#include "models/hardware/hbm.hpp"

namespace tessera {
namespace {

std::string error_of(const char* key, const char* value) {
  Yaml tree = load_config("memories", "hbm3-6.4");
  set_path(tree, key, parse_yaml(value, "--set"), nullptr);
  HbmSpec spec;
  try {
    read_spec(tree, spec);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(HbmSpecTest, EveryShippedMemoryReadsAndIsNamedAfterItself) {
  const auto names = config_names("memories");
  EXPECT_EQ(names, (std::vector<std::string>{"hbm2-2.0", "hbm3-6.4"}));
  for (const std::string& name : names) {
    const HbmSpec spec = load_hbm(name);
    EXPECT_EQ(spec.name, name);
    EXPECT_FALSE(spec.source.empty());
  }
}

TEST(HbmSpecTest, PeakIsPinsTimesRate) {
  EXPECT_DOUBLE_EQ(load_hbm("hbm2-2.0").peak_gb_s(), 2 * 64 * 2.0 / 8);
  EXPECT_DOUBLE_EQ(load_hbm("hbm3-6.4").peak_gb_s(), 2 * 32 * 6.4 / 8);
}

TEST(HbmSpecTest, ARowHoldsAKibibyteOfEachPseudoChannel) {
  for (const char* name : {"hbm2-2.0", "hbm3-6.4"})
    EXPECT_EQ(load_hbm(name).organisation.row_bytes(), 1024) << name;
}

TEST(HbmSpecTest, AConflictCostsRpRcdClAndTheBurst) {
  EXPECT_EQ(load_hbm("hbm2-2.0").conflict_latency().count(), (14 + 14 + 14 + 2) * 1000);
  EXPECT_EQ(load_hbm("hbm3-6.4").conflict_latency().count(), (26 + 31 + 20 + 2) * 625);
}

TEST(HbmSpecTest, HalfClocksAreExactInPicoseconds) {
  EXPECT_EQ(load_hbm("hbm3-6.4").time_of(2).count(), 625);
  EXPECT_EQ(load_hbm("hbm3-6.4").time_of(6).count(), 1875);
}

TEST(HbmSpecTest, ContradictionsAreErrors) {
  EXPECT_EQ(error_of("timing.rp", "26"), "no error");
  EXPECT_NE(error_of("timing.ccd_short", "1").find("overlap on the data bus"), std::string::npos);
  EXPECT_NE(error_of("timing.rrd_long", "3").find("rrd_short"), std::string::npos);
  EXPECT_NE(error_of("timing.wtr_long", "3").find("wtr_short"), std::string::npos);
  EXPECT_NE(error_of("timing.rtw", "5").find("rtw"), std::string::npos);
  EXPECT_NE(error_of("timing.rfc", "7000").find("leave no time"), std::string::npos);
  EXPECT_NE(error_of("timing.rfc", "6239").find("leave no time"), std::string::npos);
  EXPECT_NE(error_of("command_bus.activate", "1.3").find("half a clock"), std::string::npos);
  EXPECT_NE(error_of("controller.drain_high", "100").find("watermarks"), std::string::npos);
  EXPECT_NE(error_of("organisation.stack_ids", "9").find("out of range"), std::string::npos);
  EXPECT_NE(error_of("organisation.bank_groups", "8").find("no error"), std::string::npos);
}

}  // namespace
}  // namespace tessera
