// Cache keys in order of access, for replay: one key per line, or libCacheSim's oracleGeneral records
// (24 bytes, little-endian: u32 time, u64 key, u32 size, i64 number of the next access to the key).
//
// A line that is a whole number below 2^64 is that key; any other text is its 64-bit FNV-1a hash (two
// texts meet with probability n^2/2^65). Streams: no memory per access.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "traces/byte_stream.hpp"

namespace tessera {

inline constexpr std::int64_t kNeverAgain = -1;

struct KeyAccess {
  std::uint64_t key = 0;
  std::uint32_t time = 0;                  // oracleGeneral's clock; 0 in text
  std::uint32_t size = 1;                  // bytes; 1 in text
  std::int64_t next_access = kNeverAgain;  // by number of access, from 0; kNeverAgain in text
};

class KeyReader {
 public:
  KeyReader() = default;
  KeyReader(const KeyReader&) = delete;
  KeyReader& operator=(const KeyReader&) = delete;
  virtual ~KeyReader() = default;
  virtual bool next(KeyAccess& access) = 0;
};

// `format`: auto, keys or oracle. Throws InputError if the file holds requests instead, or nothing.
std::unique_ptr<KeyReader> open_keys(const Source& source, const std::string& format = "auto");

}  // namespace tessera
