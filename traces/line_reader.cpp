#include "traces/line_reader.hpp"

#include <cstring>

namespace tessera {
namespace {
constexpr std::size_t kBuffer = 256 * 1024;
constexpr std::size_t kLongestLine = 64 * 1024 * 1024;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
}  // namespace

LineReader::LineReader(const Source& source)
    : name_(source.name), bytes_(open_bytes(source)), buffer_(kBuffer) {}

bool LineReader::refill() {
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) {
    if (end_ >= kLongestLine)
      throw InputError({name_, line_ + 1, 0}, "a line longer than 64 MiB, expected one request per line");
    buffer_.resize(buffer_.size() * 2);
  }
  const std::size_t got = bytes_->read(buffer_.data() + end_, buffer_.size() - end_);
  if (got == 0) {
    if (!bytes_->problem().empty()) throw InputError({name_, line_ + 1, 0}, bytes_->problem());
    at_end_ = true;
    return false;
  }
  end_ += got;
  return true;
}

bool LineReader::next(std::string_view& line) {
  std::size_t length = 0;
  for (;;) {
    const char* start = buffer_.data() + begin_;
    const void* found = searched_ == end_ - begin_
                            ? nullptr
                            : std::memchr(start + searched_, '\n', end_ - begin_ - searched_);
    if (found != nullptr) {
      length = static_cast<std::size_t>(static_cast<const char*>(found) - start);
      line = {start, length};
      begin_ += length + 1;
      break;
    }
    searched_ = end_ - begin_;
    if (!at_end_ && refill()) continue;
    if (begin_ == end_) return false;
    line = {buffer_.data() + begin_, end_ - begin_};  // the last line may lack its end
    begin_ = end_;
    break;
  }
  searched_ = 0;
  ++line_;
  if (line_ == 1 && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!line.empty() && std::memchr(line.data(), '\0', line.size()) != nullptr)
    throw InputError(at(), "a NUL byte, expected text");
  return true;
}

}  // namespace tessera
