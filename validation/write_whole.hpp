// Files are replaced whole: written beside, then renamed, so that what was there stays if anything fails.
#pragma once

#include <string>

namespace tessera {

// Both throw InputError naming the path. check_writable is for the start of long work and leaves no trace.
void check_writable(const std::string& path);
void write_whole(const std::string& path, const std::string& text);

}  // namespace tessera
