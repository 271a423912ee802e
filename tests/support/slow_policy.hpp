// What slow replacement policies stand on: lists and maps. A list has its oldest key in front.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>

#include "sim/memory/replacement.hpp"

namespace tessera::test {

using Key = std::uint32_t;
using Keys = std::list<Key>;

inline bool has(const Keys& keys, Key key) { return std::find(keys.begin(), keys.end(), key) != keys.end(); }
inline Key take_oldest(Keys& keys) {
  const Key key = keys.front();
  keys.pop_front();
  return key;
}

class SlowPolicy {
 public:
  explicit SlowPolicy(const CacheSetup& setup) : setup_(setup) {}
  virtual ~SlowPolicy() = default;
  virtual void begin_request(std::int64_t) {}
  virtual bool access(Key key) = 0;
  [[nodiscard]] virtual bool contains(Key key) const = 0;

 protected:
  [[nodiscard]] std::int64_t weight(Key key) const { return setup_.sizes.empty() ? 1 : setup_.sizes[key]; }
  [[nodiscard]] std::int64_t weight(const Keys& keys) const {
    std::int64_t sum = 0;
    for (const Key key : keys) sum += weight(key);
    return sum;
  }
  [[nodiscard]] bool over(const Keys& keys, Key newcomer) const {
    return weight(keys) + weight(newcomer) > setup_.capacity;
  }
  [[nodiscard]] std::size_t capacity() const { return static_cast<std::size_t>(setup_.capacity); }
  CacheSetup setup_;
};

}  // namespace tessera::test
