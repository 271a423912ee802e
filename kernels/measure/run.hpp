// Runs a plan on a machine: what is not in the tables yet, in the plan's order, until all is measured, the
// budget is spent, the card is lost or somebody interrupts.
#pragma once

#include <functional>
#include <iosfwd>
#include <map>

#include "kernels/measure/plan.hpp"
#include "kernels/measure/table.hpp"

namespace tessera::measure {

struct RunOptions {
  std::string out;
  double budget_s = 0;  // 0: none
  bool resume = false;
  std::string date, commit;
  std::function<double()> seconds;    // a clock
  std::function<bool()> interrupted;  // asked between two points
};

struct RunReport {
  std::size_t planned = 0, already = 0, measured = 0, skipped = 0, left = 0, wrong = 0;
  bool interrupted = false;
  std::string lost;  // why the card runs no more kernels; empty: it does
  // Nothing was measured, now or before, though there was something to measure.
  [[nodiscard]] bool fruitless() const { return measured == 0 && already == 0 && skipped > 0; }
  double seconds = 0;
  std::vector<std::string> files;
};

// One line a point goes to `progress`.
RunReport run_plan(Machine& machine, const Plan& plan, const RunOptions& options, std::ostream& progress);

// The plan as --dry-run prints it: every point with its estimated time.
void print_plan(const Plan& plan, double budget_s, std::ostream& out);

}  // namespace tessera::measure
