// One request of a JSONL trace: the scalar values of one line by key, and its hash_ids. Keys may come
// in any order; a missing or repeated key is an error, unknown ones are passed over.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "traces/json_line.hpp"
#include "traces/line_reader.hpp"
#include "traces/numbers.hpp"

namespace tessera {

class JsonRequest {
 public:
  explicit JsonRequest(std::vector<std::uint64_t>& blocks) : blocks_(blocks) {}

  // Takes the next non-empty line; false at the end of the file.
  bool read(LineReader& lines);

  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] std::string_view text(std::string_view key) const;
  [[nodiscard]] Instant time(std::string_view key, int exponent) const;
  [[nodiscard]] std::int32_t tokens(std::string_view key) const;
  [[nodiscard]] InputError error(std::string_view key, const std::string& problem) const;

 private:
  struct Value {
    std::string_view key;
    std::string_view text;
  };
  [[nodiscard]] const Value* find(std::string_view key) const;

  std::vector<std::uint64_t>& blocks_;
  std::array<Value, 16> values_;
  std::size_t count_ = 0;
  Location at_;
};

}  // namespace tessera
