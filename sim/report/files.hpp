// Writing results: whole files appear at once (temporary name, then rename), so an interrupted write
// leaves the previous file intact.
#pragma once

#include <string>
#include <string_view>

namespace tessera {

void make_directory(const std::string& path);                      // throws RunError
void write_file(const std::string& path, std::string_view bytes);  // throws RunError
// gzip with a fixed header: equal text gives equal bytes.
std::string gzip(std::string_view text);

// For the start of long work: throws InputError where `path` could not be written, and leaves no trace.
void check_writable(const std::string& path);

}  // namespace tessera
