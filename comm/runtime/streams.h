// Streams: the streams of the process and the operations enqueued on them.
//
// An operation on a stream works the same on any device (docs/devices.md): an event marks where the
// stream stands at the call; a gate holds what comes later; when the event is done the operation
// may run; when it ends, well or not, the gate opens. An error is kept for the next synchronise.
// Threads: any.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <unordered_map>

#include "comm/base/mutex.h"
#include "comm/base/status.h"
#include "comm/device/device.h"
#include "comm/runtime/operation.h"

namespace tutti {

class Streams {
 public:
  // `device` outlives this.
  explicit Streams(const Device& device) : device_(device) {}
  ~Streams();

  Result<void*> create();
  // kInvalidUsage while operations are pending on it.
  Status destroy(void* stream);
  // Whether `stream` is one of ours.
  Status check(void* stream) const;
  // Marks the stream at this point and closes its gate behind the operation to come.
  Result<std::unique_ptr<StreamTicket>> ticket(void* stream);
  // Marks the stream at this point for an operation that the stream does not wait for.
  Result<std::unique_ptr<StreamTicket>> start(void* stream);
  // How far tickets have been given out; larger than of any stream that was here before.
  uint64_t position(void* stream) const;
  // Whether a caller knows that everything up to `position` is over: finish() or query() has said
  // so, or the stream is gone.
  bool is_known_over(void* stream, uint64_t position) const;
  size_t pending(void* stream) const;
  // Waits for what the device itself still holds, then gives the first error since the last call.
  Status finish(void* stream);
  // kOk, kInProgress or the first error, which stays.
  Status query(void* stream);

 private:
  friend class Ticket;
  struct Entry {
    tutti_gate* gate = nullptr;
    uint64_t next_value = 0;
    uint64_t open = 0;         // what the gate stands at
    std::set<uint64_t> early;  // ended while one before them had not
    uint64_t known = 0;        // what a caller knows to be over
    size_t pending = 0;
    Status first_error;
  };
  void ended(void* stream, uint64_t value, const Status& result);
  const Device& device_;
  mutable Mutex mutex_;
  std::unordered_map<void*, Entry> entries_ TUTTI_GUARDED_BY(mutex_);
  uint64_t last_value_ TUTTI_GUARDED_BY(mutex_) = 0;  // of all streams that are gone
};

}  // namespace tutti
