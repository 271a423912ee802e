// A file this process alone writes, as long as the lock lives: two runs that go on with one table would
// measure every point twice.
#pragma once

#include <string>

namespace tessera::measure {

class FileLock {
 public:
  // Opens the file, or makes it. With `fresh` it must not be there yet. Throws InputError, also where another
  // holds it.
  FileLock(const std::string& path, bool fresh);
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int file_;
};

}  // namespace tessera::measure
