// Rendezvous: the place where the ranks of one job meet over TCP: gathers what each sends in a
// round and hands everybody everything. One thread of its own while ranks are expected; it ends,
// and its ports are free again, when all ranks have come and gone, or when the object is destroyed.
//
// Wire (frames of comm/net/frame.h; the hello of a connection says who comes):
//   hello     "rendezvous", u32 rank, u32 nranks
//   kPiece    rank -> here   u32 round, the bytes
//   kAll      here -> rank   u32 round, each rank's bytes as text()
//   kMissing  rank -> here   empty; answered with kMissing: the numbers of the ranks still awaited
//   kFailed   here -> rank   u32 code, the text: the job cannot come about
//
// Threads: the constructor's and destructor's; everything else happens on the thread inside.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/base/log.h"
#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/connection.h"
#include "comm/net/listener.h"
#include "comm/net/secret.h"

namespace tutti {

enum RendezvousFrame : uint16_t { kPiece = 1, kAll, kMissing, kFailed };

class Rendezvous {
 public:
  // Listens on every one of `addresses` (ports 0: from `ports`); at least one must work.
  static Result<std::unique_ptr<Rendezvous>> open(const std::vector<SocketAddress>& addresses,
                                                  const PortRange& ports, const Secret& secret,
                                                  const Log& log);
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  const std::vector<SocketAddress>& addresses() const { return addresses_; }
  bool ended() const { return ended_.load(std::memory_order_acquire); }

 private:
  struct Guest;
  Rendezvous(const Secret& secret, Log log, UniqueFd wake);
  void run();
  void admit(Accepted accepted);
  void serve(Guest* guest);
  Status handle(Guest* guest, const Frame& frame);
  void finish_round();
  void fail(Code code, const std::string& text);
  void fail_for(int rank);
  std::vector<int> awaited() const;  // ranks whose piece of this round is not here
  void wait_for_work();
  void drop_closed();

  Log log_;
  KeyRing keys_;
  UniqueFd wake_;  // readable once the object is being destroyed
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<SocketAddress> addresses_;
  std::vector<std::unique_ptr<Guest>> guests_;
  int nranks_ = 0;  // as the first rank said
  uint32_t round_ = 0;
  std::vector<std::optional<std::string>> pieces_;  // of the round, by rank
  std::vector<bool> came_;
  Status failure_;  // once the job cannot come about; told to whoever still comes
  std::atomic<bool> ended_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace tutti
