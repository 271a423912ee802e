#include "sim/report/memory_map.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "models/base/text.hpp"

namespace tessera {
namespace {

using State = BlockCell::State;
constexpr std::size_t kMostFrames = 128, kLines = 20, kWidth = 64;

const char* name_of(State state) {
  return state == State::free ? "free" : state == State::cached ? "cached" : "held";
}

// A letter and a colour for a request; neighbours in the trace differ in both.
char letter(std::uint32_t row) { return static_cast<char>('a' + row % 26); }
std::string painted(char cell, std::uint32_t row) {
  if (cell == '.') return "\033[2m.\033[0m";
  if (cell == '-') return "\033[2m-\033[0m";
  if (cell == '#') return "\033[1m#\033[0m";
  return fmt::format("\033[3{}m{}\033[0m", 1 + row % 6, cell);
}

}  // namespace

void MemoryMap::look(const MemoryMoment& moment) {
  if (moment.engine != 0 || steps_++ % every_ != 0) return;
  cells_ = moment.memory.map_cells();
  if (too_large()) return;
  now_.assign(cells_, {});
  moment.memory.show(now_);
  Frame frame;
  frame.start_ps = moment.start_ps;
  for (std::size_t i = 0; i < now_.size(); ++i) {
    const BlockCell& cell = now_[i];
    const bool held = cell.state == State::held;
    frame.held += held, frame.shared += held && cell.users > 1, frame.cached += cell.state == State::cached;
    frame.evicted +=
        !before_.empty() && before_[i].state == State::cached && before_[i].content != cell.content;
    const std::uint32_t row = held ? moment.row_of(cell.holder) : 0;
    if (!frame.runs.empty()) {
      Run& last = frame.runs.back();
      if (last.state == cell.state && last.row == row && last.users == cell.users) {
        ++last.blocks;
        continue;
      }
    }
    frame.runs.push_back({1, cell.state, row, cell.users});
  }
  frame.evicted += std::exchange(evicted_of_dropped_, 0);
  frames_.push_back(std::move(frame));
  before_ = now_;
  if (frames_.size() == kMostFrames) keep_every_second();
}

void MemoryMap::keep_every_second() {
  for (std::size_t i = 0; 2 * i < frames_.size(); ++i) {
    const std::size_t evicted = 2 * i > 0 ? frames_[2 * i - 1].evicted : 0;
    if (i > 0) frames_[i] = std::move(frames_[2 * i]);
    frames_[i].evicted += evicted;
  }
  if (frames_.size() % 2 == 0) evicted_of_dropped_ = frames_.back().evicted;
  frames_.resize((frames_.size() + 1) / 2);
  every_ *= 2;
}

std::string MemoryMap::json(std::int64_t block_tokens) const {
  nlohmann::ordered_json out;
  out["blocks"] = now_.size();
  out["block_tokens"] = block_tokens;
  out["every_steps"] = every_;
  out["keys"] = {{"t_s", "launch of the step, s after the first arrival"},
                 {"held, shared, cached, free", "blocks; shared: of held, by several sequences"},
                 {"evicted", "cached in the frame before and given to somebody else since"},
                 {"runs", "in order of blocks: [blocks, state, request (its row in the trace), sequences]"}};
  auto& frames = out["frames"] = nlohmann::ordered_json::array();
  for (const Frame& frame : frames_) {
    auto runs = nlohmann::ordered_json::array();
    for (const Run& run : frame.runs) {
      if (run.state == State::held)
        runs.push_back({run.blocks, name_of(run.state), run.row, run.users});
      else
        runs.push_back({run.blocks, name_of(run.state)});
    }
    frames.push_back({{"t_s", static_cast<double>(frame.start_ps) * 1e-12},
                      {"held", frame.held},
                      {"shared", frame.shared},
                      {"cached", frame.cached},
                      {"free", now_.size() - frame.held - frame.cached},
                      {"evicted", frame.evicted},
                      {"runs", runs}});
  }
  return out.dump() + "\n";
}

// What most of a cell's blocks are.
std::string MemoryMap::line(const Frame& frame, std::size_t width, bool colour) const {
  std::string out;
  std::size_t block = 0, run = 0, run_end = frame.runs.empty() ? 0 : frame.runs[0].blocks;
  for (std::size_t column = 0; column < width; ++column) {
    const std::size_t end = (column + 1) * now_.size() / width;
    std::map<std::pair<char, std::uint32_t>, std::size_t> votes;
    while (block < end) {
      const Run& at = frame.runs[run];
      const std::size_t take = std::min(end, run_end) - block;
      const char cell = at.state == State::free     ? '.'
                        : at.state == State::cached ? '-'
                        : at.users > 1              ? '#'
                                                    : letter(at.row);
      votes[{cell, at.state == State::held && at.users == 1 ? at.row : 0}] += take;
      block += take;
      if (block == run_end && ++run < frame.runs.size()) run_end += frame.runs[run].blocks;
    }
    const auto most = std::max_element(votes.begin(), votes.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    const auto [cell, row] = most->first;
    out += colour ? painted(cell, row) : std::string(1, cell);
  }
  return out;
}

std::string MemoryMap::picture(bool colour) const {
  if (frames_.empty()) return "\n  KV memory: no step was run\n";
  const std::size_t width = std::min(kWidth, now_.size());
  std::string out = fmt::format("\n  KV memory, {} blocks left to right ({:.4g} a cell), time downwards\n",
                                human_count(static_cast<std::int64_t>(now_.size())),
                                static_cast<double>(now_.size()) / static_cast<double>(width));
  const std::size_t lines = std::min(kLines, frames_.size());
  std::size_t evicted = 0, next = 0;
  for (std::size_t i = 0; i < lines; ++i) {
    const std::size_t at = lines == 1 ? 0 : i * (frames_.size() - 1) / (lines - 1);
    for (; next <= at; ++next) evicted += frames_[next].evicted;
    const Frame& frame = frames_[at];
    const auto percent = [&](std::size_t part) { return 100 * part / now_.size(); };
    out += fmt::format("{:>9.2f} s  {}  {:>3} % held, {:>3} % cached",
                       static_cast<double>(frame.start_ps) * 1e-12, line(frame, width, colour),
                       percent(frame.held), percent(frame.cached));
    if (evicted > 0) out += fmt::format(", {} evicted", human_count(static_cast<std::int64_t>(evicted)));
    evicted = 0;
    out += '\n';
  }
  out += "             letters: blocks of one request   # shared   - cached   . free\n";
  return out;
}

}  // namespace tessera
