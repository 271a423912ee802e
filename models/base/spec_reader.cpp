#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <deque>
#include <filesystem>

#include "models/base/overloaded.hpp"
#include "models/base/spec.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

bool parse_number(const std::string& text, double& out) {
  // from_chars accepts "inf"/"nan"; refuse them here so that no range check is needed for them later.
  const char* begin = text.data();
  const char* end = begin + text.size();
  if (begin != end && *begin == '+') ++begin;
  const auto [stop, error] = std::from_chars(begin, end, out);
  return error == std::errc{} && stop == end && std::isfinite(out);
}

std::string range_text(const Doc& doc) {
  if (std::isfinite(doc.min) && std::isfinite(doc.max))
    return fmt::format("from {} to {}", shortest(doc.min), shortest(doc.max));
  if (std::isfinite(doc.min)) return fmt::format("at least {}", shortest(doc.min));
  if (std::isfinite(doc.max)) return fmt::format("at most {}", shortest(doc.max));
  return "";
}

class Reader final : public Fields {
 public:
  explicit Reader(const Yaml& root) {
    if (root.kind != Yaml::Kind::map)
      throw InputError(root.at.line > 0 ? root.at : Location{root.at.file, 1, 1},
                       fmt::format("holds {}, expected a map of keys", root.kind_name()));
    stack_.push_back({.node = &root, .path = "", .is_map = true});
  }

  void finish() { refuse_unknown(); }

  void check(bool holds, const char* key, const std::string& problem) override {
    if (holds || incomplete()) return;
    refuse_misspelt();
    const Yaml* node = key[0] != '\0' ? top().node->find(key) : nullptr;
    throw InputError(node != nullptr ? node->at : top().node->at,
                     key[0] != '\0' ? path(key) + ": " + problem : problem);
  }

 protected:
  void scalar(const char* key, Slot slot, const std::vector<std::string>& options, const Doc& doc) override {
    const Yaml* node = take(key, doc);
    if (node == nullptr) {
      if (doc.required && incomplete()) stand_in(slot, options, doc);
      return;
    }
    std::visit(
        Overloaded{
            [&](bool* v) { *v = yes_no(*node, key); },
            [&](int* v) { *v = static_cast<int>(integer(*node, key, doc, std::numeric_limits<int>::max())); },
            [&](std::int64_t* v) { *v = integer(*node, key, doc); },
            [&](double* v) { *v = number(*node, key, doc); },
            [&](std::string* v) { *v = text(*node, key, options); },
            [&](std::optional<std::int64_t>* v) {
              if (node->kind == Yaml::Kind::null)
                v->reset();
              else
                *v = integer(*node, key, doc);
            },
            [&](std::optional<double>* v) {
              if (node->kind == Yaml::Kind::null)
                v->reset();
              else
                *v = number(*node, key, doc);
            },
            [&](Sourced<std::int64_t>* v) { sourced(*node, key, doc, *v); },
            [&](Sourced<double>* v) { sourced(*node, key, doc, *v); },
        },
        slot);
  }

  bool enter(const char* key, const Doc& doc) override {
    const Yaml* node = take(key, doc);
    if (node == nullptr) return enter_missing(key, doc);
    if (node->kind == Yaml::Kind::null) return false;
    need_map(*node, key);
    stack_.push_back({.node = node, .path = path(key), .is_map = true});
    return true;
  }

  bool enter_optional(const char* key, bool, const Doc& doc) override { return enter(key, doc); }

  bool enter_reference(const char* key, std::string& name, const char* folder, const Doc& doc) override {
    const Yaml* node = take(key, doc);
    if (node == nullptr) return enter_missing(key, doc);
    if (node->kind == Yaml::Kind::null) return false;
    if (node->kind == Yaml::Kind::scalar) {
      name = node->scalar;
      if (name == "auto" || name == "none") return false;
      loaded_.push_back(load_config(folder, name, node->at));
      node = &loaded_.back();
    } else {
      need_map(*node, key);
      if (const Yaml* own = node->find("name")) name = own->scalar;
    }
    stack_.push_back({.node = node, .path = path(key), .is_map = true});
    return true;
  }

  std::size_t enter_list(const char* key, std::size_t size, const Doc& doc) override {
    const Yaml* node = take(key, doc);
    static const Yaml kNothing;
    if (node == nullptr) {  // keep the default: its items are not visited as nodes
      stack_.push_back({.node = nullptr, .path = path(key)});
      return size;
    }
    if (node->kind == Yaml::Kind::null) node = &kNothing;
    if (node->kind != Yaml::Kind::list && node->kind != Yaml::Kind::null)
      throw InputError(node->at, fmt::format("{}: {}, expected a list [..]", path(key), node->kind_name()));
    stack_.push_back({.node = node, .path = path(key)});
    return node->list.size();
  }

  void enter_item(std::size_t index, bool is_struct) override {
    const Level& list = top();
    const std::string item_path = fmt::format("{}[{}]", list.path, index);
    if (list.node == nullptr) {
      stack_.push_back({.node = nullptr, .path = item_path});
      return;
    }
    const Yaml& node = list.node->list[index];
    if (is_struct && node.kind != Yaml::Kind::map)
      throw InputError(node.at, fmt::format("{}: {}, expected a map of keys", item_path, node.kind_name()));
    stack_.push_back({.node = &node, .path = item_path, .is_map = is_struct});
  }

  void leave() override {
    refuse_unknown();
    stack_.pop_back();
  }

 private:
  // A required key that is missing is told when its map has been read: only then is it known whether one of
  // the map's keys is unknown, most likely a misspelling of it. Until then the values it would have given are
  // stand-ins inside their ranges, and rules across keys are not looked at.
  struct Level {
    const Yaml* node = nullptr;
    std::string path;
    std::vector<std::string> known = {};
    bool is_map = false;
    bool absent = false;  // a missing required group: its keys are known, none is there
    std::vector<std::string> missing = {};
    std::string problem = "";  // the first missing key in words
  };

  Level& top() { return stack_.back(); }
  bool incomplete() { return top().absent || !top().missing.empty(); }

  bool enter_missing(const char* key, const Doc& doc) {
    if (!doc.required || !incomplete()) return false;
    stack_.push_back({.node = nullptr, .path = path(key), .absent = true});
    return true;
  }

  static void stand_in(const Slot& slot, const std::vector<std::string>& options, const Doc& doc) {
    const double one = std::min(std::max(1.0, doc.min), doc.max);
    const auto whole = [one] { return static_cast<std::int64_t>(one); };
    std::visit(Overloaded{
                   [](bool*) {},
                   [&](int* v) { *v = static_cast<int>(whole()); },
                   [&](std::int64_t* v) { *v = whole(); },
                   [&](double* v) { *v = one; },
                   [&](std::string* v) { *v = options.empty() ? "" : options.front(); },
                   [&](std::optional<std::int64_t>* v) { *v = whole(); },
                   [&](std::optional<double>* v) { *v = one; },
                   [&](Sourced<std::int64_t>* v) { v->value = whole(); },
                   [&](Sourced<double>* v) { v->value = one; },
               },
               slot);
  }

  std::string path(const char* key) {
    if (key[0] == '\0') return top().path;
    return top().path.empty() ? std::string(key) : top().path + "." + key;
  }

  const Yaml* take(const char* key, const Doc& doc) {
    Level& level = top();
    if (key[0] == '\0') return level.node;
    level.known.emplace_back(key);
    if (level.node == nullptr) return nullptr;
    const Yaml* node = level.node->find(key);
    if (node == nullptr && doc.required) {
      if (level.missing.empty())
        level.problem = fmt::format("{}: missing, expected {}{}", path(key), doc.doc,
                                    *doc.unit != '\0' ? fmt::format(" in {}", doc.unit) : "");
      level.missing.emplace_back(key);
    }
    return node;
  }

  // A rule that is broken for want of a key which stands there misspelt. Keys may follow that are not
  // described yet, so only those are taken for it that are near one described and absent.
  void refuse_misspelt() {
    const Level& level = top();
    if (!level.is_map || level.node == nullptr) return;
    std::vector<std::string> absent;
    for (const std::string& key : level.known)
      if (level.node->find(key) == nullptr) absent.push_back(key);
    for (const Yaml::Entry& entry : level.node->map) {
      if (std::find(level.known.begin(), level.known.end(), entry.key) != level.known.end()) continue;
      if (const std::string meant = did_you_mean(entry.key, absent); !meant.empty())
        throw InputError(entry.at, fmt::format("{}: unknown key{}", path(entry.key.c_str()), meant));
    }
  }

  void refuse_unknown() {
    const Level& level = top();
    if (!level.is_map || level.node == nullptr) return;
    for (const Yaml::Entry& entry : level.node->map)
      if (std::find(level.known.begin(), level.known.end(), entry.key) == level.known.end()) {
        // Of equally near names the missing one is meant.
        std::vector<std::string> candidates = level.missing;
        candidates.insert(candidates.end(), level.known.begin(), level.known.end());
        throw InputError(entry.at, fmt::format("{}{}: unknown key, expected one of {}{}",
                                               level.path.empty() ? "" : level.path + ".", entry.key,
                                               join(level.known, ", "), did_you_mean(entry.key, candidates)));
      }
    if (!level.missing.empty()) throw InputError(level.node->at, level.problem);
  }

  void need_map(const Yaml& node, const char* key) {
    if (node.kind != Yaml::Kind::map)
      throw InputError(node.at, fmt::format("{}: {}, expected a map of keys", path(key), node.kind_name()));
  }

  [[noreturn]] void wrong(const Yaml& node, const char* key, const std::string& expected) {
    const std::string found = node.kind == Yaml::Kind::scalar ? "'" + node.scalar + "'" : node.kind_name();
    throw InputError(node.at, fmt::format("{}: {} is not valid, expected {}", path(key), found, expected));
  }

  bool yes_no(const Yaml& node, const char* key) {
    if (node.scalar == "true" || node.scalar == "yes" || node.scalar == "on") return true;
    if (node.scalar == "false" || node.scalar == "no" || node.scalar == "off") return false;
    wrong(node, key, "true or false");
  }

  double number(const Yaml& node, const char* key, const Doc& doc) {
    double value = 0;
    const std::string unit = *doc.unit != '\0' ? fmt::format(" of {}", doc.unit) : "";
    if (node.kind != Yaml::Kind::scalar || node.quoted || !parse_number(node.scalar, value))
      wrong(node, key, fmt::format("a number{}", unit));
    if (!(value >= doc.min && value <= doc.max))
      throw InputError(node.at, fmt::format("{}: {} is out of range, expected a number{} {}", path(key),
                                            node.scalar, unit, range_text(doc)));
    return value;
  }

  std::int64_t integer(const Yaml& node, const char* key, const Doc& doc,
                       double limit = 9007199254740992.0 /* 2^53: exact in a double */) {
    const double value = number(node, key, doc);
    if (value != std::floor(value)) wrong(node, key, "a whole number");
    if (std::abs(value) > limit)
      throw InputError(node.at, fmt::format("{}: {} is out of range, expected at most {:.0f}", path(key),
                                            node.scalar, limit));
    return static_cast<std::int64_t>(value);
  }

  std::string text(const Yaml& node, const char* key, const std::vector<std::string>& options) {
    if (node.kind != Yaml::Kind::scalar) {
      wrong(node, key, options.empty() ? "text" : "one of " + join(options, ", "));
    }
    if (!options.empty()) {
      for (const std::string& option : options)
        if (option == node.scalar) return option;
      throw InputError(node.at,
                       fmt::format("{}: '{}' is not known, expected one of {}{}", path(key), node.scalar,
                                   join(options, ", "), did_you_mean(node.scalar, options)));
    }
    return node.scalar;
  }

  template <class T>
  void sourced(const Yaml& node, const char* key, const Doc& doc, Sourced<T>& out) {
    const Yaml* value = &node;
    if (node.kind == Yaml::Kind::map) {
      static const std::vector<std::string> kKeys{"value", "source"};
      for (const Yaml::Entry& entry : node.map)
        if (entry.key != "value" && entry.key != "source")
          throw InputError(entry.at, fmt::format("{}.{}: unknown key, expected value and source{}", path(key),
                                                 entry.key, did_you_mean(entry.key, kKeys)));
      value = node.find("value");
      if (value == nullptr) throw InputError(node.at, fmt::format("{}: missing 'value'", path(key)));
      if (const Yaml* source = node.find("source")) out.source = source->scalar;
    }
    if constexpr (std::is_same_v<T, double>)
      out.value = number(*value, key, doc);
    else
      out.value = integer(*value, key, doc);
  }

  std::vector<Level> stack_;
  std::deque<Yaml> loaded_;  // referenced files; Levels point into them
};

}  // namespace

void read_spec(const Yaml& document, DescribeThunk describe, void* spec) {
  Reader reader(document);
  describe(spec, reader);
  reader.finish();
}

Yaml load_config(const char* folder, const std::string& name_or_path, const Location& asked_at) {
  namespace fs = std::filesystem;
  const bool is_path = name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".yaml");
  if (is_path) {
    // A relative path means: beside the file that names it, else from here.
    const fs::path beside = fs::path(asked_at.file).parent_path() / name_or_path;
    std::error_code ignored;
    if (fs::path(name_or_path).is_relative() && fs::is_regular_file(beside, ignored))
      return load_yaml(beside.string());
    if (!fs::is_regular_file(name_or_path, ignored))
      throw InputError(asked_at, fmt::format("'{}': no such file", name_or_path));
    return load_yaml(name_or_path);
  }
  const std::vector<std::string> names = config_names(folder);
  for (const std::string& name : names)
    if (name == name_or_path) return load_yaml(config_root() + "/" + folder + "/" + name + ".yaml");
  throw InputError(
      asked_at, fmt::format("'{}' is not known, expected a name under configs/{}, a path or an inline map{}",
                            name_or_path, folder, did_you_mean(name_or_path, names)));
}

}  // namespace tessera
