// Where bytes are written: a file, compressed if its name ends in .gz or .zst, or a stream.
// The same bytes in give the same file out (no time stamp in the gzip header).
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>

namespace tessera {

class ByteSink {
 public:
  ByteSink() = default;
  ByteSink(const ByteSink&) = delete;
  ByteSink& operator=(const ByteSink&) = delete;
  virtual ~ByteSink() = default;

  virtual void write(std::string_view bytes) = 0;
  // Writes what is pending and closes. Throws RunError if the disk refused any of it.
  virtual void finish() = 0;
};

// Throws InputError if the file cannot be created.
std::unique_ptr<ByteSink> create_file(const std::string& path);
std::unique_ptr<ByteSink> to_stream(std::ostream& out);

}  // namespace tessera
