// Writes requests as our own CSV or as Mooncake JSONL; reading the file back gives the same requests.
//
// Mooncake JSONL keeps no request names, sessions or classes, and knows only 512-token blocks: a trace
// with blocks of another size is refused.
#pragma once

#include <memory>
#include <string>

#include "traces/byte_sink.hpp"
#include "traces/request.hpp"

namespace tessera {

class TraceWriter {
 public:
  TraceWriter() = default;
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;
  virtual ~TraceWriter() = default;
  virtual void write(const Request& request) = 0;
  virtual void finish() = 0;
};

// `format`: tessera, mooncake, or auto: mooncake if `path` names a .jsonl (before .gz or .zst).
std::string output_format(const std::string& format, const std::string& path);

// `columns` says which optional columns to write; `comment` lines go in front of a CSV's header.
std::unique_ptr<TraceWriter> make_writer(const std::string& format, std::unique_ptr<ByteSink> to,
                                         const TraceInfo& columns,
                                         const std::vector<std::string>& comment = {});

}  // namespace tessera
