// Process: what exists once per process. Made by comm/api and passed down by reference; nothing
// else in Tutti is static.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/base/config.h"
#include "comm/base/log.h"
#include "comm/base/mutex.h"
#include "comm/bootstrap/rendezvous.h"
#include "comm/device/device.h"
#include "comm/runtime/control_plane.h"
#include "comm/runtime/engine.h"
#include "comm/runtime/inproc_control.h"
#include "comm/runtime/streams.h"

namespace tutti {

class InprocDomain;
class OwnRegions;
class BlockPool;

class Process {
 public:
  Process();
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Settings of a new communicator; warns once about names that mean nothing.
  Result<Config> config(const ConfigOverrides& overrides);
  Log log(const std::string& prefix = "") { return logger_ ? Log(*logger_, prefix) : Log(); }
  const Device& device() const { return device_; }
  size_t cache_bytes() const { return cache_bytes_; }
  Streams& streams() { return streams_; }
  Engine& engine() { return engine_; }
  Meetings& meetings() { return meetings_; }
  ControlPlane& control_plane() { return control_plane_; }
  const Environment& environment() const { return environment_; }
  // Random, and no other process has it.
  const std::string& token() const { return token_; }
  // Keeps a rendezvous until its ranks have met.
  void keep(std::unique_ptr<Rendezvous> rendezvous);
  // Ends all threads; for the exit of the process.
  void stop();
  const std::shared_ptr<InprocDomain>& domain() const { return domain_; }
  const std::shared_ptr<OwnRegions>& regions() const { return regions_; }
  // Where messages to other processes of this host are copied.
  const std::shared_ptr<BlockPool>& blocks() const { return blocks_; }
  // Memory that peers reach directly: shared between processes where that is to be had, else of
  // the device.
  Result<void*> allocate(size_t bytes);
  Status free(void* base);
  // Around fork(), in the thread that calls it. In the child all else here is left alone.
  void before_fork();
  void after_fork_in_parent();
  void after_fork_in_child();
  // Numbers that are never given out twice in this process.
  uint64_t next_number() { return next_number_.fetch_add(1, std::memory_order_relaxed); }

 private:
  Environment environment_;
  std::unique_ptr<Logger> logger_;
  Device device_;
  const size_t cache_bytes_;
  std::shared_ptr<InprocDomain> domain_;
  std::shared_ptr<OwnRegions> regions_;
  std::shared_ptr<BlockPool> blocks_;
  Meetings meetings_;
  Streams streams_;
  std::atomic<uint64_t> next_number_{1};
  std::string token_;
  Mutex rendezvous_mutex_;
  std::vector<std::unique_ptr<Rendezvous>> rendezvous_ TUTTI_GUARDED_BY(rendezvous_mutex_);
  ControlPlane control_plane_;
  Engine engine_;  // last: its thread uses everything above
};

}  // namespace tutti
