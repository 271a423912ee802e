#include "traces/byte_stream.hpp"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "models/base/error.hpp"

namespace tessera {
namespace {

constexpr std::size_t kChunk = 64 * 1024;

class FileBytes final : public ByteStream {
 public:
  explicit FileBytes(const std::string& path) : file_(std::fopen(path.c_str(), "rb"), &std::fclose) {
    if (file_ == nullptr) throw InputError(path + ": cannot be opened: " + std::strerror(errno));
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored))
      throw InputError(path + ": is a folder, expected a trace file");
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
  }
  std::size_t read(char* to, std::size_t capacity) override {
    const std::size_t got = std::fread(to, 1, capacity, file_.get());
    if (got == 0 && std::ferror(file_.get()) != 0)
      problem_ = std::string("cannot be read: ") + std::strerror(errno);
    return got;
  }

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class MemoryBytes final : public ByteStream {
 public:
  explicit MemoryBytes(std::string_view bytes) : left_(bytes) {}
  std::size_t read(char* to, std::size_t capacity) override {
    const std::size_t count = std::min(capacity, left_.size());
    std::copy_n(left_.data(), count, to);
    left_.remove_prefix(count);
    return count;
  }

 private:
  std::string_view left_;
};

// Puts bytes that were read to look at back in front.
class Prefixed final : public ByteStream {
 public:
  Prefixed(std::string front, std::unique_ptr<ByteStream> rest)
      : front_(std::move(front)), rest_(std::move(rest)) {}
  std::size_t read(char* to, std::size_t capacity) override {
    if (used_ < front_.size()) {
      const std::size_t count = std::min(capacity, front_.size() - used_);
      std::copy_n(front_.data() + used_, count, to);
      used_ += count;
      return count;
    }
    const std::size_t got = rest_->read(to, capacity);
    problem_ = rest_->problem();
    return got;
  }

 private:
  std::string front_;
  std::size_t used_ = 0;
  std::unique_ptr<ByteStream> rest_;
};

class GzipBytes final : public ByteStream {
 public:
  explicit GzipBytes(std::unique_ptr<ByteStream> packed) : packed_(std::move(packed)), buffer_(kChunk) {
    if (inflateInit2(&zlib_, 15 + 16) != Z_OK) throw std::bad_alloc();
  }
  GzipBytes(const GzipBytes&) = delete;
  GzipBytes& operator=(const GzipBytes&) = delete;
  ~GzipBytes() override { inflateEnd(&zlib_); }

  std::size_t read(char* to, std::size_t capacity) override {
    if (!problem_.empty()) return 0;
    zlib_.next_out = reinterpret_cast<Bytef*>(to);
    zlib_.avail_out = static_cast<uInt>(std::min<std::size_t>(capacity, 1U << 30));
    const uInt wanted = zlib_.avail_out;
    while (zlib_.avail_out == wanted) {
      if (zlib_.avail_in == 0 && !refill()) break;
      if (member_ended_) {
        inflateReset(&zlib_);
        member_ended_ = false;
      }
      const int status = inflate(&zlib_, Z_NO_FLUSH);
      if (status == Z_STREAM_END) {
        member_ended_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        problem_ =
            std::string("damaged gzip data (") + (zlib_.msg != nullptr ? zlib_.msg : "broken header") + ")";
        break;
      }
    }
    return wanted - zlib_.avail_out;
  }

 private:
  bool refill() {
    zlib_.avail_in = static_cast<uInt>(packed_->read(buffer_.data(), buffer_.size()));
    zlib_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    if (zlib_.avail_in > 0) return true;
    problem_ = packed_->problem();
    if (problem_.empty() && !member_ended_) problem_ = "the gzip data ends early (a cut-off file?)";
    return false;
  }

  std::unique_ptr<ByteStream> packed_;
  std::vector<char> buffer_;
  z_stream zlib_{};
  bool member_ended_ = false;
};

class ZstdBytes final : public ByteStream {
 public:
  explicit ZstdBytes(std::unique_ptr<ByteStream> packed)
      : packed_(std::move(packed)), buffer_(kChunk), zstd_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    if (zstd_ == nullptr) throw std::bad_alloc();
  }
  std::size_t read(char* to, std::size_t capacity) override {
    if (!problem_.empty()) return 0;
    ZSTD_outBuffer out{to, capacity, 0};
    while (out.pos == 0) {
      // A frame may still hold decoded bytes when the input is used up, so decode before refilling.
      if (in_.pos == in_.size && !more_inside_ && !refill()) break;
      const std::size_t before = in_.pos;
      const std::size_t status = ZSTD_decompressStream(zstd_.get(), &out, &in_);
      if (ZSTD_isError(status) != 0) {
        problem_ = std::string("damaged zstd data (") + ZSTD_getErrorName(status) + ")";
        break;
      }
      frame_ended_ = status == 0;
      more_inside_ = out.pos == out.size && !frame_ended_;
      if (in_.pos == before && out.pos == 0) more_inside_ = false;
    }
    return out.pos;
  }

 private:
  bool refill() {
    in_ = {buffer_.data(), packed_->read(buffer_.data(), buffer_.size()), 0};
    if (in_.size > 0) return true;
    problem_ = packed_->problem();
    if (problem_.empty() && !frame_ended_) problem_ = "the zstd data ends early (a cut-off file?)";
    return false;
  }

  std::unique_ptr<ByteStream> packed_;
  std::vector<char> buffer_;
  std::unique_ptr<ZSTD_DStream, std::size_t (*)(ZSTD_DStream*)> zstd_;
  ZSTD_inBuffer in_{nullptr, 0, 0};
  bool frame_ended_ = false;
  bool more_inside_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> open_bytes(const Source& source) {
  std::unique_ptr<ByteStream> raw;
  if (source.bytes)
    raw = std::make_unique<MemoryBytes>(*source.bytes);
  else
    raw = std::make_unique<FileBytes>(source.name);

  std::string magic(4, '\0');
  std::size_t got = 0;
  while (got < magic.size()) {
    const std::size_t count = raw->read(magic.data() + got, magic.size() - got);
    if (count == 0) break;
    got += count;
  }
  magic.resize(got);
  auto whole = std::make_unique<Prefixed>(magic, std::move(raw));
  if (magic.starts_with("\x1f\x8b")) return std::make_unique<GzipBytes>(std::move(whole));
  if (magic == "\x28\xb5\x2f\xfd") return std::make_unique<ZstdBytes>(std::move(whole));
  return whole;
}

std::string peek_bytes(const Source& source, std::size_t count) {
  const auto stream = open_bytes(source);
  std::string head(count, '\0');
  std::size_t got = 0;
  while (got < count) {
    const std::size_t more = stream->read(head.data() + got, count - got);
    if (more == 0) break;
    got += more;
  }
  if (got == 0 && !stream->problem().empty()) throw InputError({source.name, 1, 0}, stream->problem());
  head.resize(got);
  return head;
}

}  // namespace tessera
