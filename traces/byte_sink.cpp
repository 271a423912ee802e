#include "traces/byte_sink.hpp"

#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ostream>
#include <vector>

#include "models/base/check.hpp"
#include "models/base/error.hpp"

namespace tessera {
namespace {

class FileSink final : public ByteSink {
 public:
  explicit FileSink(const std::string& path)
      : path_(path), file_(std::fopen(path.c_str(), "wb"), &std::fclose) {
    if (file_ == nullptr) throw InputError(path + ": cannot be created: " + std::strerror(errno));
  }
  void write(std::string_view bytes) override {
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail();
  }
  void finish() override {
    if (std::fclose(file_.release()) != 0) fail();
  }

 private:
  [[noreturn]] void fail() const { throw RunError(path_ + ": cannot be written: " + std::strerror(errno)); }
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class StreamSink final : public ByteSink {
 public:
  explicit StreamSink(std::ostream& out) : out_(out) {}
  void write(std::string_view bytes) override {
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  void finish() override {
    out_.flush();
    if (!out_) throw RunError("the output cannot be written");
  }

 private:
  std::ostream& out_;
};

class GzipSink final : public ByteSink {
 public:
  explicit GzipSink(std::unique_ptr<ByteSink> to) : to_(std::move(to)), buffer_(64 * 1024) {
    if (deflateInit2(&zlib_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
      throw std::bad_alloc();
  }
  GzipSink(const GzipSink&) = delete;
  GzipSink& operator=(const GzipSink&) = delete;
  ~GzipSink() override { deflateEnd(&zlib_); }
  void write(std::string_view bytes) override {
    zlib_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib only reads it
    zlib_.avail_in = static_cast<uInt>(bytes.size());
    while (zlib_.avail_in > 0) pump(Z_NO_FLUSH);
  }
  void finish() override {
    while (pump(Z_FINISH) != Z_STREAM_END) {
    }
    to_->finish();
  }

 private:
  int pump(int flush) {
    zlib_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
    zlib_.avail_out = static_cast<uInt>(buffer_.size());
    const int status = deflate(&zlib_, flush);
    TESSERA_CHECK(status != Z_STREAM_ERROR, "deflate was handed a consistent state");
    to_->write({buffer_.data(), buffer_.size() - zlib_.avail_out});
    return status;
  }
  std::unique_ptr<ByteSink> to_;
  std::vector<char> buffer_;
  z_stream zlib_{};
};

class ZstdSink final : public ByteSink {
 public:
  explicit ZstdSink(std::unique_ptr<ByteSink> to)
      : to_(std::move(to)), buffer_(ZSTD_CStreamOutSize()), zstd_(ZSTD_createCStream(), &ZSTD_freeCStream) {
    if (zstd_ == nullptr) throw std::bad_alloc();
  }
  void write(std::string_view bytes) override {
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (in.pos < in.size) pump(in, ZSTD_e_continue);
  }
  void finish() override {
    ZSTD_inBuffer in{nullptr, 0, 0};
    while (pump(in, ZSTD_e_end) != 0) {
    }
    to_->finish();
  }

 private:
  std::size_t pump(ZSTD_inBuffer& in, ZSTD_EndDirective mode) {
    ZSTD_outBuffer out{buffer_.data(), buffer_.size(), 0};
    const std::size_t left = ZSTD_compressStream2(zstd_.get(), &out, &in, mode);
    TESSERA_CHECK(ZSTD_isError(left) == 0, "zstd was handed a consistent state");
    to_->write({buffer_.data(), out.pos});
    return left;
  }
  std::unique_ptr<ByteSink> to_;
  std::vector<char> buffer_;
  std::unique_ptr<ZSTD_CStream, std::size_t (*)(ZSTD_CStream*)> zstd_;
};

}  // namespace

std::unique_ptr<ByteSink> create_file(const std::string& path) {
  auto file = std::make_unique<FileSink>(path);
  if (path.ends_with(".gz")) return std::make_unique<GzipSink>(std::move(file));
  if (path.ends_with(".zst")) return std::make_unique<ZstdSink>(std::move(file));
  return file;
}

std::unique_ptr<ByteSink> to_stream(std::ostream& out) { return std::make_unique<StreamSink>(out); }

}  // namespace tessera
