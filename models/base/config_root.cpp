#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "models/base/spec.hpp"

namespace tessera {

std::string config_root() {
  namespace fs = std::filesystem;
  if (const char* given = std::getenv("TESSERA_CONFIGS")) return given;
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    const fs::path installed = self.parent_path().parent_path() / "share" / "tessera" / "configs";
    if (fs::is_directory(installed, error)) return installed.string();
  }
  return TESSERA_SOURCE_DIR "/configs";
}

std::vector<std::string> config_names(const char* folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(fs::path(config_root()) / folder, error), end; !error && it != end;
       it.increment(error))
    if (it->path().extension() == ".yaml") names.push_back(it->path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tessera
