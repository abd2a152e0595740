#include "comm/device/host_memory.h"

#include <cstdlib>

namespace tutti {
namespace {

constexpr size_t kPage = 4096;

}  // namespace

HostMemory::~HostMemory() {
  MutexLock lock(mutex_);
  for (const auto& range : ranges_) std::free(reinterpret_cast<void*>(range.first));
}

void* HostMemory::allocate(size_t bytes) {
  if (bytes > SIZE_MAX - kPage) return nullptr;
  void* p = std::aligned_alloc(kPage, (bytes + kPage - 1) / kPage * kPage);
  if (p == nullptr) return nullptr;
  MutexLock lock(mutex_);
  ranges_.emplace(reinterpret_cast<uintptr_t>(p), bytes);
  return p;
}

bool HostMemory::release(void* p) {
  MutexLock lock(mutex_);
  if (ranges_.erase(reinterpret_cast<uintptr_t>(p)) == 0) return false;
  std::free(p);
  return true;
}

std::optional<HostMemory::Range> HostMemory::find(const void* p) const {
  const auto address = reinterpret_cast<uintptr_t>(p);
  MutexLock lock(mutex_);
  auto after = ranges_.upper_bound(address);
  if (after == ranges_.begin()) return std::nullopt;
  const auto& [start, bytes] = *--after;
  if (address - start >= bytes) return std::nullopt;
  return Range{reinterpret_cast<void*>(start), bytes};
}

bool HostMemory::fits(const void* p, size_t bytes) const {
  const std::optional<Range> range = find(p);
  if (!range.has_value()) return true;
  const auto offset = static_cast<size_t>(static_cast<const uint8_t*>(p) -
                                          static_cast<const uint8_t*>(range->base));
  return bytes <= range->bytes - offset;
}

}  // namespace tutti
