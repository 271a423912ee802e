// Replacement policies once more, in lists and maps, as their papers tell them: what the fast ones are
// compared with. Nothing here is shared with sim/memory but the frequency sketch, which has tests of its own.
#pragma once

#include "tests/support/slow_lirs_tinylfu.hpp"
#include "tests/support/slow_ranked.hpp"
#include "tests/support/slow_segmented.hpp"
#include "tests/support/slow_single_list.hpp"
