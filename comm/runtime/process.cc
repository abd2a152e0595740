#include "comm/runtime/process.h"

#include <algorithm>
#include <cstring>
#include <unistd.h>
#include <utility>

#include "comm/base/cache.h"
#include "comm/base/check.h"
#include "comm/base/clock.h"
#include "comm/device/host_device.h"
#include "comm/net/secret.h"
#include "transports/builtin.h"

namespace tutti {

namespace {

Device open_host() {
  Result<Device> host = Device::open(host_device_api(), 0);
  TUTTI_CHECK(host.ok(), "the host device opens everywhere");
  return std::move(host.value());
}

// 16 bytes; without randomness the number and the start of the process must do.
std::string random_token() {
  std::string token(16, '\0');
  if (random_bytes(token.data(), token.size()).ok()) return token;
  const int64_t now = now_ns();
  const int64_t pid = getpid();
  std::memcpy(token.data(), &now, sizeof now);
  std::memcpy(token.data() + sizeof now, &pid, sizeof pid);
  return token;
}

}  // namespace

Process::Process()
    : environment_(Environment::of_process()),
      device_(open_host()),
      cache_bytes_(last_cache_bytes()),
      domain_(make_inproc_domain()),
      regions_(make_shared_regions()),
      blocks_(make_block_pool(regions_)),
      streams_(device_),
      token_(random_token()) {
  start_crypto();  // before the owner registers stop() with atexit()
  // A bad setting fails the init that meets it; until then there is no place to write to.
  Result<Config> config = load_config(environment_);
  Result<std::unique_ptr<Logger>> logger =
      Logger::open(config.ok() ? config.value().log : LogConfig());
  if (logger.ok()) logger_ = std::move(logger.value());
}

Process::~Process() = default;

Result<void*> Process::allocate(size_t bytes) {
  Result<void*> shared = allocate_shared(*regions_, bytes);
  if (shared.ok()) return shared;
  Result<void*> own = device_.allocate(bytes);
  if (own.ok()) {
    log().warn_once("private-memory",
                    "memory from tuttiMemAlloc that processes of this host cannot share, so that "
                    "its messages are copied: %s",
                    shared.status().text().c_str());
  }
  return own;
}

Status Process::free(void* base) {
  return free_shared(*regions_, base) ? Status() : device_.free(base);
}

void Process::before_fork() { tutti::before_fork(*regions_); }

void Process::after_fork_in_parent() { tutti::after_fork_in_parent(*regions_); }

void Process::after_fork_in_child() { tutti::after_fork_in_child(*regions_); }

void Process::keep(std::unique_ptr<Rendezvous> rendezvous) {
  MutexLock lock(rendezvous_mutex_);
  rendezvous_.erase(std::remove_if(rendezvous_.begin(), rendezvous_.end(),
                                   [](const std::unique_ptr<Rendezvous>& r) { return r->ended(); }),
                    rendezvous_.end());
  rendezvous_.push_back(std::move(rendezvous));
}

void Process::stop() {
  engine_.stop();
  control_plane_.stop();
  device_.quiesce();
  MutexLock lock(rendezvous_mutex_);
  rendezvous_.clear();
}

Result<Config> Process::config(const ConfigOverrides& overrides) {
  Result<Config> config = load_config(environment_, overrides);
  if (!config.ok()) return config;
  if (!logger_) {
    TUTTI_TRY(Logger::open(config.value().log).status());
  }
  for (const std::string& name : config.value().unknown) {
    log().warn_once(name.c_str(), "%s is set, but there is no such setting (see tutti-info)",
                    name.c_str());
  }
  return config;
}

}  // namespace tutti
