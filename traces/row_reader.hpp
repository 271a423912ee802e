// One pass over a trace file in the file's own order. A format implements next(); everything formats
// share - putting times on one clock, unique ids, counting skipped rows - stands here. Sorting, limits
// and the start at 0 belong to open_trace (open.hpp), which may make several passes.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "models/base/error.hpp"
#include "traces/byte_stream.hpp"
#include "traces/numbers.hpp"
#include "traces/options.hpp"
#include "traces/request.hpp"

namespace tessera {

class RowReader {
 public:
  RowReader() = default;
  RowReader(const RowReader&) = delete;
  RowReader& operator=(const RowReader&) = delete;
  virtual ~RowReader() = default;

  // arrival_ps counts from the first row's time and may be negative; block and id views as in Request.
  virtual bool next(Request& request) = 0;
  // Where the row last returned stands.
  [[nodiscard]] virtual Location at() const = 0;

  // Complete once next() has returned false; requests and span are not filled in here.
  [[nodiscard]] const TraceInfo& facts() const { return facts_; }
  // Generated in time order: no pass over the whole is needed to know it, and none may be affordable.
  [[nodiscard]] virtual bool endless() const { return false; }
  // False once ids stepped back: a second pass must remember them all (see UniqueIds).
  [[nodiscard]] virtual bool ids_ascending() const { return true; }

 protected:
  // Picoseconds from the first row's time; throws InputError beyond +-100 days.
  std::int64_t since_first(const Instant& time);
  void skip_row(const std::string& reason);
  // Refuses more block ids than a prompt of that many tokens has blocks.
  void check_blocks(const Request& request) const;
  TraceInfo facts_;

 private:
  bool started_ = false;
};

// Refuses a request id that was seen before. Ids that ascend (r7, r8, r12, ...) cost no memory;
// at the first step back `ascending()` turns false, and a second pass made with `remember` keeps a
// 64-bit hash and the line of each id.
class UniqueIds {
 public:
  explicit UniqueIds(bool remember) : remember_(remember) {}
  void check(std::string_view id, const Location& at, const char* key);
  [[nodiscard]] bool ascending() const { return ascending_; }

 private:
  bool remember_;
  bool ascending_ = true;
  std::string last_;
  std::unordered_map<std::uint64_t, int> line_of_;
};

// FNV-1a: a stable 64-bit name for a text.
std::uint64_t hash_text(std::string_view text);

}  // namespace tessera
