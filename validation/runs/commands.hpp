// `tessera validate --runs` and `tessera calibrate --runs`: whole serving runs instead of kernel timings.
#pragma once

namespace tessera {

// Whether the arguments ask for runs.
bool asks_for_runs(int argc, char** argv);
// Their exit codes are those of the tools.
int validate_runs_main(int argc, char** argv);
int calibrate_runs_main(int argc, char** argv);

}  // namespace tessera
