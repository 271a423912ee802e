// A vector whose memory asks for 2 MiB pages: state indexed by random keys misses the TLB on nearly every
// access with 4 KiB pages. Advice only; where the kernel gives none the vector works the same.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <vector>

namespace tessera {

template <class T>
struct HugePageAllocator {
  using value_type = T;
  static constexpr std::size_t kPage = std::size_t{2} << 20;

  HugePageAllocator() = default;
  template <class U>
  HugePageAllocator(const HugePageAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes < kWorthAPage) return static_cast<T*>(::operator new(bytes, kSmall));
    const std::size_t whole_pages = (bytes + kPage - 1) / kPage * kPage;
    void* memory = ::operator new (whole_pages, std::align_val_t{kPage});
    madvise(memory, whole_pages, MADV_HUGEPAGE);
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    ::operator delete (memory, bytes < kWorthAPage ? kSmall : std::align_val_t{kPage});
  }
  friend bool operator==(const HugePageAllocator&, const HugePageAllocator&) { return true; }

 private:
  static constexpr std::size_t kWorthAPage = std::size_t{256} << 10;  // 64 small pages fill a first-level TLB
  static constexpr std::align_val_t kSmall{64};                       // a cache line
};

template <class T>
using HugeVector = std::vector<T, HugePageAllocator<T>>;

}  // namespace tessera
