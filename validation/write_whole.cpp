#include "validation/write_whole.hpp"

#include <filesystem>
#include <fstream>

#include "models/base/error.hpp"

namespace tessera {
namespace {

std::string beside(const std::string& path) { return path + ".part"; }

[[noreturn]] void refuse(const std::string& path) { throw InputError(path + ": cannot be written"); }

}  // namespace

void check_writable(const std::string& path) {
  if (std::filesystem::is_directory(path)) refuse(path);
  if (!std::ofstream(beside(path), std::ios::binary)) refuse(path);
  std::error_code ignored;
  std::filesystem::remove(beside(path), ignored);
}

void write_whole(const std::string& path, const std::string& text) {
  {
    std::ofstream out(beside(path), std::ios::binary | std::ios::trunc);
    out << text;
    out.flush();
    if (!out) refuse(path);
  }
  std::error_code error;
  std::filesystem::rename(beside(path), path, error);
  if (error) refuse(path);
}

}  // namespace tessera
