// Comma-separated tables: columns by name, in any order; whatever is wrong is named with its place.
#include "traces/csv.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/unit/traces/trace_testing.hpp"

namespace tessera {
namespace {

using trace_testing::input_error;

Source text(const std::string& bytes) { return {"t.csv", std::string_view(bytes)}; }

TEST(CsvTable, FindsColumnsByNameInAnyOrder) {
  const std::string bytes = "b,extra,a\n1,x,2\n3,y,4\n";
  CsvTable table(text(bytes), {"a", "b"}, {"c"});
  EXPECT_FALSE(table.has(2));
  EXPECT_EQ(table.ignored_columns(), std::vector<std::string>{"extra"});
  ASSERT_TRUE(table.next());
  EXPECT_EQ(table.field(0), "2");
  EXPECT_EQ(table.field(1), "1");
  ASSERT_TRUE(table.next());
  EXPECT_EQ(table.integer(0, 10), 4U);
  EXPECT_FALSE(table.next());
}

TEST(CsvTable, PassesOverCommentsEmptyLinesAndSpace) {
  const std::string bytes = "# made by hand\n\na , b\r\n\n 1 ,\t2 \r\n";
  CsvTable table(text(bytes), {"a", "b"});
  ASSERT_TRUE(table.next());
  EXPECT_EQ(table.field(0), "1");
  EXPECT_EQ(table.field(1), "2");
  EXPECT_EQ(table.at().line, 5);
  EXPECT_FALSE(table.next());
}

TEST(CsvTable, NamesTheLineAndTheColumnOfWhatIsWrong) {
  const auto error_in = [](const std::string& bytes) {
    return input_error([&] {
      CsvTable table(text(bytes), {"time", "tokens"});
      while (table.next()) static_cast<void>(table.tokens(1));
    });
  };
  EXPECT_EQ(error_in("time,tokens\n1,2\n1,zero\n").substr(0, 24), "t.csv:3: tokens: 'zero' ");
  EXPECT_NE(error_in("time,tokens\n1,0\n").find("expected a whole number of tokens"), std::string::npos);
  EXPECT_NE(error_in("time,tokens\n1\n").find("t.csv:2: the row has 1 fields, expected 2"),
            std::string::npos);
  EXPECT_NE(error_in("time,tokens\n1,2,3\n").find("has 3 fields"), std::string::npos);
  EXPECT_NE(error_in("time,Tokens\n").find("is 'Tokens' meant?"), std::string::npos);
  EXPECT_NE(error_in("time,time,tokens\n").find("stands twice"), std::string::npos);
  EXPECT_NE(error_in("").find("the file is empty, expected the columns time,tokens"), std::string::npos);
  EXPECT_NE(error_in("time,tokens\n1,\"2\n").find("not closed on its line"), std::string::npos);
}

// What any writer that quotes every field produces is read back.
TEST(CsvTable, QuotedFieldsReadBack) {
  EXPECT_TRUE(rc::check("quoted fields", [] {
    const auto fields = *rc::gen::container<std::vector<std::string>>(
        3, rc::gen::container<std::string>(rc::gen::element('a', ',', '"', ' ', 'z', '#', '\t', '\'')));
    std::string bytes = "a,b,c\n";
    for (std::size_t i = 0; i < fields.size(); ++i) {
      bytes += i > 0 ? ",\"" : "\"";
      for (const char c : fields[i]) bytes += c == '"' ? std::string("\"\"") : std::string(1, c);
      bytes += '"';
    }
    bytes += '\n';
    CsvTable table(text(bytes), {"a", "b", "c"});
    RC_ASSERT(table.next());
    for (std::size_t i = 0; i < fields.size(); ++i) RC_ASSERT(table.field(i) == fields[i]);
    RC_ASSERT(!table.next());
  }));
}

TEST(CsvTable, AnyBytesAreReadOrRefusedNeverMore) {
  EXPECT_TRUE(rc::check("junk", [](const std::string& junk) {
    const std::string bytes = "a,b\n" + junk;
    try {
      CsvTable table(text(bytes), {"a", "b"});
      while (table.next()) RC_ASSERT(table.field(0).size() + table.field(1).size() < bytes.size());
    } catch (const InputError&) {
    }
  }));
}

}  // namespace
}  // namespace tessera
