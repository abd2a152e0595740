// ShmConnector: how the endpoints of one host come to share links.
//
// Each endpoint listens on an abstract unix socket, where only processes of its own user are heard,
// and only such as prove the job's secret. Of two endpoints the one with the lower number makes the
// link's segment and calls; the other answers. Nobody waits for an answer before settle(), so the
// order in which ranks call each other does not matter. Every wait has one deadline for all, and an
// abort flag. Not thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/clock.h"
#include "comm/net/patience.h"
#include "comm/net/secret.h"
#include "transports/shm/link.h"
#include "transports/shm/wire.h"

namespace tutti {

class ShmConnector {
 public:
  using LinkResult = Result<std::shared_ptr<ShmLink>>;

  struct Plan {
    int number = 0;          // of this endpoint
    int nranks = 2;          // endpoints that may call
    Secret secret = {};      // of their job
    int64_t connect_ns = 0;  // from the first connect() on
    Patience patience = {};  // half of what is left of it is enough
  };
  ShmConnector(const Plan& plan, std::shared_ptr<ShmOwn> own);

  Status listen();
  const ShmAddress& address() const { return address_; }
  // kUnsupported for an endpoint that cannot be reached from here (another host or network name
  // space, another user), kTimeout for one that has not called, kAborted.
  LinkResult connect(int peer, const ShmAddress& address);
  // Waits until all peers have answered; afterwards nobody can call any more.
  Status settle();

 private:
  // What has called and proved itself, or not said anything yet.
  struct Guest {
    UniqueFd socket;
    bool introduced = false;
    bool cut = false;  // what it has brought could not be taken
    ShmRecord hello = {};
    RecordFds fds;
  };
  struct Answer {
    int peer;
    std::shared_ptr<ShmLink> link;
  };

  LinkResult call(int peer, const ShmAddress& address);
  LinkResult wait_for(int peer, const ShmAddress& address);
  LinkResult welcome(int peer, const ShmAddress& address, Guest guest);
  Status reach(int socket, int peer, const ShmAddress& address);
  Status say(int socket, int peer, const ShmRecord& record, const std::vector<int>& fds);
  ShmRecord introduction(ShmRecordKind kind, const ShmAddress& to, std::vector<int>* fds) const;
  void serve();
  void accept_guests();
  void hear_guests();
  bool is_welcome(const ShmRecord& hello) const;
  Status pause(int peer, const char* what, int poll_ms);

  const Plan plan_;
  const std::shared_ptr<ShmOwn> own_;
  const std::unique_ptr<ShmNonce> probe_;  // where peers look whether they can read our memory
  ShmAddress address_;
  UniqueFd listener_;
  int listener_errno_ = 0;  // why nobody could be let in, last time
  Deadline deadline_ = Deadline::never();
  std::list<Guest> guests_;
  std::vector<Answer> links_;  // in order of connect()
};

}  // namespace tutti
