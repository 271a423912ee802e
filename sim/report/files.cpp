#include "sim/report/files.hpp"

#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "models/base/error.hpp"

namespace tessera {

void make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error || !std::filesystem::is_directory(path)) throw RunError(path + ": cannot create the directory");
}

void write_file(const std::string& path, std::string_view bytes) {
  const std::string part = path + ".part";
  {
    std::ofstream out(part, std::ios::binary | std::ios::trunc);
    out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    out.flush();
    if (!out) throw RunError(path + ": cannot write the file (disk full or no permission?)");
  }
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (error) throw RunError(path + ": cannot write the file: " + error.message());
}

void check_writable(const std::string& path) {
  const std::string part = path + ".part";
  if (std::filesystem::is_directory(path) || !std::ofstream(part, std::ios::binary))
    throw InputError(path + ": cannot be written");
  std::error_code ignored;
  std::filesystem::remove(part, ignored);
}

std::string gzip(std::string_view text) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  if (deflateInit2(&stream, 6, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw RunError("zlib failed to start");
  std::string out(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw RunError("zlib failed");
  return out;
}

}  // namespace tessera
