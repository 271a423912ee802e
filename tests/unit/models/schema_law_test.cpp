// What `config schema` says of a key, reading a file keeps to: for every key of every kind of config file, a
// value beyond its range, of another kind or under a misspelt name is refused with the key and what was
// expected.
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "models/base/text.hpp"
#include "models/hardware/fabric.hpp"
#include "models/hardware/hbm.hpp"
#include "models/hardware/tier_device.hpp"
#include "sim/serving/run_config.hpp"

namespace tessera {
namespace {

// One shipped file of a kind, written out with all its keys.
struct Subject {
  std::string name;
  Yaml tree;
  std::vector<SchemaEntry> schema;
  std::function<void(const Yaml&)> read;
};

template <class T>
Subject subject(const std::string& name, const T& value) {
  return {name, to_yaml(value), schema_of<T>(), [](const Yaml& tree) {
            T spec;
            read_spec(tree, spec);
          }};
}

RunConfig run_with_everything() {
  return load_run_config(
      TESSERA_SOURCE_DIR "/configs/quickstart.yaml",
      {"fabric=dgx-h100", "trace.closed_loop={concurrency: 4}", "memory.host_link=pcie5-h100",
       "memory.tiers=[{name: far, device: rdma-400g, capacity_gib: 4, compression: {ratio: "
       "2}}]"},
      "");
}

std::vector<Subject> subjects() {
  std::vector<Subject> all;
  all.push_back(subject("gpu", load_gpu("h100-sxm")));
  for (const char* model : {"gemma-3n-e4b", "deepseek-v3.2", "jamba-v0.1", "qwen3-30b-a3b"})
    all.push_back(subject(model, load_model(model)));
  all.push_back(subject("engine", load_engine_profile("vllm-0.19")));
  all.push_back(subject("fabric", read_config<FabricSpec>("fabrics", "dgx-h100")));
  all.push_back(subject("tier", read_config<TierDevice>("tiers", "pcie5-h100")));
  all.push_back(subject("memory", read_config<HbmSpec>("memories", "hbm3-6.4")));
  all.push_back(subject("run", run_with_everything()));
  return all;
}

std::string error_of(const Subject& subject, const Yaml& tree) {
  try {
    subject.read(tree);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

// "kinds[].window" as --set writes it, "kinds.0.window", or as messages do, "kinds[0].window".
std::string first_item(std::string path, const char* index) {
  for (std::size_t at = 0; (at = path.find("[]", at)) != std::string::npos;) path.replace(at, 2, index);
  return path;
}

// The map that holds the key, if the file has it at all; optional groups may be absent.
Yaml* holder(Yaml& tree, const std::string& path, std::string& key) {
  Yaml* node = &tree;
  std::size_t begin = 0;
  for (std::size_t dot; (dot = path.find('.', begin)) != std::string::npos; begin = dot + 1) {
    const std::string step = path.substr(begin, dot - begin);
    if (node->kind == Yaml::Kind::list)
      node = step == "0" && !node->list.empty() ? &node->list.front() : nullptr;
    else
      node = node->find(step);
    if (node == nullptr) return nullptr;
  }
  key = path.substr(begin);
  return node->kind == Yaml::Kind::map && node->find(key) != nullptr ? node : nullptr;
}

std::string with(const Subject& subject, const std::string& path, const std::string& value) {
  Yaml tree = subject.tree;
  set_path(tree, path, parse_yaml(value, "--set"), nullptr);
  return error_of(subject, tree);
}

// Visits every scalar key the file holds.
void each_key(
    const Subject& subject,
    const std::function<void(const SchemaEntry&, const std::string& path, const std::string& shown)>& visit) {
  for (const SchemaEntry& entry : subject.schema) {
    const std::string path = first_item(entry.path, ".0");
    Yaml tree = subject.tree;
    std::string key;
    if (holder(tree, path, key) == nullptr) continue;
    visit(entry, path, first_item(entry.path, "[0]"));
  }
}

bool is_number(const SchemaEntry& e) { return e.type.starts_with("integer") || e.type.starts_with("number"); }

// The bound behind ">= " or "<= ", or nothing.
std::optional<double> bound(const SchemaEntry& e, const char* sign) {
  const std::size_t at = e.range.find(sign);
  if (at == std::string::npos) return std::nullopt;
  return std::stod(e.range.substr(at + 3));
}

TEST(SchemaLaw, EveryKindOfFileReadsBackAsItIsWritten) {
  for (const Subject& subject : subjects())
    EXPECT_EQ(error_of(subject, subject.tree), "no error") << subject.name;
}

TEST(SchemaLaw, EveryNumberIsRefusedBeyondEitherEndOfItsRange) {
  int tried = 0;
  for (const Subject& subject : subjects())
    each_key(subject, [&](const SchemaEntry& e, const std::string& path, const std::string& shown) {
      if (!is_number(e)) return;
      const auto expect = [&](double value) {
        ++tried;
        const std::string text = fmt::format("{:.17g}", value);
        const std::string message = with(subject, path, text);
        EXPECT_NE(message.find(shown + ": " + text + " is out of range, expected a number"),
                  std::string::npos)
            << subject.name << ": " << message;
        if (!e.unit.empty()) {
          EXPECT_NE(message.find("of " + e.unit), std::string::npos) << message;
        }
      };
      if (const auto least = bound(e, ">= ")) expect(*least - 1);
      if (const auto most = bound(e, "<= ")) expect(*most * 2 + 1);
    });
  EXPECT_GT(tried, 500) << "ranges of hundreds of keys, so a key without one stands out";
}

TEST(SchemaLaw, WhatIsNoNumberIsNotTakenForOne) {
  for (const Subject& subject : subjects())
    each_key(subject, [&](const SchemaEntry& e, const std::string& path, const std::string& shown) {
      if (!is_number(e)) return;
      const std::string unit = e.unit.empty() ? "" : " of " + e.unit;
      for (const char* value : {"fast", "nan", "inf", "1GB", "0x10", "'1'", "[1]"}) {
        const std::string message = with(subject, path, value);
        EXPECT_NE(message.find(shown + ": "), std::string::npos) << value << ": " << message;
        EXPECT_NE(message.find("expected a number" + unit), std::string::npos) << value << ": " << message;
      }
    });
}

TEST(SchemaLaw, CountsAreWholeAndExact) {
  for (const Subject& subject : subjects())
    each_key(subject, [&](const SchemaEntry& e, const std::string& path, const std::string&) {
      if (!e.type.starts_with("integer")) return;
      const double low = bound(e, ">= ").value_or(0);
      const std::string half = with(subject, path, fmt::format("{:.17g}", low + 0.5));
      EXPECT_NE(half.find("expected a whole number"), std::string::npos) << path << ": " << half;
      const std::string huge = with(subject, path, "1e18");  // above 2^53, where counts are no longer exact
      EXPECT_NE(huge.find("out of range"), std::string::npos) << path << ": " << huge;
    });
}

TEST(SchemaLaw, AChoiceListsItsOptionsAndTheNearest) {
  for (const Subject& subject : subjects())
    each_key(subject, [&](const SchemaEntry& e, const std::string& path, const std::string& shown) {
      if (e.options.empty()) return;
      const std::string& longest =
          *std::max_element(e.options.begin(), e.options.end(),
                            [](const std::string& a, const std::string& b) { return a.size() < b.size(); });
      const std::string message = with(subject, path, longest + "q");
      EXPECT_NE(
          message.find(shown + ": '" + longest + "q' is not known, expected one of " + join(e.options, ", ")),
          std::string::npos)
          << message;
      EXPECT_NE(message.find("did you mean '" + longest + "'?"), std::string::npos) << message;
    });
}

TEST(SchemaLaw, AMisspeltKeySuggestsItself) {
  for (const Subject& subject : subjects())
    each_key(subject, [&](const SchemaEntry&, const std::string& path, const std::string& shown) {
      Yaml tree = subject.tree;
      std::string key;
      Yaml* map = holder(tree, path, key);
      for (Yaml::Entry& entry : map->map)
        if (entry.key == key) entry.key += "x";
      const std::string message = error_of(subject, tree);
      EXPECT_NE(message.find(shown + "x: unknown key"), std::string::npos) << subject.name << ": " << message;
      EXPECT_NE(message.find("did you mean '" + key + "'?"), std::string::npos)
          << subject.name << ": " << message;
    });
}

TEST(SchemaLaw, EveryKeyIsExplained) {
  for (const Subject& subject : subjects())
    for (const SchemaEntry& e : subject.schema) {
      EXPECT_FALSE(e.doc.empty()) << subject.name << ' ' << e.path;
      for (const char* suffix : {"_us", "_ms", "_ns", "_gb_s", "_gib", "_kib", "_bytes", "_mhz", "_tokens"})
        if (e.path.ends_with(suffix) && is_number(e)) {
          EXPECT_FALSE(e.unit.empty()) << subject.name << ' ' << e.path << ": its name has a unit";
        }
    }
}

}  // namespace
}  // namespace tessera
