#include "transports/mpi/mpi_transport.h"

#include <cstdlib>
#include <mpi.h>

#include "comm/base/check.h"
#include "transports/mpi/channel.h"

namespace tutti {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLine = 64;
constexpr int kMaxParts = 1024;
constexpr size_t kMaxMessageBytes = size_t{1} << 48;
// A poll is a call of MPI, some 0.2 us; there is nothing to block on, and a nap costs 50 us.
constexpr WaitRungs kRungs = {500, 500};

Capabilities make_capabilities(int level) {
  Capabilities c = {};
  c.slots = kMpiSlots;
  c.max_message_bytes = kMaxMessageBytes;
  c.max_parts = kMaxParts;
  c.view = false;
  c.place = false;
  c.rungs = kRungs;
  c.any_thread = level == MPI_THREAD_MULTIPLE;
  c.thread_level = name_of_thread_level(level);
  return c;
}

}  // namespace

MpiTransport::MpiTransport(std::shared_ptr<MpiWorld> world, int number)
    : world_(std::move(world)),
      number_(number),
      endpoint_(std::make_shared<MpiEndpoint>(world_, number)),
      capabilities_(make_capabilities(world_->level())) {}

MpiTransport::~MpiTransport() {
  endpoint_->leave();
  MutexLock lock(mutex_);
  for (void* block : blocks_) std::free(block);
}

std::string MpiTransport::address() const {
  return encode_address(world_->job(), {world_->rank(), endpoint_->serial()});
}

Status MpiTransport::connect(int peer, std::string_view address) {
  return endpoint_->connect(peer, address);
}

Status MpiTransport::check_open() const {
  MutexLock lock(mutex_);
  if (!finalized_) return Status();
  return error(Code::kInvalidUsage, "mpi %d: this endpoint has been finalised", number_);
}

Result<std::unique_ptr<SendChannel>> MpiTransport::open_send(const ChannelKey& key) {
  TUTTI_TRY(check_open());
  return MpiSendChannel::open(endpoint_, key);
}

Result<std::unique_ptr<RecvChannel>> MpiTransport::open_recv(const ChannelKey& key) {
  TUTTI_TRY(check_open());
  return MpiRecvChannel::open(endpoint_, key);
}

Result<void*> MpiTransport::alloc(size_t bytes) {
  const size_t alignment = bytes >= kHugePage ? kHugePage : kLine;
  const size_t rounded = bytes == 0 ? alignment : (bytes + alignment - 1) / alignment * alignment;
  void* base = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
  if (base == nullptr) {
    return error(Code::kOutOfMemory, "mpi %d: cannot allocate %zu bytes", number_, bytes);
  }
  MutexLock lock(mutex_);
  blocks_.insert(base);
  return base;
}

void MpiTransport::free(void* base) {
  if (base == nullptr) return;
  {
    MutexLock lock(mutex_);
    TUTTI_CHECK(blocks_.erase(base) == 1, "free of memory that alloc did not give out");
  }
  std::free(base);
}

std::string MpiTransport::still_lent(uint64_t comm) const {
  MutexLock lock(world_->mutex);
  return world_->still_lent(endpoint_->serial(), comm);
}

Status MpiTransport::finalize() {
  {
    MutexLock lock(mutex_);
    if (finalized_) return Status();
    finalized_ = true;
  }
  return world_->finalize(endpoint_->serial());
}

}  // namespace tutti
