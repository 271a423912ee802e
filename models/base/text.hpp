// Words for people: nearest names, numbers with units.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

// The candidate nearest to `word` (edit distance with transpositions), or "" if none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& candidates);

// ", did you mean 'x'?" or "" - ready to append to an error message.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates);

std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string human_bytes(double bytes);        // 1.50 GiB
std::string human_count(std::int64_t count);  // 19,366
std::string human_seconds(double seconds);    // 1.23 ms
std::string shortest(double value);           // shortest text that reads back the same

}  // namespace tessera
