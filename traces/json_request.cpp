#include "traces/json_request.hpp"

#include "traces/csv.hpp"
#include "traces/request.hpp"

namespace tessera {

bool JsonRequest::read(LineReader& lines) {
  std::string_view line;
  do {
    if (!lines.next(line)) return false;
  } while (line.empty());
  at_ = lines.at();
  blocks_.clear();
  count_ = 0;
  bool blocks_seen = false;
  JsonLine json(line, at_);
  json.begin();
  std::string_view key;
  while (json.next(key)) {
    if (key == "hash_ids") {
      if (blocks_seen) throw json.error("hash_ids: this key stands twice, expected once");
      blocks_seen = true;
      json.integers(blocks_);
    } else if (json.nested()) {
      json.skip();
    } else {
      if (has(key)) throw json.error(std::string(key) + ": this key stands twice, expected once");
      if (count_ == values_.size()) throw json.error("more than 16 values, expected one request per line");
      values_[count_++] = {key, json.scalar()};
    }
  }
  return true;
}

const JsonRequest::Value* JsonRequest::find(std::string_view key) const {
  for (std::size_t i = 0; i < count_; ++i)
    if (values_[i].key == key) return &values_[i];
  return nullptr;
}

InputError JsonRequest::error(std::string_view key, const std::string& problem) const {
  return InputError(at_, std::string(key) + ": " + problem);
}

std::string_view JsonRequest::text(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) throw error(key, "this key is missing, expected it in every row");
  return value->text;
}

Instant JsonRequest::time(std::string_view key, int exponent) const {
  const auto value = parse_duration(text(key), exponent);
  if (value.problem != nullptr)
    throw error(key, describe(text(key), value.problem) + ", expected a time in " +
                         (exponent == -3 ? "milliseconds" : "seconds") + ", at least 0");
  return value.value;
}

std::int32_t JsonRequest::tokens(std::string_view key) const {
  const auto value = parse_integer(text(key), kMaxTokens);
  if (value.problem != nullptr || value.value == 0) throw error(key, bad_tokens(text(key), value.problem));
  return static_cast<std::int32_t>(value.value);
}

}  // namespace tessera
