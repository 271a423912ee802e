#include <fmt/format.h>

#include <cmath>

#include "models/base/overloaded.hpp"
#include "models/base/spec.hpp"
#include "models/base/text.hpp"

namespace tessera {
namespace {

Yaml plain(std::string text) {
  Yaml node;
  node.kind = Yaml::Kind::scalar;
  node.scalar = std::move(text);
  return node;
}
Yaml quoted(std::string text) {
  Yaml node = plain(std::move(text));
  node.quoted = true;
  return node;
}
Yaml numeral(double v) { return plain(shortest(v)); }
Yaml numeral(std::int64_t v) { return plain(std::to_string(v)); }

template <class T>
Yaml sourced(const Sourced<T>& v) {
  if (v.source.empty()) return numeral(v.value);
  Yaml node;
  node.kind = Yaml::Kind::map;
  node.map.push_back({"value", {}, numeral(v.value)});
  node.map.push_back({"source", {}, quoted(v.source)});
  return node;
}

Yaml value_of(const Fields::Slot& slot) {
  return std::visit(Overloaded{
                        [](bool* v) { return plain(*v ? "true" : "false"); },
                        [](int* v) { return numeral(static_cast<std::int64_t>(*v)); },
                        [](std::int64_t* v) { return numeral(*v); },
                        [](double* v) { return numeral(*v); },
                        [](std::string* v) { return quoted(*v); },
                        [](std::optional<std::int64_t>* v) { return *v ? numeral(**v) : Yaml{}; },
                        [](std::optional<double>* v) { return *v ? numeral(**v) : Yaml{}; },
                        [](Sourced<std::int64_t>* v) { return sourced(*v); },
                        [](Sourced<double>* v) { return sourced(*v); },
                    },
                    slot);
}

class Writer final : public Fields {
 public:
  Writer() {
    root.kind = Yaml::Kind::map;
    stack_.push_back(&root);
  }
  Yaml root;

 protected:
  void scalar(const char* key, Slot slot, const std::vector<std::string>&, const Doc&) override {
    put(key, value_of(slot));
  }
  bool enter(const char* key, const Doc&) override {
    Yaml node;
    node.kind = Yaml::Kind::map;
    stack_.push_back(put(key, std::move(node)));
    return true;
  }
  bool enter_optional(const char* key, bool present, const Doc& doc) override {
    return present && enter(key, doc);
  }
  bool enter_reference(const char* key, std::string& name, const char*, const Doc& doc) override {
    if (name == "auto" || name == "none") {
      put(key, plain(name));
      return false;
    }
    return enter(key, doc);
  }
  std::size_t enter_list(const char* key, std::size_t size, const Doc&) override {
    Yaml node;
    node.kind = Yaml::Kind::list;
    node.list.reserve(size);
    stack_.push_back(put(key, std::move(node)));
    return size;
  }
  void enter_item(std::size_t, bool is_struct) override {
    Yaml& list = *stack_.back();
    list.list.emplace_back();
    list.list.back().kind = is_struct ? Yaml::Kind::map : Yaml::Kind::null;
    stack_.push_back(&list.list.back());
  }
  void leave() override { stack_.pop_back(); }

 private:
  // Pointers stay valid: a map gains entries only while it is on top of the stack.
  Yaml* put(const char* key, Yaml node) {
    Yaml& here = *stack_.back();
    if (key[0] == '\0') {
      here = std::move(node);
      return &here;
    }
    here.map.push_back({key, {}, std::move(node)});
    return &here.map.back().value;
  }
  std::vector<Yaml*> stack_;
};

class Schema final : public Fields {
 public:
  std::vector<SchemaEntry> entries;

 protected:
  void scalar(const char* key, Slot slot, const std::vector<std::string>& options, const Doc& doc) override {
    const char* type = std::visit(Overloaded{
                                      [](bool*) { return "yes/no"; },
                                      [](int*) { return "integer"; },
                                      [](std::int64_t*) { return "integer"; },
                                      [](double*) { return "number"; },
                                      [](std::string*) { return "text"; },
                                      [](std::optional<std::int64_t>*) { return "integer or null"; },
                                      [](std::optional<double>*) { return "number or null"; },
                                      [](Sourced<std::int64_t>*) { return "integer or {value, source}"; },
                                      [](Sourced<double>*) { return "number or {value, source}"; },
                                  },
                                  slot);
    SchemaEntry& entry = add(key, options.empty() ? type : "one of", doc);
    const Yaml value = value_of(slot);
    entry.default_value = value.kind == Yaml::Kind::null ? "null" : value.scalar;
    entry.options = options;
    if (std::isfinite(doc.min)) entry.range = ">= " + shortest(doc.min);
    if (std::isfinite(doc.max)) entry.range += (entry.range.empty() ? "<= " : ", <= ") + shortest(doc.max);
  }
  bool enter(const char* key, const Doc& doc) override {
    add(key, "map", doc);
    stack_.push_back(path(key));
    return true;
  }
  bool enter_optional(const char* key, bool, const Doc& doc) override { return enter(key, doc); }
  bool enter_reference(const char* key, std::string& name, const char* folder, const Doc& doc) override {
    SchemaEntry& entry = add(key, fmt::format("name under configs/{0}, path or map", folder).c_str(), doc);
    entry.default_value = name;
    stack_.push_back(path(key));
    return true;
  }
  std::size_t enter_list(const char* key, std::size_t, const Doc& doc) override {
    add(key, "list", doc);
    stack_.push_back(path(key));
    return 1;  // one blank item shows the shape
  }
  void enter_item(std::size_t, bool) override { stack_.push_back(stack_.back() + "[]"); }
  void leave() override { stack_.pop_back(); }

 private:
  std::string path(const char* key) const {
    const std::string prefix = stack_.empty() ? "" : stack_.back();
    if (key[0] == '\0') return prefix;
    return prefix.empty() ? std::string(key) : prefix + "." + key;
  }
  SchemaEntry& add(const char* key, const char* type, const Doc& doc) {
    SchemaEntry entry;
    entry.path = path(key);
    entry.type = type;
    entry.unit = doc.unit;
    entry.doc = doc.doc;
    entry.required = doc.required;
    entries.push_back(std::move(entry));
    return entries.back();
  }
  std::vector<std::string> stack_;
};

bool plain_is_safe(const std::string& text) {
  if (text.empty() || text == "null" || text == "~" || text == "true" || text == "false") return false;
  for (const char c : text)
    if (!(std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == '.' || c == '/' ||
          c == ' ' || c == '+'))
      return false;
  const char first = text.front();
  return std::isalpha(static_cast<unsigned char>(first)) != 0 && text.back() != ' ';
}

void emit(const Yaml& node, int indent, std::string& out) {
  const std::string pad(static_cast<std::size_t>(indent), ' ');
  switch (node.kind) {
    case Yaml::Kind::null:
      out += " null\n";
      return;
    case Yaml::Kind::scalar:
      out += ' ';
      if (!node.quoted || plain_is_safe(node.scalar)) {
        out += node.scalar;
      } else {
        out += '"';
        for (const char c : node.scalar) {
          if (c == '"' || c == '\\') out += '\\';
          if (const auto byte = static_cast<unsigned char>(c); byte < 0x20)
            out += fmt::format("\\x{:02x}", byte);  // raw, line ends fold and the rest is refused
          else
            out += c;
        }
        out += '"';
      }
      out += '\n';
      return;
    case Yaml::Kind::map:
      if (node.map.empty()) {
        out += " {}\n";
        return;
      }
      out += '\n';
      for (const Yaml::Entry& entry : node.map) {
        out += pad + entry.key + ":";
        emit(entry.value, indent + 2, out);
      }
      return;
    case Yaml::Kind::list:
      if (node.list.empty()) {
        out += " []\n";
        return;
      }
      out += '\n';
      for (const Yaml& item : node.list) {
        out += pad + "-";
        emit(item, indent + 2, out);
      }
      return;
  }
}

}  // namespace

Yaml to_yaml(DescribeThunk describe, void* spec) {
  Writer writer;
  describe(spec, writer);
  return std::move(writer.root);
}

std::vector<SchemaEntry> schema_of(DescribeThunk describe, void* spec) {
  Schema schema;
  describe(spec, schema);
  return std::move(schema.entries);
}

std::string emit_yaml(const Yaml& tree) {
  std::string out;
  emit(tree, 0, out);
  if (!out.empty() && out.front() == '\n') out.erase(0, 1);
  return out;
}

}  // namespace tessera
