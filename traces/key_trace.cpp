#include "traces/key_trace.hpp"

#include <vector>

#include "traces/formats.hpp"
#include "traces/line_reader.hpp"

namespace tessera {
namespace {

class TextKeys final : public KeyReader {
 public:
  explicit TextKeys(const Source& source) : lines_(source) {}
  bool next(KeyAccess& access) override {
    std::string_view line;
    do {
      if (!lines_.next(line)) return false;
    } while (line.empty());
    const auto number = parse_integer(line, UINT64_MAX);
    access = {};
    access.key = number.problem == nullptr ? number.value : hash_text(line);
    return true;
  }

 private:
  LineReader lines_;
};

class OracleKeys final : public KeyReader {
 public:
  explicit OracleKeys(const Source& source)
      : name_(source.name), bytes_(open_bytes(source)), buffer_(kRecord * 4'096) {}

  bool next(KeyAccess& access) override {
    if (used_ == filled_ && !refill()) return false;
    const char* record = buffer_.data() + used_;
    used_ += kRecord;
    access.time = static_cast<std::uint32_t>(little_endian(record, 4));
    access.key = little_endian(record + 4, 8);
    access.size = static_cast<std::uint32_t>(little_endian(record + 12, 4));
    const auto next_access = static_cast<std::int64_t>(little_endian(record + 16, 8));
    // Writers mark "never again" as -1 or as int64's largest.
    access.next_access = next_access == INT64_MAX ? kNeverAgain : next_access;
    if (access.next_access != kNeverAgain && access.next_access <= count_)
      throw InputError(where() + ": " + "next access " + std::to_string(next_access) +
                       " is not ahead of access " + std::to_string(count_) +
                       ", expected oracleGeneral records");
    ++count_;
    return true;
  }

 private:
  static constexpr std::size_t kRecord = 24;

  static std::uint64_t little_endian(const char* bytes, int count) {
    std::uint64_t value = 0;
    for (int i = count - 1; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
  }
  [[nodiscard]] std::string where() const { return name_ + ": record " + std::to_string(count_); }

  bool refill() {
    used_ = filled_ = 0;
    while (filled_ < buffer_.size()) {
      const std::size_t got = bytes_->read(buffer_.data() + filled_, buffer_.size() - filled_);
      if (got == 0) break;
      filled_ += got;
    }
    if (!bytes_->problem().empty()) throw InputError(where() + ": " + bytes_->problem());
    if (filled_ % kRecord != 0)
      throw InputError(name_ + ": record " +
                       std::to_string(count_ + static_cast<std::int64_t>(filled_ / kRecord)) +
                       " is cut off, expected records of 24 bytes");
    return filled_ > 0;
  }

  std::string name_;
  std::unique_ptr<ByteStream> bytes_;
  std::vector<char> buffer_;
  std::size_t used_ = 0;
  std::size_t filled_ = 0;
  std::int64_t count_ = 0;
};

}  // namespace

std::unique_ptr<KeyReader> open_keys(const Source& source, const std::string& format) {
  const TraceFormat& found = format == "auto" ? detect_format(source) : find_format(format);
  if (found.kind != TraceFormat::Kind::keys)
    throw InputError({source.name, 1, 0},
                     std::string("holds requests (") + found.name + "), expected cache keys");
  if (std::string_view(found.name) == "oracle") return std::make_unique<OracleKeys>(source);
  return std::make_unique<TextKeys>(source);
}

}  // namespace tessera
