#include "comm/api/request.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

namespace tutti {
namespace {

// The fields of a caller's struct that both sides know.
Status read_config(const char* function, const tuttiConfig_t* given, tuttiConfig_t* config) {
  *config = TUTTI_CONFIG_INITIALIZER;
  if (given == nullptr) return Status();
  if (given->magic != TUTTI_CONFIG_MAGIC || given->size < offsetof(tuttiConfig_t, blocking)) {
    return error(Code::kInvalidArgument,
                 "%s: config was not made with TUTTI_CONFIG_INITIALIZER: expected magic %#x, got "
                 "%#x and size %zu",
                 function, TUTTI_CONFIG_MAGIC, given->magic, given->size);
  }
  std::memcpy(config, given, std::min(given->size, sizeof(*config)));
  return Status();
}

}  // namespace

Status make_request(const char* function, const tuttiConfig_t* given, const Request* parent,
                    Request* request) {
  tuttiConfig_t c;
  TUTTI_TRY(read_config(function, given, &c));
  if (parent != nullptr && given == nullptr) {
    *request = *parent;
    return Status();
  }
  ConfigOverrides overrides;
  if (c.algorithms != nullptr) overrides.algorithms = c.algorithms;
  if (c.transport != nullptr) overrides.transport = c.transport;
  if (c.timeout_seconds != 0) {
    if (!(c.timeout_seconds > 0) || c.timeout_seconds > 9e9) {
      return error(Code::kInvalidArgument, "%s: timeout_seconds: expected > 0, got %g", function,
                   c.timeout_seconds);
    }
    overrides.timeout_ns = static_cast<int64_t>(c.timeout_seconds * 1e9);
  }
  if (c.threads != TUTTI_CONFIG_UNSET_INT) overrides.threads = c.threads;
  if (c.buffer_cap != 0) overrides.buffer_cap = c.buffer_cap;
  if (c.blocking != TUTTI_CONFIG_UNSET_INT && c.blocking != 0 && c.blocking != 1) {
    return error(Code::kInvalidArgument, "%s: blocking: expected 0 or 1, got %d", function,
                 c.blocking);
  }
  Result<Config> config = process()->config(overrides);
  if (!config.ok()) return config.status();
  TUTTI_TRY(check_algorithms(config.value()));
  request->config = std::move(config.value());
  request->name = c.name != nullptr ? c.name : (parent != nullptr ? parent->name : "");
  request->blocking = c.blocking == TUTTI_CONFIG_UNSET_INT ? 1 : c.blocking;
  return Status();
}

Request request_of(const tuttiComm& handle) {
  return {handle.comm->config(), handle.comm->parts().name, handle.blocking};
}

tuttiComm* wrap(std::unique_ptr<Communicator> comm, int blocking) {
  tuttiComm* handle = new_handle();
  handle->blocking = blocking;
  handle->comm = std::move(comm);
  handle->state.store(tuttiComm::kAlive, std::memory_order_release);
  return handle;
}

tuttiResult_t carry_out(std::unique_ptr<Creation> creation, int blocking, bool is_member,
                        Communicator* parent, tuttiComm_t* out) {
  if (blocking != 0) {
    creation->wait();
    if (!creation->result().ok()) return report(creation->result());
    std::unique_ptr<Communicator> made = creation->take();
    if (made) *out = wrap(std::move(made), blocking);
    return tuttiSuccess;
  }
  const Status started = process()->engine().start();
  if (!started.ok()) return report(started);
  tuttiComm* handle = new_handle();
  handle->blocking = blocking;
  handle->creation = std::move(creation);
  handle->state.store(tuttiComm::kCreating, std::memory_order_release);
  if (is_member) *out = handle;
  if (parent != nullptr) process()->engine().add(parent);
  process()->engine().add(handle->creation.get());
  return tuttiInProgress;
}

}  // namespace tutti
