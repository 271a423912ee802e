// TESSERA_CHECK states an invariant of ours. It is on in every build but the benchmark's
// (TESSERA_NO_CHECKS) and never guards against user input: that is what InputError is for.
#pragma once

namespace tessera::detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* why);
}

#ifdef TESSERA_NO_CHECKS
#define TESSERA_CHECK(condition, why) ((void)0)
#else
#define TESSERA_CHECK(condition, why) \
  ((condition) ? (void)0 : ::tessera::detail::check_failed(#condition, __FILE__, __LINE__, why))
#endif
