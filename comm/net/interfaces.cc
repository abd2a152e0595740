#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <fnmatch.h>
#include <ifaddrs.h>
#include <memory>
#include <net/if.h>
#include <netinet/in.h>
#include <optional>

#include "comm/base/unique_fd.h"
#include "comm/net/address.h"
#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr size_t kMaxShown = 200;     // of a bad text, in a message
constexpr uint16_t kDiscardPort = 9;  // some port, where none is given

// The bytes of the address itself, in network order.
std::string_view address_bytes(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(address.get());
    return {reinterpret_cast<const char*>(&v4->sin_addr), sizeof(v4->sin_addr)};
  }
  const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(address.get());
  return {reinterpret_cast<const char*>(&v6->sin6_addr), sizeof(v6->sin6_addr)};
}

int count_bits(std::string_view mask) {
  int bits = 0;
  for (const char c : mask) bits += __builtin_popcount(static_cast<uint8_t>(c));
  return bits;
}

// One term of a selector.
struct Term {
  bool negative = false;
  std::string pattern;  // of names; empty for a network
  std::string network;  // address bytes
  int prefix_bits = 0;
};

bool in_network(const SocketAddress& address, const Term& term) {
  const std::string_view bytes = address_bytes(address);
  if (bytes.size() != term.network.size()) return false;
  const size_t whole = static_cast<size_t>(term.prefix_bits) / 8;
  if (bytes.substr(0, whole) != std::string_view(term.network).substr(0, whole)) return false;
  const int rest = term.prefix_bits % 8;
  if (rest == 0) return true;
  const int difference =
      static_cast<uint8_t>(bytes[whole]) ^ static_cast<uint8_t>(term.network[whole]);
  return difference >> (8 - rest) == 0;
}

bool matches(const Interface& interface, const Term& term) {
  if (term.pattern.empty()) return in_network(interface.address, term);
  return fnmatch(term.pattern.c_str(), interface.name.c_str(), 0) == 0;
}

std::optional<Term> parse_network(std::string_view text) {
  const size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  const std::string_view digits = text.substr(slash + 1);
  uint8_t bytes[sizeof(in6_addr)];
  Term term;
  if (inet_pton(AF_INET, host.c_str(), bytes) == 1) {
    term.network.assign(reinterpret_cast<const char*>(bytes), sizeof(in_addr));
  } else if (inet_pton(AF_INET6, host.c_str(), bytes) == 1) {
    term.network.assign(reinterpret_cast<const char*>(bytes), sizeof(in6_addr));
  } else {
    return std::nullopt;
  }
  const char* const end = digits.data() + digits.size();
  const auto [stop, failure] = std::from_chars(digits.data(), end, term.prefix_bits);
  const int most = static_cast<int>(term.network.size() * 8);
  if (failure != std::errc() || stop != end) return std::nullopt;
  if (term.prefix_bits < 0 || term.prefix_bits > most) return std::nullopt;
  return term;
}

std::optional<Term> parse_term(std::string_view text) {
  const bool negative = !text.empty() && text.front() == '^';
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.find('^') != std::string_view::npos) return std::nullopt;
  Term term;
  if (text.find('/') != std::string_view::npos) {
    const std::optional<Term> network = parse_network(text);
    if (!network) return std::nullopt;
    term = *network;
  } else {
    term.pattern = text;
  }
  term.negative = negative;
  return term;
}

std::optional<std::vector<Term>> parse_selector(std::string_view selector) {
  std::vector<Term> terms;
  while (!selector.empty()) {
    const size_t comma = selector.find(',');
    const std::optional<Term> term = parse_term(selector.substr(0, comma));
    if (!term) return std::nullopt;
    terms.push_back(*term);
    if (comma == std::string_view::npos) break;
    selector.remove_prefix(comma + 1);
    if (selector.empty()) return std::nullopt;  // a trailing comma
  }
  return terms;
}

bool is_picked(const Interface& interface, const std::vector<Term>& terms) {
  bool any_positive = false;
  bool wanted = false;
  for (const Term& term : terms) {
    if (term.negative) {
      if (matches(interface, term)) return false;
    } else {
      any_positive = true;
      wanted = wanted || matches(interface, term);
    }
  }
  return any_positive ? wanted : !interface.address.is_loopback();
}

std::string list_text(std::span<const Interface> interfaces) {
  std::string text;
  for (const Interface& interface : interfaces) {
    if (!text.empty()) text += ", ";
    text.append(interface.name).append(" ").append(interface.address.host());
    text.append("/").append(std::to_string(interface.prefix_bits));
  }
  return text.empty() ? "none" : text;
}

std::string shown(std::string_view text) { return std::string(text.substr(0, kMaxShown)); }

std::optional<Interface> read_interface(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr || (entry.ifa_flags & IFF_UP) == 0) return std::nullopt;
  const int family = entry.ifa_addr->sa_family;
  if (family != AF_INET && family != AF_INET6) return std::nullopt;
  const socklen_t length = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  const SocketAddress address(entry.ifa_addr, length);
  if (family == AF_INET6) {
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(address.get());
    // Worth nothing to a peer, who would have to know which of its own interfaces leads here.
    if (IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr)) return std::nullopt;
  }
  int prefix_bits = static_cast<int>(address_bytes(address).size() * 8);
  if (entry.ifa_netmask != nullptr) {
    // Some systems leave the mask's family unset.
    sockaddr_storage mask = {};
    std::copy_n(reinterpret_cast<const char*>(entry.ifa_netmask), length,
                reinterpret_cast<char*>(&mask));
    mask.ss_family = static_cast<sa_family_t>(family);
    prefix_bits =
        count_bits(address_bytes(SocketAddress(reinterpret_cast<const sockaddr*>(&mask), length)));
  }
  return Interface{entry.ifa_name, address.with_port(0), prefix_bits};
}

}  // namespace

Result<std::vector<Interface>> list_interfaces() {
  ifaddrs* first = nullptr;
  if (getifaddrs(&first) != 0) {
    return error(Code::kSystemError, "cannot list network interfaces: %s",
                 errno_text(errno).c_str());
  }
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(first, &freeifaddrs);
  std::vector<Interface> interfaces;
  for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
    std::optional<Interface> interface = read_interface(*entry);
    if (interface) interfaces.push_back(std::move(*interface));
  }
  return interfaces;
}

Result<SocketAddress> choose_interface(std::string_view selector,
                                       std::span<const Interface> interfaces) {
  const std::optional<std::vector<Term>> terms = parse_selector(selector);
  if (!terms) {
    return error(Code::kInvalidArgument,
                 "interfaces \"%s\": expected comma-separated names (eth0, ens*) or networks "
                 "(10.0.0.0/8), each with '^' in front to leave it out; there is: %s",
                 shown(selector).c_str(), list_text(interfaces).c_str());
  }
  for (const int family : {AF_INET, AF_INET6}) {
    for (const Interface& interface : interfaces) {
      if (interface.address.family() == family && is_picked(interface, *terms)) {
        return interface.address;
      }
    }
  }
  return error(Code::kInvalidArgument, "no network interface is left by \"%s\"; there is: %s",
               shown(selector).c_str(), list_text(interfaces).c_str());
}

Result<SocketAddress> source_toward(const SocketAddress& peer) {
  // Connecting a datagram socket looks up the route and sends nothing.
  const UniqueFd fd(socket(peer.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress target = peer.port() == 0 ? peer.with_port(kDiscardPort) : peer;
  if (!fd.valid() || connect(fd.get(), target.get(), target.length()) != 0) {
    return error(Code::kSystemError, "no way to %s: %s", peer.host().c_str(),
                 errno_text(errno).c_str());
  }
  const SocketAddress source = local_address(fd.get());
  if (source.family() != peer.family()) {
    return error(Code::kSystemError, "no source address toward %s", peer.host().c_str());
  }
  return source.with_port(0);
}

Result<PortRange> parse_port_range(std::string_view text) {
  PortRange range;
  const char* const end = text.data() + text.size();
  const auto low = std::from_chars(text.data(), end, range.low);
  if (low.ec == std::errc() && low.ptr != end && *low.ptr == '-') {
    const auto high = std::from_chars(low.ptr + 1, end, range.high);
    const bool whole = high.ec == std::errc() && high.ptr == end;
    if (whole && range.low >= 1 && range.low <= range.high) return range;
  }
  return error(Code::kInvalidArgument,
               "expected a port range LO-HI with 1 <= LO <= HI <= 65535, got \"%s\"",
               shown(text).c_str());
}

}  // namespace tutti
