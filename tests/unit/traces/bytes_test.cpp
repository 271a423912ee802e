// Packed files: written by our sink, read by our stream, cut and damaged on the way.
#include <fstream>
#include <sstream>

#include "tests/unit/traces/trace_testing.hpp"
#include "traces/byte_sink.hpp"
#include "traces/line_reader.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;
using trace_testing::scratch_file;

std::string own_csv(int rows) {
  std::string text = "request_id,arrival_s,input_tokens,output_tokens\n";
  for (int i = 0; i < rows; ++i) text += "r" + std::to_string(i) + "," + std::to_string(i) + ",12,34\n";
  return text;
}

// The packed bytes of `text`; the suffix chooses how.
std::string packed(const std::string& text, const char* suffix) {
  const std::string path = scratch_file(std::string("packed") + suffix);
  const auto sink = create_file(path);
  sink->write(text);
  sink->finish();
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::size_t rows_in(const std::string& bytes) { return trace_testing::rows_of(bytes).size(); }

class Packed : public testing::TestWithParam<const char*> {};

TEST_P(Packed, ReadsBackWhatWasWritten) {
  const std::string text = own_csv(20'000);
  const std::string bytes = packed(text, GetParam());
  EXPECT_LT(bytes.size(), text.size()) << "it was packed";
  EXPECT_EQ(trace_testing::rows_of(bytes), trace_testing::rows_of(text));
}

TEST_P(Packed, TwoPiecesInARowReadAsOne) {
  const std::string bytes = packed(own_csv(3), GetParam()) + packed("x,9,1,1\n", GetParam());
  EXPECT_EQ(rows_in(bytes), 4U);
}

TEST_P(Packed, CutOffAnywhereIsAnErrorWithTheLineReached) {
  const std::string bytes = packed(own_csv(50), GetParam());
  for (std::size_t kept = 5; kept < bytes.size(); kept += 7) {
    const std::string cut = bytes.substr(0, kept);
    const std::string message = input_error([&] { rows_in(cut); });
    EXPECT_TRUE(message.starts_with("trace:")) << message;
  }
  const std::string late = packed(own_csv(200'000), GetParam());
  const std::string cut = late.substr(0, late.size() - 200);
  const std::string message = input_error([&] { rows_in(cut); });
  EXPECT_NE(message.find("cut-off"), std::string::npos) << message;
  EXPECT_GT(std::stoi(message.substr(message.find(':') + 1)), 1'000) << message;
}

TEST_P(Packed, FlippedBitsAreAnErrorOrTheSameText) {
  // Random digits pack into literal data, where only a checksum (gzip has one) or a broken code tells.
  const std::string bytes = packed(own_csv(500), GetParam());
  int refused = 0;
  for (std::size_t at = 4; at < bytes.size(); at += 11) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    try {
      rows_in(damaged);
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 0);
}

TEST_P(Packed, SameTextSameBytes) {
  EXPECT_EQ(packed(own_csv(1'000), GetParam()), packed(own_csv(1'000), GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Suffixes, Packed, testing::Values(".gz", ".zst"),
                         [](const auto& test) { return std::string(test.param + 1); });

TEST(Bytes, CompressionIsFoundByContentNotByName) {
  const std::string bytes = packed(own_csv(3), ".gz");
  const std::string path = scratch_file("trace.csv");
  std::ofstream(path, std::ios::binary) << bytes;
  EXPECT_EQ(trace_testing::all_rows(*open_trace(path)).size(), 3U);
}

TEST(Lines, DifferInLengthBeyondTheBuffer) {
  const std::string long_line(1'000'000, 'x');
  const std::string text = "a\n\n" + long_line + "\r\nlast";
  LineReader lines(Source{"text", std::string_view(text)});
  std::string_view line;
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "a");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "");
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, long_line);
  ASSERT_TRUE(lines.next(line));
  EXPECT_EQ(line, "last");
  EXPECT_EQ(lines.line(), 4);
  EXPECT_FALSE(lines.next(line));
}

TEST(Sink, RefusesAFolderThatIsNotThere) {
  EXPECT_NE(input_error([] { create_file("/no/such/folder/trace.csv"); }).find("cannot be created"),
            std::string::npos);
}

}  // namespace
}  // namespace tessera
