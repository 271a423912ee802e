// Checks a channel's commands one by one against the timing constraints, as the standards word them.
//
// Slow and plain on purpose: it compares each command with every earlier one that can still matter, pair by
// pair, in clocks. It shares no code with the scheduler but the description of the memory.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <string>

#include "models/hardware/hbm.hpp"
#include "sim/memory/hbm/command.hpp"

namespace tessera::test {

class HbmChecker {
 public:
  using Kind = HbmCommand::Kind;

  explicit HbmChecker(const HbmSpec& spec) : spec_(spec) {
    const HbmTiming& t = spec.timing;
    reach_ = std::max({t.rc, t.ras, t.rp, t.faw, t.rtw, t.rcd_read, t.rcd_write, t.ccd_long, t.ccd_stack,
                       t.rrd_long, t.rtp, t.cwl + t.burst + std::max(t.wr, t.wtr_long), t.cl + t.burst}) +
             8;
  }

  // "" or the rule that this command breaks. Commands come in order of time.
  [[nodiscard]] std::string problem(const HbmCommand& c) const {
    if (!past_.empty() && c.time < past_.back().time) return "time runs backwards";
    if (const char* state = wrong_state(c); *state != 0) return describe(c) + ": " + state;
    for (const HbmCommand& p : past_)
      if (const Least least = least_between(p, c); half(least.clocks) > c.time - p.time)
        return describe(c) + " too soon after " + describe(p) + ": " + least.rule;
    if (const auto last = last_refresh_.find(c.at.pseudo_channel); last != last_refresh_.end())
      if ((c.kind == Kind::activate || c.kind == Kind::refresh) &&
          c.time - last->second < 2 * spec_.timing.rfc)
        return describe(c) + ": RFC";
    if (c.kind == Kind::activate) {  // at most four activates of a pseudo-channel in any window of FAW
      int others = 0;
      for (const HbmCommand& p : past_)
        others += p.kind == Kind::activate && same_half(p, c) && c.time - p.time < 2 * spec_.timing.faw;
      if (others >= 4) return describe(c) + ": FAW";
    }
    return "";
  }

  // Issues a command that has no problem.
  void accept(const HbmCommand& c) {
    const auto bank = std::pair(c.at.pseudo_channel, c.at.bank);
    if (c.kind == Kind::activate) open_[bank] = c.at.row;
    if (c.kind == Kind::precharge) open_.erase(bank);
    if (c.kind == Kind::precharge_all)
      std::erase_if(open_, [&](const auto& entry) { return entry.first.first == c.at.pseudo_channel; });
    if (c.kind == Kind::refresh) last_refresh_[c.at.pseudo_channel] = c.time;
    past_.push_back(c);
    while (c.time - past_.front().time > 2 * reach_) past_.pop_front();
  }

  std::string check(const HbmCommand& c) {
    std::string found = problem(c);
    if (found.empty()) accept(c);
    return found;
  }

  // The open row of a bank.
  [[nodiscard]] std::optional<std::uint32_t> row(std::uint8_t pseudo_channel, std::uint8_t bank) const {
    const auto found = open_.find({pseudo_channel, bank});
    return found == open_.end() ? std::nullopt : std::optional(found->second);
  }
  [[nodiscard]] bool any_open(std::uint8_t pseudo_channel) const {
    return std::any_of(open_.begin(), open_.end(),
                       [&](const auto& entry) { return entry.first.first == pseudo_channel; });
  }

  static std::string describe(const HbmCommand& c) {
    static const char* const names[] = {"none", "ACT", "PRE", "PREab", "REFab", "RD", "WR"};
    std::string text =
        std::string(names[static_cast<int>(c.kind)]) + " pc" + std::to_string(c.at.pseudo_channel);
    if (c.kind != Kind::precharge_all && c.kind != Kind::refresh)
      text += " bank" + std::to_string(c.at.bank) + " row" + std::to_string(c.at.row);
    return text + " at " + std::to_string(static_cast<double>(c.time) / 2) + " CK";
  }

 private:
  struct Least {
    double clocks = 0;
    const char* rule = "order";
  };
  static HbmTick half(double clocks) { return static_cast<HbmTick>(clocks * 2); }
  static bool is_column(Kind k) { return k == Kind::read || k == Kind::write; }
  static bool same_half(const HbmCommand& a, const HbmCommand& b) {
    return a.at.pseudo_channel == b.at.pseudo_channel;
  }
  [[nodiscard]] std::int64_t group(const HbmCommand& c) const { return c.at.bank / spec_.organisation.banks; }
  [[nodiscard]] std::int64_t stack(const HbmCommand& c) const {
    return group(c) / spec_.organisation.bank_groups;
  }
  // What must be open or closed.
  [[nodiscard]] const char* wrong_state(const HbmCommand& c) const {
    const auto open = row(c.at.pseudo_channel, c.at.bank);
    switch (c.kind) {
      case Kind::activate:
        return open ? "the bank is open" : "";
      case Kind::precharge:
        return open ? "" : "the bank is closed";
      case Kind::precharge_all:
        return any_open(c.at.pseudo_channel) ? "" : "no bank is open";
      case Kind::refresh:
        return any_open(c.at.pseudo_channel) ? "a bank is open" : "";
      case Kind::read:
      case Kind::write:
        return open == c.at.row ? "" : "its row is not open";
      default:
        return "an empty command";
    }
  }

  // The least clocks from p to c, and the rule's name; the longest of all rules that apply.
  [[nodiscard]] Least least_between(const HbmCommand& p, const HbmCommand& c) const {
    const HbmTiming& t = spec_.timing;
    const HbmCommandBus& bus = spec_.command_bus;
    Least longest;
    const auto rule = [&](double clocks, const char* name) {
      if (clocks > longest.clocks) longest = {clocks, name};
    };
    const auto at_least = [&](std::int64_t clocks, const char* name) {
      rule(static_cast<double>(clocks), name);
    };
    // The command buses belong to the whole channel.
    if (is_column(p.kind) && is_column(c.kind)) rule(bus.column, "column bus");
    if (!is_column(p.kind) && !is_column(c.kind))
      rule(p.kind == Kind::activate  ? bus.activate
           : p.kind == Kind::refresh ? bus.refresh
                                     : bus.precharge,
           "row bus");
    if (!same_half(p, c)) return longest;

    const bool same_group = group(p) == group(c);
    const bool same_bank = p.at.bank == c.at.bank;
    const auto closes = [](Kind k) { return k == Kind::precharge || k == Kind::precharge_all; };
    const bool closes_it = (c.kind == Kind::precharge && same_bank) || c.kind == Kind::precharge_all;
    if (is_column(p.kind) && p.kind == c.kind)
      at_least(same_group ? t.ccd_long : stack(p) == stack(c) ? t.ccd_short : t.ccd_stack, "CCD");
    if (p.kind == Kind::read && c.kind == Kind::write) at_least(t.rtw, "RTW");
    if (p.kind == Kind::write && c.kind == Kind::read)
      at_least(t.cwl + t.burst + (same_group ? t.wtr_long : t.wtr_short), "WTR");
    if (is_column(p.kind) && is_column(c.kind))  // one burst after the other on the data bus
      at_least(t.burst + (p.kind == Kind::read ? t.cl : t.cwl) - (c.kind == Kind::read ? t.cl : t.cwl),
               "data bus");
    if (p.kind == Kind::activate) {
      if (c.kind == Kind::activate) {
        at_least(same_group ? t.rrd_long : t.rrd_short, "RRD");
        if (same_bank) at_least(t.rc, "RC");
      }
      if (c.kind == Kind::read && same_bank) at_least(t.rcd_read, "RCD read");
      if (c.kind == Kind::write && same_bank) at_least(t.rcd_write, "RCD write");
      if (closes_it) at_least(t.ras, "RAS");
      if (c.kind == Kind::refresh) at_least(t.rc, "RC before refresh");
    }
    if (p.kind == Kind::read && closes_it) at_least(t.rtp, "RTP");
    if (p.kind == Kind::write && closes_it) at_least(t.cwl + t.burst + t.wr, "WR");
    if (closes(p.kind)) {
      const bool closed_it = p.kind == Kind::precharge_all || same_bank;
      if (c.kind == Kind::activate && closed_it) at_least(t.rp, "RP");
      if (c.kind == Kind::refresh) at_least(t.rp, "RP before refresh");
    }
    return longest;
  }

  HbmSpec spec_;
  std::int64_t reach_;  // clocks after which a command constrains nothing but by RFC
  std::deque<HbmCommand> past_;
  std::map<std::pair<std::uint8_t, std::uint8_t>, std::uint32_t> open_;
  std::map<std::uint8_t, HbmTick> last_refresh_;
};

}  // namespace tessera::test
