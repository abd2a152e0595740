// Bell: how the threads of an endpoint sleep, and its peers wake them.
//
// An eventfd that peers write after they have stored something for an endpoint of which a thread
// sleeps. To know that costs them one load of a line that hardly ever changes: a thread that is
// about to sleep says so on every link, makes all threads of the peers pass a barrier and looks
// once more, so none of them can have missed it. Any thread.
#pragma once

#include <memory>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/unique_fd.h"
#include "transports/ring/door.h"
#include "transports/ring/link.h"

namespace tutti {

class Bell {
 public:
  // Without descriptors or barriers there is none: fd() is -1 and nobody sleeps on it.
  explicit Bell(OwnDoor::Reach reach);
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  int fd() const { return fd_->get(); }
  // For peers in this process, which may keep it.
  const std::shared_ptr<const UniqueFd>& shared_fd() const { return fd_; }
  // Lets the peer of this link wake us.
  void add(std::shared_ptr<RingLink> link);

  void begin_wait();
  void end_wait();

  // For peers, with their copy of the descriptor; -1 is fine.
  static void ring(int fd);

 private:
  const OwnDoor::Reach reach_;
  const std::shared_ptr<const UniqueFd> fd_;
  Mutex mutex_;
  int waiting_ TUTTI_GUARDED_BY(mutex_) = 0;
  std::vector<std::shared_ptr<RingLink>> links_ TUTTI_GUARDED_BY(mutex_);
};

}  // namespace tutti
