// The CSV of one kernel's measurements: the columns of the public tables first, so that `tessera calibrate`
// and `validate` read it as they read those, then results, spread, error and where the row comes from.
//
//   kernel_source, <the bench's columns>, latency_ms, flag, <its results>, p10_ms, p90_ms, repeats, copies,
//   copies_asked, error, device, driver, sm_clock_mhz, memory_clock_mhz, date, commit
// latency_ms is the median. copies are the sets of buffers taken in turn, copies_asked what the plan says of
// them (0: as many as pass the L2). error is empty where a bench checks nothing. A flag says why a row must
// not be used: wrong_result (the error passes the bench's tolerance); a run that goes on with the table
// measures such a point again. Rows are appended whole and flushed one by one, so a run that is killed or
// finds the disk full keeps those that stand.
#pragma once

#include <fstream>
#include <set>
#include <string>

#include "kernels/measure/file_lock.hpp"
#include "kernels/measure/point.hpp"

namespace tessera::measure {

struct Origin {
  std::string device, driver, date, commit;
  double sm_clock_mhz = 0, memory_clock_mhz = 0;
};

std::vector<std::string> table_columns(const Bench& bench);

class ResultTable {
 public:
  // Starts a file, or with `resume` goes on with one: its header must be the bench's and its rows the
  // device's; a last line without its end is dropped. Throws InputError, also where a file would be
  // overwritten or another run writes it.
  ResultTable(const std::string& path, const Bench& bench, bool resume, const Origin& origin);

  [[nodiscard]] bool has(const Point& point) const { return done_.contains(point.key()); }
  void add(const Point& point, const Sample& sample, const Origin& origin);
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  void take(const std::string& text, const Origin& origin);

  std::string path_;
  const Bench* bench_;
  FileLock lock_;
  std::ofstream out_;
  std::set<std::string> done_;
};

// Where a plan's tables go: into folder `out` if it ends with a slash, as DEVICE/KERNEL.csv; else into the
// file `out` itself if there is one kernel, or its name with _KERNEL before .csv.
std::string table_path(const std::string& out, const std::string& device, const std::string& kernel,
                       bool alone);

}  // namespace tessera::measure
