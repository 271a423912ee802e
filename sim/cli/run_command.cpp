#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "sim/cli/commands.hpp"
#include "sim/report/files.hpp"
#include "sim/report/manifest.hpp"
#include "sim/report/memory_map.hpp"
#include "sim/report/requests_csv.hpp"
#include "sim/report/summary.hpp"
#include "sim/report/timeline.hpp"
#include "sim/serving/simulate.hpp"

namespace tessera {
namespace {

volatile std::sig_atomic_t interrupted = 0;
void on_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);  // a second one kills
}

// A bar on a terminal, redrawn at most ten times a second; nothing elsewhere.
class ProgressBar {
 public:
  explicit ProgressBar(bool wanted) : shown_(wanted && isatty(STDERR_FILENO) != 0) {}
  ~ProgressBar() {
    if (drawn_) std::fputs("\r\033[K", stderr);
  }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::int64_t done, std::int64_t total) {
    if (!shown_) return;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    drawn_ = true;
    if (total <= 0) {
      fmt::print(stderr, "\r\033[K{} requests", done);
      return;
    }
    constexpr int kWidth = 40;
    const int filled = static_cast<int>(kWidth * done / total);
    fmt::print(stderr, "\r\033[K[{}{}] {:3d} % of {} requests",
               std::string(static_cast<std::size_t>(filled), '#'),
               std::string(static_cast<std::size_t>(kWidth - filled), '.'), 100 * done / total, total);
  }

 private:
  bool shown_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

Volatile machine_use(std::chrono::steady_clock::time_point start) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(),
          usage.ru_maxrss * 1024L};
}

// The config as a file that gives the same run from any folder.
std::string resolved_yaml(RunConfig config) {
  const auto absolute = [](const std::string& path) {
    return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
  };
  config.trace.file = absolute(config.trace.file);
  for (std::string& table : config.cost.tables) table = absolute(table);
  return emit_yaml(to_yaml(config));
}

}  // namespace

int run_command(const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  RunConfig config = load_run_config(options.config, options.overrides, options.trace);
  if (options.seed) config.seed = *options.seed;
  if (!options.out.empty()) make_directory(options.out);

  RequestsCsv requests;
  Timeline timeline;
  RunHooks hooks;
  ProgressBar bar(!options.quiet);
  hooks.stop = &interrupted;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  hooks.progress = [&bar](std::int64_t done, std::int64_t total) {
    bar.update(done, total);
    return true;
  };
  if (!options.out.empty()) {
    hooks.on_request = [&](const RequestRecord& record, std::string_view id) {
      requests.add(record, id);
      timeline.request(record, id.empty() ? std::to_string(record.row) : std::string(id));
    };
    hooks.on_step = [&](const StepRecord& step) { timeline.step(step); };
  }
  MemoryMap map(options.memory_map ? MemoryMap::kMostCells : MemoryMap::kFewCells);
  if (options.memory_map || !options.out.empty())
    hooks.on_memory = [&map](const MemoryMoment& moment) { map.look(moment); };
  const RunResult result = simulate(config, hooks);
  if (options.memory_map && map.too_large())
    throw InputError(fmt::format("--memory-map: the memory has {} blocks, expected at most {}",
                                 human_count(static_cast<std::int64_t>(map.cells())),
                                 human_count(static_cast<std::int64_t>(MemoryMap::kMostCells))));
  const Volatile machine = machine_use(start);
  const std::string json = summary_json(result, machine);
  if (!options.out.empty()) {
    const std::string folder = options.out + "/";
    requests.write(folder + "requests.csv");
    write_file(folder + "timeline.json.gz", timeline.gzipped());
    write_file(folder + "resolved.yaml", resolved_yaml(config));
    write_file(folder + "manifest.json", manifest_json(config, options.config));
    if (!map.empty()) write_file(folder + "memory_map.json", map.json(result.block_tokens));
    write_file(folder + "summary.json", json);
  }
  if (options.json) std::fputs(json.c_str(), stdout);
  if (!options.quiet && !options.json) {
    const bool colour = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
    std::fputs(summary_text(result, machine, colour).c_str(), stdout);
    if (options.memory_map) std::fputs(map.picture(colour).c_str(), stdout);
    if (!options.out.empty()) fmt::print(stderr, "results in {}\n", options.out);
  }
  return result.interrupted ? kInterrupted : kOk;
}

}  // namespace tessera
