#include "tests/hostile/interposed.h"

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <dlfcn.h>
#include <pthread.h>

namespace {

std::atomic<uint64_t> allocations{0};
std::atomic<uint64_t> frees{0};
std::atomic<uint64_t> locks{0};

// Relaxed: counts, which order nothing.
void count(std::atomic<uint64_t>* what) { what->fetch_add(1, std::memory_order_relaxed); }

// The function that this program would have had.
template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// Seen by the libraries, which then use these.
#pragma GCC visibility push(default)
extern "C" {

// glibc's own, under the names that it gives them for this purpose.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
void* __libc_malloc(size_t bytes);
void* __libc_calloc(size_t n, size_t bytes);
void* __libc_realloc(void* old, size_t bytes);
void* __libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void* at);
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

void* malloc(size_t bytes) {
  count(&allocations);
  return __libc_malloc(bytes);
}

void* calloc(size_t n, size_t bytes) {
  count(&allocations);
  return __libc_calloc(n, bytes);
}

void* realloc(void* old, size_t bytes) {
  count(&allocations);
  return __libc_realloc(old, bytes);
}

void* memalign(size_t alignment, size_t bytes) {
  count(&allocations);
  return __libc_memalign(alignment, bytes);
}

void* aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void** at, size_t alignment, size_t bytes) {
  *at = memalign(alignment, bytes);
  return *at != nullptr ? 0 : ENOMEM;
}

void free(void* at) {
  if (at != nullptr) count(&frees);
  __libc_free(at);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_lock");
  count(&locks);
  return real(mutex);
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) {
  static auto* const real = next<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  count(&locks);
  return real(mutex);
}

int pthread_rwlock_rdlock(pthread_rwlock_t* lock) {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  count(&locks);
  return real(lock);
}

int pthread_rwlock_wrlock(pthread_rwlock_t* lock) {
  static auto* const real = next<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  count(&locks);
  return real(lock);
}

}  // extern "C"
#pragma GCC visibility pop

namespace tutti {

Asked asked() {
  return {allocations.load(std::memory_order_relaxed), frees.load(std::memory_order_relaxed),
          locks.load(std::memory_order_relaxed)};
}

}  // namespace tutti
