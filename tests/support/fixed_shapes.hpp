// Properties over a fixed list of random shapes: the same ones on every machine and every run, unlike
// rc::check, whose seed differs from run to run.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <sstream>
#include <utility>

namespace tessera::test {

template <class Property>
void over_shapes(int count, const char* what, Property&& property) {
  rc::detail::TestParams params;
  params.seed = 20220527;
  params.maxSuccess = count;
  const auto result = rc::detail::checkTestable(std::forward<Property>(property),
                                                rc::detail::TestMetadata{what, what}, params);
  std::ostringstream message;
  rc::detail::printResultMessage(result, message);
  EXPECT_TRUE(result.template is<rc::detail::SuccessResult>()) << what << ": " << message.str();
}

}  // namespace tessera::test
