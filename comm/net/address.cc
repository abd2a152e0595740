#include "comm/net/address.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "comm/base/mutex.h"
#include "comm/base/thread.h"
#include "comm/base/unique_fd.h"
#include "comm/net/socket.h"

namespace tutti {
namespace {

constexpr size_t kMaxShown = 200;  // of a bad text, in a message

template <typename Number>
std::optional<Number> parse_whole(std::string_view text) {
  Number value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, value);
  if (failure != std::errc() || stop != end) return std::nullopt;
  return value;
}

SocketAddress make_address(const sockaddr_in& address) {
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

SocketAddress make_address(const sockaddr_in6& address) {
  return SocketAddress(reinterpret_cast<const sockaddr*>(&address), sizeof(address));
}

// "HOST:PORT" or "[HOST]:PORT" taken apart.
struct Parts {
  std::string host;
  uint16_t port;
  bool bracketed;
};

std::optional<Parts> split(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::optional<uint16_t> port = parse_whole<uint16_t>(text.substr(colon + 1));
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  // A colon left in the host is an IPv6 address without its brackets; '\0' would cut it short.
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (!port || host.empty() || has_colon != bracketed) return std::nullopt;
  if (host.find('\0') != std::string_view::npos) return std::nullopt;
  return Parts{std::string(host), *port, bracketed};
}

// "fe80::1%eth0" or "fe80::1%2": which interface a link-local address is about.
std::optional<uint32_t> parse_scope(const std::string& text) {
  const uint32_t index = if_nametoindex(text.c_str());
  if (index != 0) return index;
  return parse_whole<uint32_t>(text);
}

std::optional<SocketAddress> parse_numbers(const Parts& parts) {
  if (!parts.bracketed) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(parts.port);
    if (inet_pton(AF_INET, parts.host.c_str(), &address.sin_addr) != 1) return std::nullopt;
    return make_address(address);
  }
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(parts.port);
  const size_t percent = parts.host.find('%');
  if (percent != std::string::npos) {
    const std::optional<uint32_t> scope = parse_scope(parts.host.substr(percent + 1));
    if (!scope) return std::nullopt;
    address.sin6_scope_id = *scope;
  }
  const std::string numbers = parts.host.substr(0, percent);
  if (inet_pton(AF_INET6, numbers.c_str(), &address.sin6_addr) != 1) return std::nullopt;
  return make_address(address);
}

std::string shown(std::string_view text) { return std::string(text.substr(0, kMaxShown)); }

Status bad_address(std::string_view text, const char* host) {
  return error(Code::kInvalidArgument,
               "expected an address as %s:8000 or [2001:db8::1]:8000, got \"%s\"", host,
               shown(text).c_str());
}

const sockaddr_in* as_v4(const sockaddr* address) {
  return address->sa_family == AF_INET ? reinterpret_cast<const sockaddr_in*>(address) : nullptr;
}

const sockaddr_in6* as_v6(const sockaddr* address) {
  return address->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(address) : nullptr;
}

// One look-up of a name. getaddrinfo() takes as long as the system's resolver likes and cannot be
// interrupted, so it has a thread of its own: who gives up leaves it behind, and it ends by itself,
// with all it holds. (getaddrinfo_a() would do the same, but for memory lost at every time-out.)
struct LookUp {
  explicit LookUp(std::string name) : host(std::move(name)) {}
  void run();

  const std::string host;
  const UniqueFd ended{eventfd(0, EFD_CLOEXEC)};  // readable once it has
  Mutex mutex;
  std::vector<SocketAddress> found TUTTI_GUARDED_BY(mutex);
  std::string why TUTTI_GUARDED_BY(mutex);  // there is none
};

void LookUp::run() {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int failure = getaddrinfo(host.c_str(), nullptr, &hints, &first);
  const int number = errno;
  MutexLock lock(mutex);
  if (failure != 0) why = failure == EAI_SYSTEM ? errno_text(number) : gai_strerror(failure);
  for (const addrinfo* at = failure == 0 ? first : nullptr; at != nullptr; at = at->ai_next) {
    const SocketAddress address(at->ai_addr, at->ai_addrlen);
    if (std::find(found.begin(), found.end(), address) == found.end()) found.push_back(address);
  }
  if (failure == 0) freeaddrinfo(first);
  const uint64_t one = 1;
  (void)!write(ended.get(), &one, sizeof(one));
}

}  // namespace

SocketAddress::SocketAddress(const sockaddr* address, socklen_t length) {
  length_ = std::min(length, static_cast<socklen_t>(sizeof(storage_)));
  std::memcpy(&storage_, address, length_);
}

Result<SocketAddress> SocketAddress::parse(std::string_view text) {
  const std::optional<Parts> parts = split(text);
  if (!parts) return bad_address(text, "192.0.2.7");
  const std::optional<SocketAddress> address = parse_numbers(*parts);
  if (!address) return bad_address(text, "192.0.2.7");
  return *address;
}

Result<std::vector<SocketAddress>> SocketAddress::resolve(std::string_view host_and_port,
                                                          const Patience& patience) {
  const std::optional<Parts> parts = split(host_and_port);
  if (!parts) return bad_address(host_and_port, "host");
  if (const std::optional<SocketAddress> numbers = parse_numbers(*parts)) {
    return std::vector<SocketAddress>{*numbers};
  }
  if (parts->bracketed) return bad_address(host_and_port, "host");
  const auto look_up = std::make_shared<LookUp>(parts->host);
  if (!look_up->ended.valid()) {
    return error(Code::kSystemError, "eventfd: %s", errno_text(errno).c_str());
  }
  std::thread thread;
  TUTTI_TRY(start_thread(&thread, "looking up a name", [look_up] { look_up->run(); }));
  thread.detach();
  const Status waited = wait_ready(look_up->ended.get(), POLLIN, patience);
  if (!waited.ok()) {
    return error(
        waited.code(), "cannot resolve \"%s\": %s", shown(parts->host).c_str(),
        waited.code() == Code::kTimeout ? "no answer before the deadline" : waited.text().c_str());
  }
  MutexLock lock(look_up->mutex);
  if (look_up->found.empty()) {
    return error(Code::kSystemError, "cannot resolve \"%s\": %s", shown(parts->host).c_str(),
                 look_up->why.c_str());
  }
  for (SocketAddress& address : look_up->found) address = address.with_port(parts->port);
  return look_up->found;
}

uint16_t SocketAddress::port() const {
  if (const sockaddr_in* const v4 = as_v4(get())) return ntohs(v4->sin_port);
  if (const sockaddr_in6* const v6 = as_v6(get())) return ntohs(v6->sin6_port);
  return 0;
}

SocketAddress SocketAddress::with_port(uint16_t port) const {
  SocketAddress changed = *this;
  auto* const address = reinterpret_cast<sockaddr*>(&changed.storage_);
  if (address->sa_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(address)->sin_port = htons(port);
  } else if (address->sa_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6*>(address)->sin6_port = htons(port);
  }
  return changed;
}

bool SocketAddress::is_loopback() const {
  constexpr uint8_t kLoopbackNet = 127;
  if (const sockaddr_in* const v4 = as_v4(get())) {
    return ntohl(v4->sin_addr.s_addr) >> 24 == kLoopbackNet;
  }
  if (const sockaddr_in6* const v6 = as_v6(get())) {
    const in6_addr& bytes = v6->sin6_addr;
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&bytes);
    return IN6_IS_ADDR_LOOPBACK(&bytes) || (mapped && bytes.s6_addr[12] == kLoopbackNet);
  }
  return false;
}

std::string SocketAddress::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (const sockaddr_in* const v4 = as_v4(get())) {
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return text;
  }
  const sockaddr_in6* const v6 = as_v6(get());
  if (v6 == nullptr) return std::string();
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
  std::string host(text);
  if (v6->sin6_scope_id != 0) host.append("%").append(std::to_string(v6->sin6_scope_id));
  return host;
}

std::string SocketAddress::text() const {
  if (family() == AF_UNSPEC) return "(no address)";
  std::string text = host();
  if (family() == AF_INET6) text.insert(0, "[").append("]");
  return text.append(":").append(std::to_string(port()));
}

}  // namespace tutti
