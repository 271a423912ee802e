// Config text: any tree that can be written reads back the same, and no text does worse than an InputError.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "models/base/error.hpp"
#include "models/base/spec.hpp"

namespace tessera {
namespace {

struct Words {
  std::string title;
  Sourced<double> rate;
  std::vector<std::string> names;
  std::vector<double> numbers;
  std::int64_t count = 0;
  bool on = false;
  std::optional<double> maybe;
  void describe(Fields& f) {
    f.field("title", title, {.doc = "text"});
    f.field("rate", rate, {.doc = "a number", .unit = "GB/s"});
    f.list("names", names, {.doc = "texts"});
    f.list("numbers", numbers, {.doc = "numbers"});
    f.field("count", count, {.doc = "a count"});
    f.field("on", on, {.doc = "a switch"});
    f.field("maybe", maybe, {.doc = "a number or null"});
  }
};

// Letters, what YAML gives a meaning, what a terminal does, and letters beyond ASCII.
std::string any_text() {
  const auto piece = rc::gen::element<std::string>(
      "a", "Z", "7", " ", "  ", ":", ": ", "#", " #", "-", "- ", "'", "\"", "\\", "\\n", "{", "}", "[", "]",
      ",", "&", "*", "!", "|", ">", "%", "@", "`", "?", "~", "null", "true", "1e5", "0x1", "\n", "\t", "\r",
      "\r\n", "\x01", "\x1b[31m", "\x7f", "\xc3\xa9", "\xe4\xb8\xad", "\xf0\x9f\x98\x80");
  std::string text;
  for (const std::string& p : *rc::gen::container<std::vector<std::string>>(piece)) text += p;
  return text;
}
double any_number() {
  return *rc::gen::element(0.0, -0.0, 1.0, -1.5, 0.1, 1.0 / 3, 1e-300, 5e-324, 1.7976931348623157e308,
                           123456789.125);
}

TEST(ConfigText, WhatIsWrittenReadsBackTheSame) {
  EXPECT_TRUE(rc::check([] {
    Words words;
    words.title = any_text();
    words.rate = {any_number(), any_text()};
    for (int i = *rc::gen::inRange(0, 4); i > 0; --i) words.names.push_back(any_text());
    for (int i = *rc::gen::inRange(0, 4); i > 0; --i) words.numbers.push_back(any_number());
    words.count = *rc::gen::inRange<std::int64_t>(-(std::int64_t{1} << 53), std::int64_t{1} << 53);
    words.on = *rc::gen::arbitrary<bool>();
    if (*rc::gen::arbitrary<bool>()) words.maybe = any_number();
    const std::string text = emit_yaml(to_yaml(words));
    Words again;
    read_spec(parse_yaml(text, "words.yaml"), again);
    RC_ASSERT(again.title == words.title);
    RC_ASSERT(again.rate.value == words.rate.value);
    RC_ASSERT(again.rate.source == words.rate.source);
    RC_ASSERT(again.names == words.names);
    RC_ASSERT(again.numbers == words.numbers);
    RC_ASSERT(again.count == words.count);
    RC_ASSERT(again.on == words.on);
    RC_ASSERT(again.maybe == words.maybe);
    RC_ASSERT(emit_yaml(to_yaml(again)) == text);
  }));
}

TEST(ConfigText, NoTextDoesWorseThanAnInputErrorWithItsPlace) {
  EXPECT_TRUE(rc::check([] {
    const std::string text = "title: a\n" + any_text() + any_text() + any_text();
    try {
      Words words;
      read_spec(parse_yaml(text, "words.yaml"), words);
    } catch (const InputError& error) {
      RC_ASSERT(std::string(error.what()).rfind("words.yaml:", 0) == 0);
    }
  }));
}

TEST(ConfigText, APathSetIsThePathRead) {
  EXPECT_TRUE(rc::check([] {
    // Maps of maps by random paths of two letters; what was set last at a path is there.
    Yaml tree = parse_yaml("{}", "tree.yaml");
    std::vector<std::pair<std::string, std::string>> set;
    for (int i = *rc::gen::inRange(1, 12); i > 0; --i) {
      std::string path;
      for (int depth = 3; depth > 0; --depth)
        path += std::string(path.empty() ? "" : ".") + *rc::gen::element('a', 'b');
      set.emplace_back(path, std::to_string(i));
      set_path(tree, path, parse_yaml(set.back().second, "--set"), nullptr);
    }
    for (std::size_t i = 0; i < set.size(); ++i) {
      const auto later = std::find_if(set.begin() + static_cast<std::ptrdiff_t>(i) + 1, set.end(),
                                      [&](const auto& other) { return other.first == set[i].first; });
      if (later != set.end()) continue;
      const Yaml* node = &tree;
      for (const char key : {set[i].first[0], set[i].first[2], set[i].first[4]}) {
        node = node->find(std::string(1, key));
        RC_ASSERT(node != nullptr);
      }
      RC_ASSERT(node->scalar == set[i].second);
    }
  }));
}

}  // namespace
}  // namespace tessera
