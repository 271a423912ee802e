#include "traces/json_line.hpp"

#include <limits>

#include "traces/numbers.hpp"

namespace tessera {

InputError JsonLine::error(const std::string& problem) const {
  return InputError({at_.file, at_.line, static_cast<int>(value_at_) + 1}, problem);
}

void JsonLine::space() {
  while (i_ < text_.size() && (text_[i_] == ' ' || text_[i_] == '\t')) ++i_;
}

void JsonLine::expect(char c, const char* where) {
  space();
  value_at_ = i_;
  if (peek() != c || i_ == text_.size())
    throw error(std::string("broken JSON, expected '") + c + "' " + where);
  ++i_;
}

void JsonLine::begin() { expect('{', "at the start of a request (one JSON object per line)"); }

bool JsonLine::next(std::string_view& key) {
  space();
  value_at_ = i_;
  if (peek() == '}') {
    ++i_;
    space();
    value_at_ = i_;
    if (i_ != text_.size()) throw error("text after the closing '}', expected one JSON object per line");
    return false;
  }
  if (!first_) expect(',', "between two values");
  first_ = false;
  space();
  value_at_ = i_;
  key = string();
  expect(':', "after a key");
  space();
  value_at_ = i_;
  return true;
}

std::string_view JsonLine::number() {
  space();
  value_at_ = i_;
  const std::size_t start = i_;
  for (; i_ < text_.size(); ++i_) {
    const char c = text_[i_];
    if (c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t') break;
  }
  if (i_ == start) throw error("broken JSON, expected a number");
  return text_.substr(start, i_ - start);
}

std::string_view JsonLine::string() {
  expect('"', "at the start of a text");
  const std::size_t start = i_;
  while (i_ < text_.size() && text_[i_] != '"') i_ += text_[i_] == '\\' ? 2 : 1;
  if (i_ >= text_.size()) {
    i_ = text_.size();
    throw error("broken JSON, the text is not closed, expected '\"'");
  }
  return text_.substr(start, i_++ - start);
}

std::string_view JsonLine::scalar() {
  space();
  return peek() == '"' ? string() : number();
}

void JsonLine::integers(std::vector<std::uint64_t>& values) {
  values.clear();
  expect('[', "at the start of a list");
  space();
  if (peek() == ']') {
    ++i_;
    return;
  }
  while (true) {
    const std::string_view text = number();
    const auto value = parse_integer(text, std::numeric_limits<std::uint64_t>::max());
    if (value.problem != nullptr)
      throw error(describe(text, value.problem) + ", expected a list of whole numbers from 0");
    values.push_back(value.value);
    space();
    value_at_ = i_;
    if (peek() == ']') {
      ++i_;
      return;
    }
    expect(',', "or ']' in a list");
  }
}

void JsonLine::skip() {
  int depth = 0;
  do {
    space();
    value_at_ = i_;
    const char c = peek();
    if (i_ >= text_.size()) throw error("broken JSON, the line ends inside a value");
    if (c == '"') {
      string();
    } else if (c == '[' || c == '{') {
      ++depth;
      ++i_;
    } else if (c == ']' || c == '}') {
      if (depth == 0) throw error("broken JSON, expected a value");
      --depth;
      ++i_;
    } else if ((c == ',' || c == ':') && depth > 0) {
      ++i_;
    } else {
      number();
    }
  } while (depth > 0);
}

}  // namespace tessera
