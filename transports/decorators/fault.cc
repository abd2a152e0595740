#include "transports/decorators/fault.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "transports/decorators/fault_channel.h"

namespace tutti {

FaultTransport::FaultTransport(std::unique_ptr<Transport> inner, const FaultOptions& options)
    : inner_(std::move(inner)), options_(options), capabilities_(inner_->capabilities()) {
  if (options.hide_view) capabilities_.view = false;
  if (options.hide_place) capabilities_.place = false;
  if (options.slots != 0) capabilities_.slots = std::min(capabilities_.slots, options.slots);
}

FaultTransport::~FaultTransport() = default;

Status FaultTransport::connect(int peer, std::string_view address) {
  return inner_->connect(peer, address);
}

Status FaultTransport::note_open(const ChannelKey& key) {
  MutexLock lock(mutex_);
  // Under the mutex: either the kill sees this communicator or this call sees the kill.
  if (dead()) return error(Code::kAborted, "fault: this endpoint was killed");
  comms_.insert(key.comm);
  return Status();
}

Result<std::unique_ptr<SendChannel>> FaultTransport::open_send(const ChannelKey& key) {
  Status noted = note_open(key);
  if (!noted.ok()) return noted;
  Result<std::unique_ptr<SendChannel>> inner = inner_->open_send(key);
  if (!inner.ok()) return inner;
  std::unique_ptr<SendChannel> channel =
      std::make_unique<FaultSendChannel>(this, std::move(inner.value()), key);
  return channel;
}

Result<std::unique_ptr<RecvChannel>> FaultTransport::open_recv(const ChannelKey& key) {
  Status noted = note_open(key);
  if (!noted.ok()) return noted;
  Result<std::unique_ptr<RecvChannel>> inner = inner_->open_recv(key);
  if (!inner.ok()) return inner;
  std::unique_ptr<RecvChannel> channel =
      std::make_unique<FaultRecvChannel>(this, std::move(inner.value()), key);
  return channel;
}

Status FaultTransport::register_memory(void* base, size_t bytes, bool remap, uint64_t* handle) {
  return inner_->register_memory(base, bytes, remap, handle);
}

Status FaultTransport::deregister_memory(uint64_t handle) {
  return inner_->deregister_memory(handle);
}

void FaultTransport::progress() {
  if (!dead()) inner_->progress();
}

bool FaultTransport::step() {
  if (options_.kill_at == 0) return false;
  if (dead()) return true;
  if (steps_.fetch_add(1, std::memory_order_relaxed) + 1 < options_.kill_at) return false;
  dead_.store(true, std::memory_order_release);  // pairs with the acquire load in dead()
  MutexLock lock(mutex_);
  for (uint64_t comm : comms_) inner_->abort(comm);
  return true;
}

}  // namespace tutti
