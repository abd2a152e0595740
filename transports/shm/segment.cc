#include "transports/shm/segment.h"

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "transports/ring/ring.h"

namespace tutti {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;

size_t round_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

Status failed(Code code, const char* what, size_t bytes) {
  return error(code, "shm: %s of %zu bytes: %s", what, bytes, std::strerror(errno));
}

// Some hosts refuse those that could be executed (vm.memfd_noexec), old kernels do not know the
// flag.
UniqueFd make_memfd() {
  constexpr unsigned kNoExec = 0x0008;  // MFD_NOEXEC_SEAL, Linux 6.3
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const int fd = memfd_create("tutti", kFlags | kNoExec);
  return UniqueFd(fd >= 0 || errno != EINVAL ? fd : memfd_create("tutti", kFlags));
}

// Growing a file beyond the limit would not fail but kill the process (SIGXFSZ).
bool exceeds_file_limit(size_t bytes) {
  rlimit limit = {};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
         bytes > limit.rlim_cur;
}

}  // namespace

Segment::Segment(Segment&& other) noexcept { *this = std::move(other); }

Segment& Segment::operator=(Segment&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  fd_ = std::move(other.fd_);
  base_ = std::exchange(other.base_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

Segment::~Segment() { unmap(); }

void Segment::unmap() {
  if (base_ != nullptr) munmap(base_, bytes_);
  base_ = nullptr;
}

Result<Segment> Segment::create_unmapped(size_t bytes) {
  Segment segment;
  if (bytes > SIZE_MAX / 2) return error(Code::kOutOfMemory, "shm: %zu bytes are too many", bytes);
  segment.bytes_ = round_up(bytes == 0 ? 1 : bytes, kPageBytes);
  if (exceeds_file_limit(segment.bytes_)) {
    return error(Code::kOutOfMemory,
                 "shm: a segment of %zu bytes is longer than a file may be here (ulimit -f)",
                 segment.bytes_);
  }
  segment.fd_ = make_memfd();
  if (!segment.fd_.valid()) return failed(Code::kSystemError, "making a segment", bytes);
  if (ftruncate(segment.fd(), static_cast<off_t>(segment.bytes_)) != 0) {
    return failed(Code::kOutOfMemory, "growing a segment", bytes);
  }
  if (fcntl(segment.fd(), F_ADD_SEALS, kSeals) != 0) {
    return failed(Code::kSystemError, "sealing a segment", bytes);
  }
  return segment;
}

Result<Segment> Segment::create(size_t bytes, size_t alignment) {
  Result<Segment> made = create_unmapped(bytes);
  if (made.ok()) TUTTI_TRY(made.value().map_all(alignment));
  return made;
}

Result<Segment> Segment::adopt_unmapped(UniqueFd fd, size_t bytes) {
  Segment segment;
  struct stat info = {};
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd.get(), &info) != 0 ||
      info.st_size < 0 || static_cast<size_t>(info.st_size) < bytes) {
    return error(Code::kInvalidArgument, "shm: what came is no sealed segment of %zu bytes", bytes);
  }
  segment.fd_ = std::move(fd);
  segment.bytes_ = bytes;
  return segment;
}

// Address space for the worst case is reserved first, what is too much of it given back.
Status Segment::map_all(size_t alignment) {
  const size_t reserve = bytes_ + (alignment > kPageBytes ? alignment : 0);
  void* room =
      mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return failed(Code::kOutOfMemory, "mapping a segment", bytes_);
  const auto start = reinterpret_cast<uintptr_t>(room);
  const uintptr_t aligned = round_up(start, alignment);
  void* at = reinterpret_cast<void*>(aligned);
  if (aligned > start) munmap(room, aligned - start);
  const size_t rest = start + reserve - (aligned + bytes_);
  if (rest > 0) munmap(static_cast<std::byte*>(at) + bytes_, rest);
  if (mmap(at, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd(), 0) == MAP_FAILED) {
    Status status = failed(Code::kOutOfMemory, "mapping a segment", bytes_);
    munmap(at, bytes_);
    return status;
  }
  base_ = static_cast<std::byte*>(at);
  return Status();
}

Result<void*> Segment::map(size_t offset, size_t bytes) const {
  void* at =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd(), static_cast<off_t>(offset));
  if (at == MAP_FAILED) return failed(Code::kOutOfMemory, "mapping a part", bytes);
  return at;
}

Status Segment::write(const void* from, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const ssize_t put = pwrite(fd(), static_cast<const std::byte*>(from) + done, bytes - done,
                               static_cast<off_t>(done));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return failed(Code::kOutOfMemory, "filling a segment", bytes);
    done += static_cast<size_t>(put);
  }
  return Status();
}

int Segment::map_over(void* at) const {
  const void* mapped = mmap(at, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd(), 0);
  return mapped == MAP_FAILED ? errno : 0;
}

int Segment::map_private_over(void* at, size_t offset, size_t bytes) const {
  const void* mapped = mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd(),
                            static_cast<off_t>(offset));
  return mapped == MAP_FAILED ? errno : 0;
}

void Segment::discard(size_t offset, size_t bytes) {
  (void)fallocate(fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                  static_cast<off_t>(bytes));
}

uint64_t Segment::inode() const {
  struct stat info = {};
  return fstat(fd(), &info) == 0 ? info.st_ino : 0;
}

}  // namespace tutti
