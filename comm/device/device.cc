#include "comm/device/device.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tutti {
namespace {

Code code_of(tutti_status status) {
  switch (status) {
    case TUTTI_OK:
      return Code::kOk;
    case TUTTI_NOT_READY:
      return Code::kInProgress;
    case TUTTI_E_ARG:
      return Code::kInvalidArgument;
    case TUTTI_E_UNSUPPORTED:
      return Code::kUnsupported;
    case TUTTI_E_NOMEM:
      return Code::kOutOfMemory;
    case TUTTI_E_ABI:
      return Code::kVersionMismatch;
    case TUTTI_E_PEER_LOST:
      return Code::kRemoteError;
    case TUTTI_E_TIMEOUT:
      return Code::kTimeout;
    case TUTTI_E_ABORTED:
      return Code::kAborted;
    default:
      return Code::kSystemError;
  }
}

// The first required function that is missing, or null.
const char* missing_function(const tutti_device_api& t) {
  const std::pair<bool, const char*> required[] = {
      {t.count != nullptr, "count"},
      {t.open != nullptr, "open"},
      {t.close != nullptr, "close"},
      {t.props != nullptr, "props"},
      {t.thread_attach != nullptr, "thread_attach"},
      {t.ptr_query != nullptr, "ptr_query"},
      {t.mem_alloc != nullptr, "mem_alloc"},
      {t.mem_free != nullptr, "mem_free"},
      {t.copy != nullptr, "copy"},
      {t.stream_create != nullptr, "stream_create"},
      {t.stream_destroy != nullptr, "stream_destroy"},
      {t.stream_sync != nullptr, "stream_sync"},
      {t.event_create != nullptr, "event_create"},
      {t.event_destroy != nullptr, "event_destroy"},
      {t.event_record != nullptr, "event_record"},
      {t.event_query != nullptr, "event_query"},
      {t.stream_wait_event != nullptr, "stream_wait_event"},
      {t.gate_create != nullptr, "gate_create"},
      {t.gate_destroy != nullptr, "gate_destroy"},
      {t.stream_wait_gate != nullptr, "stream_wait_gate"},
      {t.gate_set != nullptr, "gate_set"},
      {t.error_string != nullptr, "error_string"},
  };
  for (const auto& [present, function] : required) {
    if (!present) return function;
  }
  return nullptr;
}

}  // namespace

Status negotiate_device_api(const tutti_device_api* api, tutti_device_api* table) {
  *table = {};
  constexpr size_t kHeader = offsetof(tutti_device_api, count);
  if (api == nullptr || api->struct_size < kHeader) {
    return error(Code::kVersionMismatch, "device table without a header");
  }
  const size_t bytes = std::min<size_t>(api->struct_size, sizeof *table);
  std::memcpy(static_cast<void*>(table), api, bytes);
  table->struct_size = sizeof *table;
  if (table->name == nullptr || table->version == nullptr) {
    return error(Code::kVersionMismatch, "device table without name or version");
  }
  if (table->abi_major != TUTTI_DEVICE_ABI_MAJOR) {
    return error(Code::kVersionMismatch, "device \"%s\": interface version %u, expected %u",
                 table->name, unsigned{table->abi_major}, unsigned{TUTTI_DEVICE_ABI_MAJOR});
  }
  if (const char* function = missing_function(*table)) {
    return error(Code::kVersionMismatch, "device \"%s\": required function %s is missing",
                 table->name, function);
  }
  return Status();
}

Result<Device> Device::open(const tutti_device_api* api, int ordinal) {
  tutti_device_api table;
  TUTTI_TRY(negotiate_device_api(api, &table));
  tutti_dev* dev = nullptr;
  const tutti_status status = table.open(ordinal, &dev);
  if (status != TUTTI_OK) {
    return error(code_of(status), "device \"%s\": open of ordinal %d failed (%d): %s", table.name,
                 ordinal, status, table.error_string(nullptr));
  }
  return Device(table, dev);
}

Device::Device(Device&& other) noexcept
    : api_(other.api_), dev_(std::exchange(other.dev_, nullptr)) {}

Device& Device::operator=(Device&& other) noexcept {
  std::swap(api_, other.api_);
  std::swap(dev_, other.dev_);
  return *this;
}

Device::~Device() {
  if (dev_ != nullptr) api_.close(dev_);
}

Status Device::failure(tutti_status status, const char* what) const {
  return error(code_of(status), "device \"%s\": %s failed (%d): %s", api_.name, what, status,
               api_.error_string(dev_));
}

Result<tutti_dev_props> Device::props() const {
  tutti_dev_props props = {};
  props.struct_size = sizeof props;
  TUTTI_TRY(check(api_.props(dev_, &props), "props"));
  return props;
}

Status Device::attach_thread() const { return check(api_.thread_attach(dev_), "thread_attach"); }

Result<tutti_ptr_info> Device::query(const void* p) const {
  tutti_ptr_info info = {};
  info.struct_size = sizeof info;
  TUTTI_TRY(check(api_.ptr_query(dev_, p, &info), "ptr_query"));
  return info;
}

Result<void*> Device::allocate(size_t bytes, uint32_t kind) const {
  void* p = nullptr;
  TUTTI_TRY(check(api_.mem_alloc(dev_, bytes, kind, &p), "mem_alloc"));
  return p;
}

Status Device::free(void* p) const { return check(api_.mem_free(dev_, p), "mem_free"); }

Status Device::copy(void* dst, const void* src, size_t bytes, tutti_stream stream) const {
  return check(api_.copy(dev_, dst, src, bytes, stream), "copy");
}

Status Device::reduce(const ReduceCall& call, tutti_stream stream,
                      const void* const* scalar) const {
  if (api_.reduce == nullptr) {
    return error(Code::kUnsupported, "device \"%s\" has no reduction", api_.name);
  }
  const tutti_reduce_args args = {sizeof args,
                                  static_cast<uint32_t>(call.dtype),
                                  static_cast<uint32_t>(call.op),
                                  call.divisor,
                                  static_cast<uint32_t>(call.stores),
                                  static_cast<uint32_t>(call.nsrc),
                                  static_cast<uint32_t>(call.ndst),
                                  call.threads,
                                  call.count,
                                  call.src,
                                  call.dst,
                                  scalar};
  return check(api_.reduce(dev_, &args, stream), "reduce");
}

bool Device::can_reduce(DataType dtype, ReduceOp op) const {
  return api_.reduce != nullptr && api_.reduce_supported != nullptr &&
         api_.reduce_supported(dev_, static_cast<uint32_t>(dtype), static_cast<uint32_t>(op)) ==
             TUTTI_OK;
}

Result<tutti_stream> Device::create_stream(int32_t priority) const {
  tutti_stream stream = nullptr;
  TUTTI_TRY(check(api_.stream_create(dev_, priority, &stream), "stream_create"));
  return stream;
}

Status Device::destroy_stream(tutti_stream stream) const {
  return check(api_.stream_destroy(dev_, stream), "stream_destroy");
}

Status Device::sync(tutti_stream stream) const {
  return check(api_.stream_sync(dev_, stream), "stream_sync");
}

Status Device::notify(tutti_stream stream, void (*fn)(void*), void* arg) const {
  if (api_.stream_notify == nullptr) {
    return error(Code::kUnsupported, "device \"%s\" has no notifications", api_.name);
  }
  return check(api_.stream_notify(stream, fn, arg), "stream_notify");
}

Result<tutti_event*> Device::create_event() const {
  tutti_event* event = nullptr;
  TUTTI_TRY(check(api_.event_create(dev_, &event), "event_create"));
  return event;
}

Status Device::destroy_event(tutti_event* event) const {
  return check(api_.event_destroy(event), "event_destroy");
}

Status Device::record(tutti_event* event, tutti_stream stream) const {
  return check(api_.event_record(event, stream), "event_record");
}

Result<bool> Device::is_done(tutti_event* event) const {
  const tutti_status status = api_.event_query(event);
  if (status == TUTTI_NOT_READY) return false;
  TUTTI_TRY(check(status, "event_query"));
  return true;
}

Status Device::wait_event(tutti_stream stream, tutti_event* event) const {
  return check(api_.stream_wait_event(stream, event), "stream_wait_event");
}

Result<tutti_gate*> Device::create_gate() const {
  tutti_gate* gate = nullptr;
  TUTTI_TRY(check(api_.gate_create(dev_, &gate), "gate_create"));
  return gate;
}

Status Device::destroy_gate(tutti_gate* gate) const {
  return check(api_.gate_destroy(gate), "gate_destroy");
}

Status Device::wait_gate(tutti_stream stream, tutti_gate* gate, uint64_t value) const {
  return check(api_.stream_wait_gate(stream, gate, value), "stream_wait_gate");
}

Status Device::set_gate(tutti_gate* gate, uint64_t value) const {
  return check(api_.gate_set(gate, value), "gate_set");
}

}  // namespace tutti
