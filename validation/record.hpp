// The accuracy record: errors of every shipped card, kernel, data type and cost source against the public
// tables, as a CSV that is committed and a table for people.
//
//   tessera validate --record validation/accuracy.csv --data DIR
#pragma once

#include <string>
#include <vector>

#include "validation/validate.hpp"

namespace tessera {

struct RecordedAccuracy {
  std::string gpu, kernel, dtype, source;
  std::string unseen;  // why no parameter or table saw these rows: half, folds or borrowed
  std::string table;   // file
  ErrorSummary errors;
  std::size_t of = 0;  // rows there were, of which errors.rows are a sample by hash of the shape
  std::string date, commit;
};

struct RecordOptions {
  std::string data;  // holds silicon/aic and e2e/llmservingsim/profiles, or is that folder of tables itself
  std::string date, commit;
  std::size_t tile_sample = 2400;  // rows a table that are simulated
};

// Every table of the record's list that is there, in a fixed order. Throws InputError when none is.
std::vector<RecordedAccuracy> record_accuracy(const RecordOptions& options);

std::string to_csv(const std::vector<RecordedAccuracy>& record);
// Throws InputError for another layout.
std::vector<RecordedAccuracy> parse_record(const std::string& csv, const std::string& file);
// Markdown: one line a card, kernel and data type, "median / p90 (rows)" a source.
std::string to_markdown(const std::vector<RecordedAccuracy>& record);

}  // namespace tessera
