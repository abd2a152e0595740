// Listener: takes connections on one address and lets through those that prove the secret.
//
// Strangers cost little: at most kMaxHalfOpen connections are in the handshake at once (the oldest
// gives way to a new one, once it has had kGraceNs), each for kHandshakeNs at most, and each source
// address gets one line in the log. A connection that fails its handshake is closed without a word;
// one that ends for another reason is reset, so that a client of ours tries again. Not thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "comm/base/clock.h"
#include "comm/base/log.h"
#include "comm/base/status.h"
#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/connection.h"
#include "comm/net/handshake.h"
#include "comm/net/secret.h"

namespace tutti {

struct Accepted {
  Connection connection;
  std::string hello;
  uint64_t key;  // key id of the secret it proved
};

class Listener {
 public:
  static constexpr size_t kMaxHalfOpen = 64;
  static constexpr int64_t kHandshakeNs = 5'000'000'000;
  // More clients than kMaxHalfOpen that come at once wait in the kernel's queue meanwhile.
  static constexpr int64_t kGraceNs = 100'000'000;

  // Binds exactly `address`; its port, or with port 0 one of `ports` (tried in an order that
  // differs between processes). kSystemError names address and range when nothing is free. `keys`
  // must outlive the listener.
  static Result<std::unique_ptr<Listener>> open(const SocketAddress& address,
                                                const PortRange& ports, const KeyRing& keys,
                                                Log log);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const SocketAddress& address() const { return address_; }
  // Readable when poll() has something to do; it must also be called every second or so for the
  // deadlines of handshakes.
  int fd() const;
  // Goes on with everything that can go on now; returns those that have proved the secret. Never
  // waits. Running out of descriptors is logged once and ends no connection that is through.
  std::vector<Accepted> poll() { return poll(now_ns()); }
  std::vector<Accepted> poll(int64_t now);  // as if it were `now`
  size_t half_open() const { return half_open_.size(); }

 private:
  struct HalfOpen;
  // Readable when a socket or the timer is.
  struct Watch {
    UniqueFd epoll;
    UniqueFd timer;
  };
  using Position = std::list<std::unique_ptr<HalfOpen>>::iterator;
  Listener(UniqueFd socket, Watch watch, const SocketAddress& address, const KeyRing& keys,
           Log log);
  static Result<UniqueFd> listen_on(const SocketAddress& address, const PortRange& ports);
  static Result<Watch> make_watch(int socket);

  bool full() const { return half_open_.size() >= kMaxHalfOpen; }
  void accept_new(int64_t now, std::vector<Accepted>* through);
  bool accept_one(int64_t now, std::vector<Accepted>* through);
  void stop_accepting(int64_t now, int failure);
  void go_on(Position position, std::vector<Accepted>* through);
  void refuse(Position position, const std::string& why);
  void drop(Position position, const std::string& why);
  void report(const SocketAddress& source, const std::string& why);
  void watch_next(int64_t now);

  UniqueFd socket_;
  Watch watch_;
  SocketAddress address_;
  const KeyRing& keys_;
  Log log_;
  std::list<std::unique_ptr<HalfOpen>> half_open_;  // oldest first
  std::set<std::string> reported_;                  // sources that have had their line
  int64_t accept_again_ns_ = 0;                     // not before, for want of descriptors
  bool told_stop_ = false;
  bool watches_socket_ = true;
};

}  // namespace tutti
