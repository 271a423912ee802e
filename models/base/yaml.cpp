#include "models/base/yaml.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace tessera {
namespace {

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxBytes = 16u << 20;

class TreeBuilder final : public YAML::EventHandler {
 public:
  explicit TreeBuilder(std::string file) : file_(std::move(file)) {}

  Yaml root;

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    refuse_anchor(mark, anchor);
    Yaml node;
    node.at = where(mark);
    add(std::move(node));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw InputError(where(mark), "aliases (*name) are not supported, expected the value itself");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_anchor(mark, anchor);
    Yaml node;
    node.kind = Yaml::Kind::scalar;
    node.scalar = value;
    node.quoted = tag == "!";  // yaml-cpp's tag of a quoted scalar
    if (!node.quoted && (value == "null" || value == "~")) node.kind = Yaml::Kind::null;
    node.at = where(mark);
    add(std::move(node));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    refuse_anchor(mark, anchor);
    open(Yaml::Kind::list, mark);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    refuse_anchor(mark, anchor);
    open(Yaml::Kind::map, mark);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Yaml node;
    bool has_key = false;
    std::string key;
    Location key_at;
  };

  Location where(const YAML::Mark& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

  void refuse_anchor(const YAML::Mark& mark, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor)
      throw InputError(where(mark), "anchors (&name) are not supported, expected a plain value");
  }

  void open(Yaml::Kind kind, const YAML::Mark& mark) {
    if (open_.size() >= kMaxDepth)
      throw InputError(where(mark), fmt::format("nested deeper than {} levels", kMaxDepth));
    Open level;
    level.node.kind = kind;
    level.node.at = where(mark);
    open_.push_back(std::move(level));
  }

  void close() {
    Yaml node = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(node));
  }

  void add(Yaml node) {
    if (open_.empty()) {
      root = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == Yaml::Kind::list) {
      parent.node.list.push_back(std::move(node));
    } else if (!parent.has_key) {
      if (node.kind == Yaml::Kind::map || node.kind == Yaml::Kind::list)
        throw InputError(node.at, "a key must be a plain word");
      if (const Yaml* twin = parent.node.find(node.scalar))
        throw InputError(
            node.at, fmt::format("{}: duplicate key, first given on line {}", node.scalar, twin->at.line));
      parent.has_key = true;
      parent.key = node.scalar;
      parent.key_at = node.at;
    } else {
      parent.has_key = false;
      parent.node.map.push_back({std::move(parent.key), std::move(parent.key_at), std::move(node)});
    }
  }

  std::string file_;
  std::vector<Open> open_;
};

}  // namespace

const Yaml* Yaml::find(std::string_view key) const {
  for (const Entry& entry : map)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

Yaml* Yaml::find(std::string_view key) {
  return const_cast<Yaml*>(static_cast<const Yaml*>(this)->find(key));
}

const char* Yaml::kind_name() const {
  switch (kind) {
    case Kind::null:
      return "nothing";
    case Kind::scalar:
      return "a value";
    case Kind::map:
      return "a map";
    case Kind::list:
      return "a list";
  }
  return "?";
}

Yaml parse_yaml(std::string_view text, const std::string& file) {
  if (text.size() > kMaxBytes) throw InputError({file, 0, 0}, "larger than 16 MiB, which no config is");
  int line = 1;
  for (const char c : text) {
    line += c == '\n';
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t')
      throw InputError({file, line, 0}, "contains binary bytes, expected YAML text");
  }
  // yaml-cpp 0.7 recurses without a bound on flow collections; brackets bound the depth from above.
  std::size_t depth = 0;
  line = 1;
  for (const char c : text) {
    line += c == '\n';
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (depth > kMaxDepth)
      throw InputError({file, line, 0}, fmt::format("nested deeper than {} levels", kMaxDepth));
  }
  try {
    std::istringstream in{std::string(text)};
    YAML::Parser parser(in);
    TreeBuilder builder(file);
    parser.HandleNextDocument(builder);
    TreeBuilder rest(file);
    if (parser.HandleNextDocument(rest))
      throw InputError(rest.root.at, "a second YAML document, expected one per file");
    if (builder.root.at.line == 0) builder.root.at = {file, 1, 1};  // an empty document
    return std::move(builder.root);
  } catch (const YAML::Exception& error) {
    throw InputError({file, error.mark.line + 1, error.mark.column + 1}, "not valid YAML: " + error.msg);
  }
}

std::string read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    throw InputError({path, 0, 0}, "is a directory, expected a file");
  std::ifstream in(path, std::ios::binary);
  if (!in) throw InputError({path, 0, 0}, "cannot open the file");
  std::string text{std::istreambuf_iterator<char>(in), {}};
  return text;
}

Yaml load_yaml(const std::string& path) { return parse_yaml(read_file(path), path); }

void set_path(Yaml& root, std::string_view path, Yaml value, ExpandReference expand) {
  Yaml* node = &root;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t dot = path.find('.', begin);
    const std::string_view key = path.substr(begin, dot == std::string_view::npos ? dot : dot - begin);
    const std::string_view walked = path.substr(0, begin == 0 ? 0 : begin - 1);
    if (key.empty())
      throw InputError({"--set", 0, 0},
                       fmt::format("'{}': empty key in the path, expected a.b.c=value", path));
    if (node->kind == Yaml::Kind::scalar && expand != nullptr) *node = expand(walked, *node);
    Yaml* next = nullptr;
    if (node->kind == Yaml::Kind::list) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc{} || end != key.data() + key.size() || index >= node->list.size())
        throw InputError({"--set", 0, 0},
                         fmt::format("'{}': '{}' is not an index below {}", path, key, node->list.size()));
      next = &node->list[index];
    } else {
      if (node->kind == Yaml::Kind::scalar)
        throw InputError({"--set", 0, 0}, fmt::format("'{}': '{}' holds a value, not a map", path, walked));
      node->kind = Yaml::Kind::map;
      next = node->find(key);
      if (next == nullptr) {
        node->map.push_back({std::string(key), value.at, Yaml{}});
        next = &node->map.back().value;
        next->at = value.at;
      }
    }
    if (dot == std::string_view::npos) {
      *next = std::move(value);
      return;
    }
    node = next;
    begin = dot + 1;
  }
}

}  // namespace tessera
