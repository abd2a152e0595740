#include "transports/inproc/inproc.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <vector>

#include "comm/base/check.h"
#include "transports/ring/capabilities.h"
#include "transports/ring/channel.h"
#include "transports/ring/ending.h"

namespace tutti {
namespace {

constexpr std::string_view kAddressPrefix = "inproc:";
constexpr size_t kHugePage = size_t{2} << 20;

}  // namespace

InprocTransport::InprocTransport(std::shared_ptr<InprocDomain> domain, int number, bool crowded)
    : domain_(std::move(domain)),
      number_(number),
      door_(std::make_shared<OwnDoor>(door_memory_.get(), door_memory_, OwnDoor::Reach::kProcess,
                                      "inproc")),
      id_(domain_->add_endpoint({door_memory_, bell_.shared_fd()})),
      capabilities_(ring_capabilities()),
      limits_(ring_limits(crowded)) {}

InprocTransport::~InprocTransport() {
  std::vector<void*> blocks;
  MutexLock lock(mutex_);
  for (const auto& [peer, known] : peers_) known.link->leave();
  blocks.assign(blocks_.begin(), blocks_.end());
  domain_->remove_endpoint(id_, blocks);
}

std::string InprocTransport::address() const {
  return std::string(kAddressPrefix) + std::to_string(id_);
}

Status InprocTransport::connect(int peer, std::string_view address) {
  uint64_t id = 0;
  bool valid = address.substr(0, kAddressPrefix.size()) == kAddressPrefix;
  if (valid) {
    const char* first = address.data() + kAddressPrefix.size();
    const char* last = address.data() + address.size();
    const auto parsed = std::from_chars(first, last, id);
    valid = parsed.ec == std::errc() && parsed.ptr == last;
  }
  if (!valid) {
    return error(Code::kInvalidArgument, "inproc %d: %zu bytes given for peer %d are no address",
                 number_, address.size(), peer);
  }
  MutexLock lock(mutex_);
  const auto known = peers_.find(peer);
  if (known != peers_.end() && known->second.id == id) return Status();
  if (known != peers_.end()) {
    return error(Code::kInvalidUsage, "inproc %d: peer %d is connected to another endpoint",
                 number_, peer);
  }
  Result<std::shared_ptr<RingLink>> link = domain_->link(id_, id, peer);
  if (!link.ok()) return link.status();
  bell_.add(link.value());
  peers_.emplace(peer, Peer{id, std::move(link.value())});
  return Status();
}

Result<std::shared_ptr<RingLink>> InprocTransport::link_with(int peer) {
  MutexLock lock(mutex_);
  const auto known = peers_.find(peer);
  if (known != peers_.end()) return known->second.link;
  return error(Code::kInvalidUsage, "inproc %d: peer %d is not connected", number_, peer);
}

Result<std::unique_ptr<SendChannel>> InprocTransport::open_send(const ChannelKey& key) {
  Result<std::shared_ptr<RingLink>> link = link_with(key.peer);
  if (!link.ok()) return link.status();
  return RingSendChannel::open(link.value(), key, limits_);
}

Result<std::unique_ptr<RecvChannel>> InprocTransport::open_recv(const ChannelKey& key) {
  Result<std::shared_ptr<RingLink>> link = link_with(key.peer);
  if (!link.ok()) return link.status();
  return RingRecvChannel::open(link.value(), key);
}

Result<void*> InprocTransport::alloc(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kRingLine;
  if (bytes > SIZE_MAX - alignment) {
    return error(Code::kInvalidArgument, "inproc %d: cannot allocate %zu bytes", number_, bytes);
  }
  const size_t rounded = bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
  void* base = std::aligned_alloc(alignment, rounded);
  if (base == nullptr) {
    return error(Code::kOutOfMemory, "inproc %d: cannot allocate %zu bytes", number_, bytes);
  }
  MutexLock lock(mutex_);
  blocks_.insert(base);
  return base;
}

void InprocTransport::free(void* base) {
  if (base == nullptr) return;
  {
    MutexLock lock(mutex_);
    TUTTI_CHECK(blocks_.erase(base) == 1, "free of memory that alloc did not give out");
  }
  std::free(base);
}

void InprocTransport::abort(uint64_t comm) {
  std::vector<std::shared_ptr<RingLink>> links;
  {
    MutexLock lock(mutex_);
    for (const auto& [peer, known] : peers_) links.push_back(known.link);
  }
  // A kernel waits for nobody, so it ends by itself; and nothing can be taken back here.
  const std::string kept = end_communicator(links, comm, OwnDoor::Reach::kProcess, INT64_MAX);
  TUTTI_CHECK(kept.empty(), "threads of one process have nothing to take back");
}

}  // namespace tutti
