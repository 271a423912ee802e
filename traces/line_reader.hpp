// Lines of a byte stream as views into one buffer: no allocation per line. A UTF-8 mark in front and
// a carriage return at the end of a line are dropped. Damage, NUL bytes and lines beyond 64 MiB are
// InputErrors that name the line reached.
#pragma once

#include <string_view>
#include <vector>

#include "models/base/error.hpp"
#include "traces/byte_stream.hpp"

namespace tessera {

class LineReader {
 public:
  explicit LineReader(const Source& source);

  // The next line without its end; false at the end of the file. The view lives until the next call.
  bool next(std::string_view& line);

  // The line last returned, counted from 1.
  [[nodiscard]] int line() const { return line_; }
  [[nodiscard]] Location at() const { return {name_, line_, 0}; }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  bool refill();

  std::string name_;
  std::unique_ptr<ByteStream> bytes_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // unread bytes are buffer_[begin_, end_)
  std::size_t end_ = 0;
  std::size_t searched_ = 0;  // bytes from begin_ known to hold no line end
  bool at_end_ = false;
  int line_ = 0;
};

}  // namespace tessera
