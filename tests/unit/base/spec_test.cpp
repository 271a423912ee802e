#include "models/base/spec.hpp"
#include "tests/support/spec_text.hpp"

#include <gtest/gtest.h>

namespace tessera {
namespace {

struct Disk {
  double gb_s = 2;
  std::string kind = "nvme";
  std::optional<std::int64_t> blocks;
  std::vector<int> sizes;
  Sourced<double> latency{5, ""};
  void describe(Fields& f) {
    f.field("gb_s", gb_s, {.doc = "sequential read rate", .unit = "GB/s", .min = 0.001, .required = true});
    f.choice("kind", kind, {"nvme", "sata"}, {.doc = "interface"});
    f.field("blocks", blocks, {.doc = "blocks", .min = 1});
    f.list("sizes", sizes, {.doc = "sizes", .min = 0});
    f.field("latency", latency, {.doc = "latency", .unit = "us", .min = 0});
    f.check(kind != "sata" || gb_s <= 0.6, "gb_s", "SATA cannot pass 0.6 GB/s");
  }
};
struct Box {
  Disk disk;
  std::vector<Disk> more;
  void describe(Fields& f) {
    f.group("disk", disk, {.doc = "the disk"});
    f.list("more", more, {.doc = "other disks"});
  }
};

Box read(const std::string& text) { return test::spec_of<Box>(text, "box.yaml"); }
std::string error_of(const std::string& text) { return test::spec_error<Box>(text, "box.yaml"); }

TEST(Spec, ReadsNestedValuesAndKeepsDefaults) {
  const Box box = read("disk: {gb_s: 3.5, sizes: [1, 2]}\nmore: [{gb_s: 1}, {gb_s: 0.5, kind: sata}]\n");
  EXPECT_EQ(box.disk.gb_s, 3.5);
  EXPECT_EQ(box.disk.kind, "nvme");
  EXPECT_EQ(box.disk.sizes, (std::vector<int>{1, 2}));
  ASSERT_EQ(box.more.size(), 2u);
  EXPECT_EQ(box.more[1].kind, "sata");
}

TEST(Spec, ANumberMayCarryItsSource) {
  const Box box = read("disk: {gb_s: 1, latency: {value: 7, source: datasheet}}\n");
  EXPECT_EQ(box.disk.latency, 7);
  EXPECT_EQ(box.disk.latency.source, "datasheet");
}

TEST(Spec, ErrorsNameFileLineColumnKeyAndTheNearestName) {
  EXPECT_EQ(
      error_of("disk:\n  gb_s: 1\n  knid: nvme\n"),
      "box.yaml:3:3: disk.knid: unknown key, expected one of gb_s, kind, blocks, sizes, latency, did you "
      "mean 'kind'?");
  EXPECT_EQ(error_of("disk: {gb_s: fast}\n"),
            "box.yaml:1:14: disk.gb_s: 'fast' is not valid, expected a number of GB/s");
  EXPECT_EQ(error_of("disk: {gb_s: -1}\n"),
            "box.yaml:1:14: disk.gb_s: -1 is out of range, expected a number of GB/s at least 0.001");
  EXPECT_EQ(error_of("disk: {gb_s: 1, kind: nvm}\n"),
            "box.yaml:1:23: disk.kind: 'nvm' is not known, expected one of nvme, sata, did you mean 'nvme'?");
  EXPECT_EQ(error_of("disk: {kind: nvme}\n"),
            "box.yaml:1:7: disk.gb_s: missing, expected sequential read rate in GB/s");
  EXPECT_EQ(error_of("disk: {gb_s: 1, kind: sata}\n"), "box.yaml:1:14: disk.gb_s: SATA cannot pass 0.6 GB/s");
  EXPECT_EQ(error_of("disk: {gb_s: 1, gb_s: 2}\n"),
            "box.yaml:1:17: gb_s: duplicate key, first given on line 1");
}

struct Shop {
  std::string name;
  std::int64_t disks = 0, per_shelf = 0;
  Disk sample;
  Ref<Disk> spare;
  void describe(Fields& f) {
    f.field("name", name, {.doc = "a name", .required = true});
    f.field("disks", disks, {.doc = "disks", .min = 1, .required = true});
    f.field("per_shelf", per_shelf, {.doc = "disks of a shelf", .min = 1, .required = true});
    f.group("sample", sample, {.doc = "one of them", .required = true});
    f.reference("spare", spare, "disks", {.doc = "another", .required = true});
    f.check(disks % per_shelf == 0, "disks", "the shelves are not full");
    f.check(sample.gb_s >= 1, "sample", "too slow to show");
    f.check(spare->gb_s >= 1, "spare", "too slow");
  }
};

std::string shop_error(const std::string& text) {
  Shop shop;
  try {
    read_spec(parse_yaml(text, "shop.yaml"), shop);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

TEST(Spec, AMisspeltRequiredKeyIsNamedWithTheKeyThatWasMeant) {
  const std::string known =
      "unknown key, expected one of name, disks, per_shelf, sample, spare, did you mean ";
  const std::string full = "name: a\ndisks: 8\nper_shelf: 4\nsample: {gb_s: 2}\nspare: {gb_s: 2}\n";
  EXPECT_EQ(shop_error(full), "no error");
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = full;
    return shop_error(text.replace(text.find(from), from.size(), to));
  };
  // Scalars, a divisor among them, groups and references.
  EXPECT_EQ(with("name", "nmae"), "shop.yaml:1:1: nmae: " + known + "'name'?");
  EXPECT_EQ(with("disks", "disk"), "shop.yaml:2:1: disk: " + known + "'disks'?");
  EXPECT_EQ(with("per_shelf", "per_shelv"), "shop.yaml:3:1: per_shelv: " + known + "'per_shelf'?");
  EXPECT_EQ(with("sample", "smaple"), "shop.yaml:4:1: smaple: " + known + "'sample'?");
  EXPECT_EQ(with("spare", "spar"), "shop.yaml:5:1: spar: " + known + "'spare'?");
  EXPECT_EQ(
      with("gb_s: 2", "gbs: 2"),
      "shop.yaml:4:10: sample.gbs: unknown key, expected one of gb_s, kind, blocks, sizes, latency, did "
      "you mean 'gb_s'?");
}

TEST(Spec, AMissingKeyIsToldWhereNoKeyIsUnknownAndBeforeRulesItsAbsenceWouldBreak) {
  EXPECT_EQ(shop_error("name: a\ndisks: 8\nsample: {gb_s: 0.5}\nspare: {gb_s: 2}\n"),
            "shop.yaml:1:1: per_shelf: missing, expected disks of a shelf");
  EXPECT_EQ(shop_error("name: a\ndisks: 8\nper_shelf: 3\nspare: {gb_s: 2}\n"),
            "shop.yaml:1:1: sample: missing, expected one of them");
  // The first of several; a wrong value is told first.
  EXPECT_EQ(shop_error("name: a\n"), "shop.yaml:1:1: disks: missing, expected disks");
  EXPECT_EQ(shop_error("name: a\nper_shelf: 0\n"),
            "shop.yaml:2:12: per_shelf: 0 is out of range, expected a number at least 1");
}

TEST(Spec, RefusesWhatIsNotAPlainTree) {
  EXPECT_NE(error_of("disk: &a {gb_s: 1}\n").find("anchors"), std::string::npos);
  EXPECT_NE(error_of("- 1\n- 2\n").find("expected a map"), std::string::npos);
  EXPECT_NE(error_of("").find("expected a map"), std::string::npos);
  EXPECT_NE(error_of(std::string("disk: \x01", 7)).find("binary"), std::string::npos);
  EXPECT_NE(error_of(std::string(100, '[')).find("nested deeper"), std::string::npos);
  EXPECT_NE(error_of("disk: {gb_s: nan}\n").find("expected a number"), std::string::npos);
  EXPECT_NE(error_of("disk: {gb_s: '1'}\n").find("expected a number"), std::string::npos);
  EXPECT_NE(error_of("disk: {gb_s: 1, blocks: 1e99}\n").find("out of range"), std::string::npos);
  EXPECT_NE(error_of("disk: {gb_s: 1, blocks: 1.5}\n").find("whole number"), std::string::npos);
}

TEST(Spec, WhatIsWrittenReadsBackTheSame) {
  Box box = read(
      "disk: {gb_s: 3.5, sizes: [1, 2], latency: {value: 7, source: 'a \"b\": c'}}\nmore: [{gb_s: 1}]\n");
  const std::string text = emit_yaml(to_yaml(box));
  Box again;
  read_spec(parse_yaml(text, "again.yaml"), again);
  EXPECT_EQ(emit_yaml(to_yaml(again)), text);
  EXPECT_EQ(again.disk.latency.source, "a \"b\": c");
  EXPECT_EQ(again.more.size(), 1u);
}

TEST(Spec, SchemaNamesEveryKeyWithTypeDefaultAndRange) {
  const auto schema = schema_of<Box>();
  ASSERT_EQ(schema[0].path, "disk");
  EXPECT_EQ(schema[1].path, "disk.gb_s");
  EXPECT_EQ(schema[1].default_value, "2");
  EXPECT_EQ(schema[1].range, ">= 0.001");
  EXPECT_TRUE(schema[1].required);
  EXPECT_EQ(schema[2].options.size(), 2u);
}

TEST(Spec, PathsAreSetFromTheCommandLine) {
  Yaml tree = parse_yaml("disk: {gb_s: 1}\n", "box.yaml");
  set_path(tree, "disk.kind", parse_yaml("sata", "--set"), nullptr);
  set_path(tree, "disk.gb_s", parse_yaml("0.5", "--set"), nullptr);
  Box box;
  read_spec(tree, box);
  EXPECT_EQ(box.disk.kind, "sata");
  EXPECT_EQ(box.disk.gb_s, 0.5);
  EXPECT_THROW(set_path(tree, "disk..x", Yaml{}, nullptr), InputError);
  EXPECT_THROW(set_path(tree, "disk.kind.x", Yaml{}, nullptr), InputError);
}

}  // namespace
}  // namespace tessera
