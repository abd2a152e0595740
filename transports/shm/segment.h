// Segment: memory behind a file descriptor that can be handed to another process (memfd). It has no
// name anywhere, is gone with the last process that holds it, and is sealed against shrinking: no
// holder can take pages away from another.
//
// Resource type, move-only. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/base/status.h"
#include "comm/base/unique_fd.h"

namespace tutti {

class Segment {
 public:
  Segment() = default;
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  // A new one of zeros, mapped. Pages cost nothing until they are touched. `alignment` of the
  // mapping: a power of two, at least a page. kOutOfMemory.
  static Result<Segment> create(size_t bytes, size_t alignment);
  // A new one of which nothing is mapped yet.
  static Result<Segment> create_unmapped(size_t bytes);
  // One that another process has made, not mapped. kInvalidArgument when it is not sealed or
  // smaller than `bytes`.
  static Result<Segment> adopt_unmapped(UniqueFd fd, size_t bytes);

  std::byte* base() const { return base_; }  // null when nothing is mapped
  size_t bytes() const { return bytes_; }
  int fd() const { return fd_.get(); }
  uint64_t inode() const;  // 0 when the kernel does not tell
  // Another mapping of a part; the caller unmaps it.
  Result<void*> map(size_t offset, size_t bytes) const;
  // Copies into its beginning without mapping it.
  Status write(const void* from, size_t bytes);
  // Maps all of it at `at`, a page's address, in place of what is there, which stays when this
  // fails; the caller unmaps it. Returns an errno.
  int map_over(void* at) const;
  // A part of it likewise, so that what is written there stays with this process.
  int map_private_over(void* at, size_t offset, size_t bytes) const;
  // Gives the pages of a part back to the system: zeros from now on, wherever it is mapped.
  void discard(size_t offset, size_t bytes);

 private:
  Status map_all(size_t alignment);
  void unmap();

  UniqueFd fd_;
  std::byte* base_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace tutti
