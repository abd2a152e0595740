// WorldCreation: a communicator of ranks in several processes (or several threads that find each
// other as if they were).
//
// Three rounds over an Exchange: (1) everybody's card; versions and settings are compared, the
// transport is chosen; (2) transport addresses; (3) "connected". A rank that fails says so in the
// next round, so that all ranks fail with its text and none is left waiting. Afterwards any rank
// can reach any other one, and nothing depends on the place where they met.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "comm/bootstrap/exchange.h"
#include "comm/net/address.h"
#include "comm/net/secret.h"
#include "comm/runtime/creation.h"

namespace tutti {

// How and where the ranks of a job meet.
struct Meeting {
  std::unique_ptr<Exchange> exchange;
  std::optional<Secret> secret;             // none: the exchange is trusted; rank 0 makes one
  std::optional<SocketAddress> rendezvous;  // for the choice of the interface
  std::string spent_secret;                 // a file to remove once all ranks are here; "": none
};

struct WorldPlan {
  int rank = 0;
  int nranks = 1;
  // Finds the other ranks; runs on the thread that makes the communicator.
  std::function<Result<Meeting>(const Patience&)> meet;
  bool by_mpi = false;  // an MPI has started the job
  Status any_thread;    // why only the thread that made the plan may use it, else ok
};

// What CommInitRank, CommInitEnv and CommInitExchange do on this thread. Errors name rank and
// cause; absent ranks are named at the deadline (the config's timeout). `abort` (not null) says
// that this is no thread of the caller's: then the transport must be one that any thread may call.
Result<std::unique_ptr<Communicator>> make_world(Process& process, const WorldPlan& plan,
                                                 const Config& config, const std::string& name,
                                                 const std::atomic<bool>* abort);

// The same on a thread of its own, which ends with it. Only for a plan that any thread may use.
class WorldCreation final : public Creation {
 public:
  WorldCreation(Process& process, WorldPlan plan, Config config, std::string name);
  ~WorldCreation() override;

 private:
  bool advance() override;
  std::atomic<bool> done_{false};  // release after the two below; pairs with acquire in advance()
  Status thread_result_;
  std::unique_ptr<Communicator> thread_made_;
  std::thread thread_;
};

}  // namespace tutti
