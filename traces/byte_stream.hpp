// The bytes of a file, decompressed on the way: gzip and zstd are known by their first bytes, never
// by the name. Several gzip members or zstd frames in a row read as one stream.
//
// A damaged or cut-off file is no exception here: read() stops and problem() says why, because only
// the caller knows which line it had reached.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

// A place to read from, as often as needed: a file, or bytes in memory under a name for messages.
struct Source {
  std::string name;
  std::optional<std::string_view> bytes;
};

class ByteStream {
 public:
  ByteStream() = default;
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;
  virtual ~ByteStream() = default;

  // Fills up to `capacity` bytes; 0 means the end, or a problem.
  virtual std::size_t read(char* to, std::size_t capacity) = 0;
  [[nodiscard]] const std::string& problem() const { return problem_; }

 protected:
  std::string problem_;
};

// Throws InputError if the file cannot be opened.
std::unique_ptr<ByteStream> open_bytes(const Source& source);

// Up to `count` leading decompressed bytes, for finding out what a file is. Throws InputError on damage.
std::string peek_bytes(const Source& source, std::size_t count);

}  // namespace tessera
