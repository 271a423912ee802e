// Verbs for tests about traces.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "models/base/error.hpp"
#include "traces/open.hpp"

namespace tessera::trace_testing {

// A request with its views copied.
struct Row {
  std::int64_t arrival_ps;
  std::int32_t input_tokens;
  std::int32_t output_tokens;
  std::uint32_t prompt_class;
  std::uint32_t session;
  std::vector<std::uint64_t> blocks;
  std::string id;
  std::uint32_t tenant = 0;
  friend bool operator==(const Row&, const Row&) = default;
};

inline std::vector<Row> all_rows(TraceReader& trace) {
  std::vector<Row> rows;
  Request r;
  while (trace.next(r))
    rows.push_back({r.arrival_ps,
                    r.input_tokens,
                    r.output_tokens,
                    r.prompt_class,
                    r.session,
                    {r.blocks.begin(), r.blocks.end()},
                    std::string(r.id),
                    r.tenant});
  return rows;
}

// The trace of a text in memory; the text must outlive the reader.
inline std::unique_ptr<TraceReader> open_text(const std::string& text, const ReadOptions& options = {}) {
  return open_trace(Source{"trace", std::string_view(text)}, options);
}

inline std::vector<Row> rows_of(const std::string& text, const ReadOptions& options = {}) {
  return all_rows(*open_text(text, options));
}

// The message of the InputError that `action` throws; "" (and a failure) if it throws none.
template <class Action>
std::string input_error(Action&& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected an InputError";
  return "";
}

inline std::string scratch_file(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  const auto folder = std::filesystem::temp_directory_path() /
                      (std::string("tessera_") + test->test_suite_name() + "_" + test->name());
  std::filesystem::create_directories(folder);
  return (folder / name).string();
}

}  // namespace tessera::trace_testing
