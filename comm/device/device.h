// Device: an opened device of any kind, through its table. What the executor and the API use.
//
// Holds its own copy of the table, with what an older plug-in lacks set to null; opening refuses a
// table of another major version or without a required function. Every wrapper turns a failure into
// a Status with the device's own words. Thread-safe as tutti/device.h says. A stream of nullptr
// means, on the host, "before the call returns".
#pragma once

#include <cstddef>
#include <cstdint>

#include "tutti/device.h"

#include "comm/base/status.h"
#include "comm/device/kernels.h"

namespace tutti {

class Device {
 public:
  // `api` must outlive the device.
  static Result<Device> open(const tutti_device_api* api, int ordinal);

  Device(Device&& other) noexcept;
  Device& operator=(Device&& other) noexcept;
  ~Device();

  const char* name() const { return api_.name; }
  Result<tutti_dev_props> props() const;
  Status attach_thread() const;

  // kUnsupported: not memory of this device.
  Result<tutti_ptr_info> query(const void* p) const;
  Result<void*> allocate(size_t bytes, uint32_t kind = TUTTI_MEM_HOST) const;
  Status free(void* p) const;

  Status copy(void* dst, const void* src, size_t bytes, tutti_stream stream) const;
  // `scalar`: null, or one (nullable) scalar per source, multiplied into it first.
  Status reduce(const ReduceCall& call, tutti_stream stream,
                const void* const* scalar = nullptr) const;
  // Whether reduce() of the pair runs on the device. False: the caller stages through the host.
  bool can_reduce(DataType dtype, ReduceOp op) const;

  // Ends what threads the device has of its own.
  void quiesce() const {
    if (api_.quiesce != nullptr) (void)api_.quiesce(dev_);
  }

  Result<tutti_stream> create_stream(int32_t priority = 0) const;
  Status destroy_stream(tutti_stream stream) const;
  Status sync(tutti_stream stream) const;
  // kUnsupported where the device has no notifications.
  Status notify(tutti_stream stream, void (*fn)(void*), void* arg) const;

  Result<tutti_event*> create_event() const;
  Status destroy_event(tutti_event* event) const;
  Status record(tutti_event* event, tutti_stream stream) const;
  Result<bool> is_done(tutti_event* event) const;
  Status wait_event(tutti_stream stream, tutti_event* event) const;

  Result<tutti_gate*> create_gate() const;
  Status destroy_gate(tutti_gate* gate) const;
  Status wait_gate(tutti_stream stream, tutti_gate* gate, uint64_t value) const;
  Status set_gate(tutti_gate* gate, uint64_t value) const;

 private:
  Device(const tutti_device_api& api, tutti_dev* dev) : api_(api), dev_(dev) {}
  Status check(tutti_status status, const char* what) const {
    return status == TUTTI_OK ? Status() : failure(status, what);
  }
  Status failure(tutti_status status, const char* what) const;

  tutti_device_api api_;
  tutti_dev* dev_;
};

// Copies as much of `api` as it has into `*table`, the rest null, and checks version and required
// functions.
Status negotiate_device_api(const tutti_device_api* api, tutti_device_api* table);

}  // namespace tutti
