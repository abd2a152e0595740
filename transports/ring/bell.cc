#include "transports/ring/bell.h"

#include <cstdint>
#include <sys/eventfd.h>
#include <unistd.h>
#include <utility>

#include "comm/base/membarrier.h"

namespace tutti {
namespace {

int make_fd(OwnDoor::Reach reach) {
  const bool barrier =
      reach == OwnDoor::Reach::kProcess ? has_process_barrier() : has_host_barrier();
  return barrier ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
}

}  // namespace

Bell::Bell(OwnDoor::Reach reach)
    : reach_(reach), fd_(std::make_shared<const UniqueFd>(make_fd(reach))) {}

void Bell::add(std::shared_ptr<RingLink> link) {
  MutexLock lock(mutex_);
  link->add_sleepers(waiting_);
  links_.push_back(std::move(link));
}

void Bell::begin_wait() {
  if (!fd_->valid()) return;
  MutexLock lock(mutex_);
  ++waiting_;
  for (const auto& link : links_) link->add_sleepers(1);
  pass_barrier(reach_, false);
}

void Bell::end_wait() {
  if (!fd_->valid()) return;
  MutexLock lock(mutex_);
  --waiting_;
  for (const auto& link : links_) link->add_sleepers(-1);
  // What another thread was woken for is for it to take.
  uint64_t rung;
  if (waiting_ == 0) (void)!read(fd_->get(), &rung, sizeof(rung));
}

void Bell::ring(int fd) {
  constexpr uint64_t kOne = 1;
  if (fd >= 0) (void)!write(fd, &kOne, sizeof(kOne));
}

}  // namespace tutti
