#include "comm/device/host_device.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <unistd.h>

#include "comm/device/host_memory.h"
#include "comm/device/host_reduce.h"
#include "comm/device/host_streams.h"
#include "comm/device/host_workers.h"
#include "comm/device/kernels.h"

namespace tutti {
namespace {

// More urgent first; nothing but the order in which one thread takes up several ready streams.
constexpr int32_t kLowestPriority = 0;
constexpr int32_t kHighestPriority = -2;

// What a tutti_dev of this table is.
struct HostDevice {
  HostMemory memory;
  HostWorkers workers;  // outlives the streams, whose work may use it
  HostStreams streams;
};

HostDevice* device_of(tutti_dev* dev) { return reinterpret_cast<HostDevice*>(dev); }
HostStreams::Stream* stream_of(tutti_stream s) { return static_cast<HostStreams::Stream*>(s); }
HostStreams::Event* event_of(tutti_event* e) { return reinterpret_cast<HostStreams::Event*>(e); }
HostStreams::Gate* gate_of(tutti_gate* g) { return reinterpret_cast<HostStreams::Gate*>(g); }

// The last failure of each thread, in words.
thread_local std::array<char, 160> last_error = {"no error"};

__attribute__((format(printf, 2, 3))) tutti_status fail(tutti_status status, const char* format,
                                                        ...) {
  va_list args;
  va_start(args, format);
  std::vsnprintf(last_error.data(), last_error.size(), format, args);
  va_end(args);
  return status;
}

// No exception may cross the table: running out of memory becomes a status.
template <typename Body>
tutti_status guarded(const char* what, Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(TUTTI_E_NOMEM, "%s: out of memory", what);
  }
}

tutti_status null_argument(const char* what) {
  return fail(TUTTI_E_ARG, "%s: null argument", what);
}

// Fills the caller's struct, of whatever version, from ours.
template <typename T>
tutti_status hand_out(const char* what, T* out, T value) {
  const uint32_t room = out->struct_size;
  if (room < sizeof(uint32_t)) return fail(TUTTI_E_ARG, "%s: struct_size is not set", what);
  value.struct_size = std::min(room, static_cast<uint32_t>(sizeof(T)));
  std::memcpy(out, &value, value.struct_size);
  return TUTTI_OK;
}

// ---- Device ----

tutti_status count(int* n) {
  if (n == nullptr) return null_argument("count");
  *n = 1;
  return TUTTI_OK;
}

tutti_status open(int ordinal, tutti_dev** out) {
  if (out == nullptr) return null_argument("open");
  if (ordinal != 0) return fail(TUTTI_E_NO_DEVICE, "open: there is no host device %d", ordinal);
  auto* device = new (std::nothrow) HostDevice;
  if (device == nullptr) return fail(TUTTI_E_NOMEM, "open: out of memory");
  *out = reinterpret_cast<tutti_dev*>(device);
  return TUTTI_OK;
}

tutti_status close(tutti_dev* dev) {
  if (dev == nullptr) return null_argument("close");
  if (device_of(dev)->streams.num_streams() != 0) {
    return fail(TUTTI_E_ARG, "close: a stream of the device still exists");
  }
  delete device_of(dev);
  return TUTTI_OK;
}

tutti_status props(tutti_dev* dev, tutti_dev_props* out) {
  if (dev == nullptr || out == nullptr) return null_argument("props");
  tutti_dev_props p = {};
  p.caps = TUTTI_CAP_REDUCE | TUTTI_CAP_NOTIFY;
  std::snprintf(p.name, sizeof p.name, "host (%s)", simd_target());
  p.numa = -1;
  p.total_mem =
      static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  p.copy_align = 64;
  p.priority_lowest = kLowestPriority;
  p.priority_highest = kHighestPriority;
  return hand_out("props", out, p);
}

tutti_status thread_attach(tutti_dev* dev) {
  return dev == nullptr ? null_argument("thread_attach") : TUTTI_OK;
}

// ---- Memory ----

tutti_status ptr_query(tutti_dev* dev, const void* p, tutti_ptr_info* out) {
  if (dev == nullptr || out == nullptr) return null_argument("ptr_query");
  tutti_ptr_info info = {};
  info.kind = TUTTI_MEM_HOST;
  info.flags = TUTTI_MEMF_HOST_ADDRESSABLE | TUTTI_MEMF_DEV_ADDRESSABLE;
  info.host_ptr = const_cast<void*>(p);
  if (const auto range = device_of(dev)->memory.find(p)) {
    info.base = range->base;
    info.size = range->bytes;
  }
  return hand_out("ptr_query", out, info);
}

tutti_status mem_alloc(tutti_dev* dev, size_t bytes, uint32_t kind, void** out) {
  if (dev == nullptr || out == nullptr) return null_argument("mem_alloc");
  if (bytes == 0) return fail(TUTTI_E_ARG, "mem_alloc: zero bytes");
  if (kind != TUTTI_MEM_HOST) {
    return fail(TUTTI_E_UNSUPPORTED, "mem_alloc: the host has no memory of kind %u", kind);
  }
  return guarded("mem_alloc", [&]() -> tutti_status {
    *out = device_of(dev)->memory.allocate(bytes);
    if (*out == nullptr) return fail(TUTTI_E_NOMEM, "mem_alloc: no room for %zu bytes", bytes);
    return TUTTI_OK;
  });
}

tutti_status mem_free(tutti_dev* dev, void* p) {
  if (dev == nullptr || p == nullptr) return null_argument("mem_free");
  if (device_of(dev)->memory.release(p)) return TUTTI_OK;
  return fail(TUTTI_E_ARG, "mem_free: %p is not the start of an allocation", p);
}

tutti_status copy_memory(tutti_dev* dev, void* dst, const void* src, size_t bytes, tutti_stream s) {
  if (dev == nullptr) return null_argument("copy");
  if (bytes == 0) return TUTTI_OK;
  if (dst == nullptr || src == nullptr) return null_argument("copy");
  if (s == nullptr) {
    copy(src, &dst, 1, bytes, Stores::kCached);
    return TUTTI_OK;
  }
  const HostMemory& memory = device_of(dev)->memory;
  if (!memory.fits(dst, bytes) || !memory.fits(src, bytes)) {
    return fail(TUTTI_E_ARG, "copy: %zu bytes run over the end of an allocation", bytes);
  }
  return guarded("copy", [&]() -> tutti_status {
    device_of(dev)->streams.enqueue(stream_of(s), [=] { std::memmove(dst, src, bytes); });
    return TUTTI_OK;
  });
}

// ---- Streams, events, gates ----

tutti_status stream_create(tutti_dev* dev, int32_t priority, tutti_stream* out) {
  if (dev == nullptr || out == nullptr) return null_argument("stream_create");
  return guarded("stream_create", [&]() -> tutti_status {
    *out = device_of(dev)->streams.create_stream(
        std::clamp(priority, kHighestPriority, kLowestPriority));
    return TUTTI_OK;
  });
}

tutti_status stream_destroy(tutti_dev* dev, tutti_stream s) {
  if (dev == nullptr || s == nullptr) return null_argument("stream_destroy");
  if (device_of(dev)->streams.destroy_stream(stream_of(s))) return TUTTI_OK;
  return fail(TUTTI_E_ARG, "stream_destroy: work of the stream is pending");
}

tutti_status stream_sync(tutti_dev* dev, tutti_stream s) {
  if (dev == nullptr) return null_argument("stream_sync");
  device_of(dev)->streams.sync(stream_of(s));
  return TUTTI_OK;
}

tutti_status event_create(tutti_dev* dev, tutti_event** out) {
  if (dev == nullptr || out == nullptr) return null_argument("event_create");
  return guarded("event_create", [&]() -> tutti_status {
    *out = reinterpret_cast<tutti_event*>(device_of(dev)->streams.create_event());
    return TUTTI_OK;
  });
}

tutti_status event_destroy(tutti_event* event) {
  if (event == nullptr) return null_argument("event_destroy");
  event_of(event)->owner->destroy_event(event_of(event));
  return TUTTI_OK;
}

tutti_status event_record(tutti_event* event, tutti_stream s) {
  if (event == nullptr) return null_argument("event_record");
  return guarded("event_record", [&]() -> tutti_status {
    event_of(event)->owner->record(event_of(event), stream_of(s));
    return TUTTI_OK;
  });
}

tutti_status event_query(tutti_event* event) {
  if (event == nullptr) return null_argument("event_query");
  return event_of(event)->owner->query(event_of(event)) ? TUTTI_OK : TUTTI_NOT_READY;
}

tutti_status stream_wait_event(tutti_stream s, tutti_event* event) {
  if (event == nullptr) return null_argument("stream_wait_event");
  return guarded("stream_wait_event", [&]() -> tutti_status {
    event_of(event)->owner->wait_event(stream_of(s), event_of(event));
    return TUTTI_OK;
  });
}

tutti_status gate_create(tutti_dev* dev, tutti_gate** out) {
  if (dev == nullptr || out == nullptr) return null_argument("gate_create");
  return guarded("gate_create", [&]() -> tutti_status {
    *out = reinterpret_cast<tutti_gate*>(device_of(dev)->streams.create_gate());
    return TUTTI_OK;
  });
}

tutti_status gate_destroy(tutti_gate* gate) {
  if (gate == nullptr) return null_argument("gate_destroy");
  if (gate_of(gate)->owner->destroy_gate(gate_of(gate))) return TUTTI_OK;
  return fail(TUTTI_E_ARG, "gate_destroy: a stream waits for the gate");
}

tutti_status stream_wait_gate(tutti_stream s, tutti_gate* gate, uint64_t value) {
  if (gate == nullptr) return null_argument("stream_wait_gate");
  return guarded("stream_wait_gate", [&]() -> tutti_status {
    gate_of(gate)->owner->wait_gate(stream_of(s), gate_of(gate), value);
    return TUTTI_OK;
  });
}

tutti_status gate_set(tutti_gate* gate, uint64_t value) {
  if (gate == nullptr) return null_argument("gate_set");
  gate_of(gate)->owner->set_gate(gate_of(gate), value);
  return TUTTI_OK;
}

const char* error_string(tutti_dev* /*dev*/) { return last_error.data(); }

// ---- Reduction ----

tutti_status reduce_supported(tutti_dev* dev, uint32_t dtype, uint32_t op) {
  if (dev == nullptr) return null_argument("reduce_supported");
  if (dtype >= kNumDataTypes || op >= kNumReduceOps) {
    return fail(TUTTI_E_UNSUPPORTED, "reduce: no data type %u or operator %u", dtype, op);
  }
  const auto fold = static_cast<ReduceOp>(op);
  // Those two are not folds: an average is a sum with a divisor, a pre-multiplied sum one with
  // scalars.
  if (fold == ReduceOp::kAvg || fold == ReduceOp::kPreMulSum ||
      !is_defined(static_cast<DataType>(dtype), fold)) {
    return fail(TUTTI_E_UNSUPPORTED, "reduce: operator %u is not defined on data type %u", op,
                dtype);
  }
  return TUTTI_OK;
}

tutti_status check_arguments(tutti_dev* dev, const tutti_reduce_args& a) {
  const tutti_status supported = reduce_supported(dev, a.dtype, a.op);
  if (supported != TUTTI_OK) return supported;
  const bool pointers = a.src != nullptr && a.dst != nullptr;
  const bool counts = a.nsrc >= 1 && a.nsrc <= INT32_MAX && a.ndst >= 1 && a.ndst <= INT32_MAX;
  if (!pointers || !counts || a.stores > TUTTI_STORES_STREAMING) {
    return fail(TUTTI_E_ARG, "reduce: bad sources, destinations or stores");
  }
  const auto dtype = static_cast<DataType>(a.dtype);
  if (a.scalar != nullptr && !is_float(dtype)) {
    return fail(TUTTI_E_UNSUPPORTED, "reduce: scalars are for floats only");
  }
  const bool sum = a.op == static_cast<uint32_t>(ReduceOp::kSum);
  if (a.divisor != 0 && !(sum && is_defined(dtype, ReduceOp::kAvg))) {
    return fail(TUTTI_E_UNSUPPORTED, "reduce: no average of data type %u, operator %u", a.dtype,
                a.op);
  }
  return TUTTI_OK;
}

tutti_status reduce_memory(tutti_dev* dev, const tutti_reduce_args* args, tutti_stream s) {
  if (dev == nullptr || args == nullptr) return null_argument("reduce");
  tutti_reduce_args room;
  const tutti_reduce_args* const a = take_reduce_arguments(args, &room);
  if (a == nullptr) return fail(TUTTI_E_ARG, "reduce: struct_size is too small");
  const tutti_status status = check_arguments(dev, *a);
  if (status != TUTTI_OK) return status;
  return guarded("reduce", [&]() -> tutti_status {
    if (s == nullptr) {
      run_reduce(*a, device_of(dev)->workers);
      return TUTTI_OK;
    }
    auto deferred = std::make_shared<DeferredReduce>(*a);
    HostDevice* device = device_of(dev);
    device->streams.enqueue(stream_of(s), [deferred, device] { deferred->run(device->workers); });
    return TUTTI_OK;
  });
}

tutti_status quiesce(tutti_dev* dev) {
  if (dev == nullptr) return null_argument("quiesce");
  device_of(dev)->workers.stop();
  return TUTTI_OK;
}

tutti_status stream_notify(tutti_stream s, void (*fn)(void*), void* arg) {
  if (fn == nullptr) return null_argument("stream_notify");
  if (s == nullptr) {
    fn(arg);
    return TUTTI_OK;
  }
  return guarded("stream_notify", [&]() -> tutti_status {
    HostStreams::owner_of(stream_of(s))->enqueue(stream_of(s), [fn, arg] { fn(arg); });
    return TUTTI_OK;
  });
}

tutti_device_api make_table() {
  tutti_device_api t = {};
  t.struct_size = sizeof t;
  t.abi_major = TUTTI_DEVICE_ABI_MAJOR;
  t.abi_minor = TUTTI_DEVICE_ABI_MINOR;
  t.name = "host";
  t.version = "1.0";
  t.count = count;
  t.open = open;
  t.close = close;
  t.props = props;
  t.thread_attach = thread_attach;
  t.ptr_query = ptr_query;
  t.mem_alloc = mem_alloc;
  t.mem_free = mem_free;
  t.copy = copy_memory;
  t.stream_create = stream_create;
  t.stream_destroy = stream_destroy;
  t.stream_sync = stream_sync;
  t.event_create = event_create;
  t.event_destroy = event_destroy;
  t.event_record = event_record;
  t.event_query = event_query;
  t.stream_wait_event = stream_wait_event;
  t.gate_create = gate_create;
  t.gate_destroy = gate_destroy;
  t.stream_wait_gate = stream_wait_gate;
  t.gate_set = gate_set;
  t.error_string = error_string;
  t.reduce = reduce_memory;
  t.reduce_supported = reduce_supported;
  t.stream_notify = stream_notify;
  t.quiesce = quiesce;
  return t;
}

}  // namespace

const tutti_device_api* host_device_api() {
  static const tutti_device_api table = make_table();
  return &table;
}

}  // namespace tutti
