// The trace formats, one line each in formats.cpp: how `list formats` describes them, how a file's
// first bytes are recognised, how rows are read. Adding a format is one file in formats/ and one line.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "traces/row_reader.hpp"

namespace tessera {

struct TraceFormat {
  enum class Kind { requests, keys };
  const char* name;
  const char* description;
  Kind kind;
  // The columns (CSV) or keys (JSONL) by which the format is known; empty for key traces.
  std::vector<std::string> marks;
  // Null for key traces, which key_trace.hpp reads. `remember_ids`: see UniqueIds.
  std::unique_ptr<RowReader> (*open)(const Source& source, const ReadOptions& options, bool remember_ids);
};

const std::vector<TraceFormat>& trace_formats();

// The format of that name; throws InputError with the nearest name otherwise.
const TraceFormat& find_format(const std::string& name);

// By content. A file that has some of a format's columns is taken for that format, so that the error
// names the missing column. Throws InputError if nothing fits.
const TraceFormat& detect_format(const Source& source);

// The readers, one per file of formats/.
using RowReaderPtr = std::unique_ptr<RowReader>;
RowReaderPtr open_azure(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_mooncake(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_vidur(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_burstgpt(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_bailian(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_servegen(const Source& source, const ReadOptions& options, bool remember_ids);
RowReaderPtr open_tessera_csv(const Source& source, const ReadOptions& options, bool remember_ids);

}  // namespace tessera
