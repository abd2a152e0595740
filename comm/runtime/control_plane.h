// ControlPlane: the links on which ranks of different processes tell each other about their
// communicators: that they are there, what they called, that they failed or left. Not a data path:
// links are opened when a rank has waited for a while, when a call must be explained, or when there
// is bad news; a job that runs well opens none.
//
// One per process, with one thread, asleep unless something happens. What it learns it writes on
// the boards of the communicators (board.h).
//
// Threads: any. Nothing here waits but ask_all().
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "comm/base/log.h"
#include "comm/base/mutex.h"
#include "comm/base/unique_fd.h"
#include "comm/net/connection.h"
#include "comm/net/dial.h"
#include "comm/net/listener.h"
#include "comm/net/secret.h"
#include "comm/runtime/board.h"
#include "comm/runtime/control_message.h"

namespace tutti {

// One rank's place in a job: how its control plane reaches the others'.
struct World {
  uint64_t id = 0;
  int rank = 0;
  Secret secret = {};
  std::vector<SocketAddress> control;  // by rank
};

// One rank of a communicator, as its own process sees it.
struct Membership {
  uint64_t comm = 0;
  int rank = 0;              // in the communicator
  std::vector<int> members;  // world rank of each rank
  std::shared_ptr<Board> board;
  std::shared_ptr<const World> world;
};

class ControlPlane {
 public:
  ControlPlane();
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  // Where other processes reach this one; opens a listener on `host` unless there is one already,
  // and starts the thread. `log` is kept.
  Result<SocketAddress> listen(const SocketAddress& host, const PortRange& ports, Log log);
  // Joins the thread and closes everything. Idempotent; other calls do nothing afterwards.
  void stop();

  // Between the two, links of this rank of this world are accepted and made.
  void enter(std::shared_ptr<const World> world);
  void exit(const World& world);

  void join(const Membership& m);
  // Tells who is listening that this side has ended, and the failure, if any, that it ended with.
  void leave(const Membership& m);
  // To every member: this rank is there; it has failed.
  void announce(const Membership& m);
  void fail(const Membership& m, const Failure& failure);
  // Opens a link to `rank` of the communicator, so that the end of its process is noticed.
  void watch(const Membership& m, int rank);
  // Asks every other member what it has called; returns when all have answered, or cannot, or
  // `deadline`.
  void ask_all(const Membership& m, Deadline deadline);

 private:
  struct Link;
  struct WorldState;
  struct Seat;                                          // of one rank in one communicator
  using SeatKey = std::tuple<uint64_t, int, uint64_t>;  // world, rank there, communicator

  void run();
  void wait_for_work();
  void wake();
  void accept(Accepted accepted) TUTTI_REQUIRES(mutex_);
  bool has_unsaid() const TUTTI_REQUIRES(mutex_);
  void go_on(Link* link) TUTTI_REQUIRES(mutex_);
  void dial_on(Link* link) TUTTI_REQUIRES(mutex_);
  void close(Link* link, const std::string& why) TUTTI_REQUIRES(mutex_);
  void handle(Link* link, const ControlMessage& message) TUTTI_REQUIRES(mutex_);
  void answer(Link* link, const ControlMessage& question) TUTTI_REQUIRES(mutex_);
  void learn(const Seat& seat, int from, const ControlMessage& message) TUTTI_REQUIRES(mutex_);
  Link* link_to(const World& world, int peer) TUTTI_REQUIRES(mutex_);
  void tell(const Membership& m, int rank, const ControlMessage& message) TUTTI_REQUIRES(mutex_);
  void tell_all(const Membership& m, const ControlMessage& message) TUTTI_REQUIRES(mutex_);
  void count_answer(uint64_t question, int from) TUTTI_REQUIRES(mutex_);

  KeyRing keys_;
  UniqueFd wake_;
  Mutex mutex_;
  CondVar answered_;
  Log log_ TUTTI_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Listener>> listeners_ TUTTI_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Link>> links_ TUTTI_GUARDED_BY(mutex_);
  std::map<std::pair<uint64_t, int>, WorldState> worlds_ TUTTI_GUARDED_BY(mutex_);
  std::map<SeatKey, Seat> seats_ TUTTI_GUARDED_BY(mutex_);
  // Ranks whose answer to a question has not come: ask_all() waits for them.
  std::map<uint64_t, std::vector<int>> awaited_ TUTTI_GUARDED_BY(mutex_);
  uint64_t questions_ TUTTI_GUARDED_BY(mutex_) = 0;
  bool stopping_ TUTTI_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace tutti
