#include "kernels/measure/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "models/base/error.hpp"

namespace tessera::measure {

FileLock::FileLock(const std::string& path, bool fresh)
    : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | (fresh ? O_EXCL : 0), 0666)) {
  if (file_ < 0 && fresh && errno == EEXIST)
    throw InputError(path + ": exists already, expected a new file, or --resume to go on with this one");
  if (file_ < 0) throw InputError(path + ": cannot be written: " + std::strerror(errno));
  // Where a file system has no locks the run goes on without.
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(file_);
    throw InputError(path + ": another run is writing it, expected one at a time");
  }
}

FileLock::~FileLock() { ::close(file_); }

}  // namespace tessera::measure
