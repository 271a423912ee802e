// Walks one flat JSON object on one line, the shape of every JSONL trace: numbers, strings and one
// array of integers. Unlike a document parser it builds no tree, so a trace of any length streams at
// the speed of a scan. Broken JSON is an InputError with file, line and column.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/error.hpp"

namespace tessera {

class JsonLine {
 public:
  JsonLine(std::string_view line, Location at) : text_(line), at_(std::move(at)) {}

  void begin();  // the opening brace
  bool next(
      std::string_view& key);  // moves to the next value; false after the closing brace and the line's end

  std::string_view number();  // the raw text of a number, NaN and Infinity included
  std::string_view string();  // the raw text between the quotes; escapes stay as written
  // A number's text, or a string's content: ids come both ways.
  std::string_view scalar();
  void integers(std::vector<std::uint64_t>& values);
  void skip();  // any value, nested too

  // Whether the next value is a list or an object.
  [[nodiscard]] bool nested() const { return peek() == '[' || peek() == '{'; }

  // An error at the value just read or about to be read.
  [[nodiscard]] InputError error(const std::string& problem) const;

 private:
  void space();
  void expect(char c, const char* where);
  [[nodiscard]] char peek() const { return i_ < text_.size() ? text_[i_] : '\0'; }

  std::string_view text_;
  Location at_;
  std::size_t i_ = 0;
  std::size_t value_at_ = 0;
  bool first_ = true;
};

}  // namespace tessera
