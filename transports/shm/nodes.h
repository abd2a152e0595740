// MemoryNodes: on which node of a host with several (NUMA) memory is to lie.
//
// A wish: where it cannot be had, memory lies where the kernel puts it. With one node, nothing is
// asked of the kernel after the first look; what it refuses once (containers may forbid it) is not
// asked again. Any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <string_view>

namespace tutti {

// The nodes in a list as the kernel writes them, such as "0-3,7"; 1 when it makes no sense.
int count_nodes(std::string_view list);

class MemoryNodes {
 public:
  // What is asked of the system; tests bring their own.
  struct System {
    int count = 1;
    // Of the thread that asks; -1 when there is no saying, or it has been told where to allocate
    // (numactl).
    std::function<int()> current;
    // Pages that nobody has touched yet come from `node`, whoever touches them, while it has any.
    // Of memory mapped from a segment this holds for all its mappings, also when this one is gone.
    // Returns 0 or an errno.
    std::function<int(void* at, size_t bytes, int node)> prefer;
  };
  static System host();

  explicit MemoryNodes(System system = host());
  MemoryNodes(const MemoryNodes&) = delete;
  MemoryNodes& operator=(const MemoryNodes&) = delete;

  // Of the calling thread; -1 where that does not matter or is not known.
  int current() const;
  // Whole pages. Nothing for node -1.
  void prefer(void* at, size_t bytes, int node);
  // The errno of the first refusal, 0 for none.
  int refused() const { return refused_.load(std::memory_order_acquire); }

 private:
  const System system_;
  std::atomic<int> refused_{0};
};

}  // namespace tutti
