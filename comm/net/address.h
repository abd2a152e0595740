// SocketAddress: where a TCP socket listens or connects to; and the choice of the interface that
// this process listens on. Values; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <vector>

#include "comm/base/status.h"
#include "comm/net/patience.h"

namespace tutti {

class SocketAddress {
 public:
  SocketAddress() = default;  // of no family
  SocketAddress(const sockaddr* address, socklen_t length);

  // "192.0.2.7:8000", "[2001:db8::1]:8000": numbers only, never a name look-up.
  static Result<SocketAddress> parse(std::string_view text);
  // As parse(), but HOST may be a name: all its addresses, each once, those that the system would
  // try first in front. Numbers are never looked up. kTimeout and kAborted name the host; the
  // system may then go on looking for a while, on a thread that nobody waits for.
  static Result<std::vector<SocketAddress>> resolve(std::string_view host_and_port,
                                                    const Patience& patience);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }
  int family() const { return storage_.ss_family; }
  uint16_t port() const;
  SocketAddress with_port(uint16_t port) const;
  bool is_loopback() const;
  std::string host() const;  // without the port, no brackets
  std::string text() const;  // what parse() reads
  bool operator==(const SocketAddress& other) const { return text() == other.text(); }

 private:
  sockaddr_storage storage_ = {};
  socklen_t length_ = 0;
};

struct Interface {
  std::string name;
  SocketAddress address;  // port 0
  int prefix_bits;        // of its network
};

// Those that are up, in the system's order; an interface with several addresses appears once each.
Result<std::vector<Interface>> list_interfaces();

// The interface that `selector` (TUTTI_SOCKET_IFNAME) picks: comma-separated terms, each a name
// ("eth0"), a glob ("ens*") or a CIDR network ("10.0.0.0/8", "fd00::/8"), with '^' in front to take
// away what matches. An interface is picked when a positive term matches it, or there is no
// positive term and it is no loopback, and no negative term matches; the first one wins, IPv4
// before IPv6. kInvalidArgument for a malformed selector or one that leaves nothing: the text lists
// what there is. Pure.
Result<SocketAddress> choose_interface(std::string_view selector,
                                       std::span<const Interface> interfaces);

// The source address the kernel would use toward `peer`, port 0. Sends nothing.
Result<SocketAddress> source_toward(const SocketAddress& peer);

// TUTTI_PORT_RANGE: "LO-HI", 1 <= LO <= HI <= 65535. {0, 0}: whatever port is free.
struct PortRange {
  uint16_t low = 0;
  uint16_t high = 0;
};
Result<PortRange> parse_port_range(std::string_view text);

}  // namespace tutti
