// One description of a struct gives parsing, errors, defaults, schema, docs and the written-back form.
//
//   struct Disk {
//     double gb_s = 2;
//     std::string kind = "nvme";
//     void describe(Fields& f) {
//       f.field("gb_s", gb_s, {.doc = "sequential read rate", .unit = "GB/s", .min = 0.001});
//       f.choice("kind", kind, {"nvme", "sata"}, {.doc = "interface"});
//       f.check(kind != "sata" || gb_s <= 0.6, "gb_s", "SATA cannot pass 0.6 GB/s");
//     }
//   };
//   Disk disk;
//   read_spec(parse_yaml(text, "disk.yaml"), disk);   // throws InputError with file:line:column
//
// Unknown keys, wrong types, missing required keys and values out of range are errors that name the
// key, what was expected and the nearest known name.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "models/base/yaml.hpp"

namespace tessera {

struct Doc {
  const char* doc = "";
  const char* unit = "";
  double min = -std::numeric_limits<double>::infinity();  // inclusive
  double max = std::numeric_limits<double>::infinity();   // inclusive
  bool required = false;
};

// A number that carries where it came from: `key: {value: 3352, source: datasheet}`.
// A plain number is accepted too; its source is then that of the enclosing section.
template <class T>
struct Sourced {
  T value{};
  std::string source;
  operator T() const { return value; }  // NOLINT(google-explicit-constructor): reads as the number
};

// A struct that may be written in place or named: `gpu: h100-sxm` reads configs/gpus/h100-sxm.yaml.
template <class T>
struct Ref {
  std::string name;
  T value;
  const T* operator->() const { return &value; }
  T* operator->() { return &value; }
  const T& operator*() const { return value; }
};

class Fields {
 public:
  using Slot = std::variant<bool*, int*, std::int64_t*, double*, std::string*, std::optional<std::int64_t>*,
                            std::optional<double>*, Sourced<std::int64_t>*, Sourced<double>*>;
  Fields() = default;
  Fields(const Fields&) = delete;
  Fields& operator=(const Fields&) = delete;
  virtual ~Fields() = default;

  template <class T>
  void field(const char* key, T& value, const Doc& doc) {
    scalar(key, Slot(&value), {}, doc);
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& options, const Doc& doc) {
    scalar(key, Slot(&value), options, doc);
  }
  template <class T>
  void group(const char* key, T& value, const Doc& doc) {
    if (!enter(key, doc)) return;
    value.describe(*this);
    leave();
  }
  // A group that is either wholly there or absent.
  template <class T>
  void optional_group(const char* key, std::optional<T>& value, const Doc& doc) {
    if (!enter_optional(key, value.has_value(), doc)) return;
    if (!value) value.emplace();
    value->describe(*this);
    leave();
  }
  template <class T>
  void reference(const char* key, Ref<T>& value, const char* folder, const Doc& doc) {
    if (!enter_reference(key, value.name, folder, doc)) return;
    value.value.describe(*this);
    leave();
  }
  // A list of structs or of plain values.
  template <class T>
  void list(const char* key, std::vector<T>& values, const Doc& doc) {
    const std::size_t count = enter_list(key, values.size(), doc);
    values.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      if constexpr (requires(T & item) { item.describe(*this); }) {
        enter_item(i, true);
        values[i].describe(*this);
        leave();
      } else {
        enter_item(i, false);
        scalar("", Slot(&values[i]), {}, doc);
        leave();
      }
    }
    leave();
  }
  // A rule across keys; `problem` says what is wrong and what was expected.
  virtual void check(bool /*holds*/, const char* /*key*/, const std::string& /*problem*/) {}

 protected:
  virtual void scalar(const char* key, Slot slot, const std::vector<std::string>& options,
                      const Doc& doc) = 0;
  virtual bool enter(const char* key, const Doc& doc) = 0;
  virtual bool enter_optional(const char* key, bool present, const Doc& doc) = 0;
  virtual bool enter_reference(const char* key, std::string& name, const char* folder, const Doc& doc) = 0;
  virtual std::size_t enter_list(const char* key, std::size_t size, const Doc& doc) = 0;
  virtual void enter_item(std::size_t index, bool is_struct) = 0;
  virtual void leave() = 0;
};

// --- reading ------------------------------------------------------------------------------------

using DescribeThunk = void (*)(void* spec, Fields& fields);
void read_spec(const Yaml& document, DescribeThunk describe, void* spec);

template <class T>
void read_spec(const Yaml& document, T& spec) {
  read_spec(
      document, [](void* s, Fields& f) { static_cast<T*>(s)->describe(f); }, &spec);
}

// The tree of a named or given file of a config folder, e.g. ("gpus", "h100-sxm") or ("gpus", "./my.yaml").
Yaml load_config(const char* folder, const std::string& name_or_path,
                 const Location& asked_at = {"command line", 0, 0});

template <class T>
T read_config(const char* folder, const std::string& name_or_path) {
  T spec;
  read_spec(load_config(folder, name_or_path), spec);
  return spec;
}

// --- looking up ---------------------------------------------------------------------------------

struct SchemaEntry {
  std::string path;  // "memory.block_tokens"; list items read "layers[]"
  std::string type;  // "integer", "number", "text", "yes/no", "map", "list", "reference to configs/gpus"
  std::string default_value;
  std::string unit;
  std::string range;
  std::vector<std::string> options;
  std::string doc;
  bool required = false;
};
std::vector<SchemaEntry> schema_of(DescribeThunk describe, void* spec);
template <class T>
std::vector<SchemaEntry> schema_of() {
  T spec{};
  return schema_of([](void* s, Fields& f) { static_cast<T*>(s)->describe(f); }, &spec);
}

// --- writing ------------------------------------------------------------------------------------

Yaml to_yaml(DescribeThunk describe, void* spec);
template <class T>
Yaml to_yaml(const T& spec) {
  T copy = spec;
  return to_yaml([](void* s, Fields& f) { static_cast<T*>(s)->describe(f); }, &copy);
}
std::string emit_yaml(const Yaml& tree);

// --- the config folders --------------------------------------------------------------------------

// Found in this order: $TESSERA_CONFIGS, ../share/tessera/configs beside the program, the source tree.
std::string config_root();
std::vector<std::string> config_names(const char* folder);  // sorted, without ".yaml"

}  // namespace tessera
