// Memory of a caller, and what the kernel says of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <gtest/gtest.h>
#include <string>
#include <sys/mman.h>

#include "transports/shm/mappings.h"

namespace tutti {

inline constexpr size_t kPage = 4096;

// Pages as a caller may have them.
class Pages {
 public:
  explicit Pages(size_t bytes, int kind = MAP_PRIVATE | MAP_ANONYMOUS, int fd = -1)
      : bytes_(bytes), data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, kind, fd, 0)) {
    EXPECT_NE(data_, MAP_FAILED);
  }
  ~Pages() { munmap(data_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  const size_t bytes_;
  void* const data_;
};

struct Malloced {
  explicit Malloced(size_t bytes) : data(static_cast<std::byte*>(std::malloc(bytes))) {}
  ~Malloced() { std::free(data); }
  Malloced(const Malloced&) = delete;
  Malloced& operator=(const Malloced&) = delete;
  std::byte* const data;
};

// What the kernel says of an address.
inline Mapping mapping_at(const void* at) {
  const auto low = reinterpret_cast<uintptr_t>(at);
  const auto mappings = mappings_of(low, low + 1);
  return mappings.ok() && mappings.value().size() == 1 ? mappings.value()[0] : Mapping{};
}

// "rw-p" or "rw-s"; empty where nothing is.
inline std::string access_of(const void* at) { return mapping_at(at).access; }

}  // namespace tutti
