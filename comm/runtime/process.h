// Process: what exists once per process. Made by comm/api and passed down by reference; nothing
// else in Tutti is static.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "comm/base/config.h"
#include "comm/base/log.h"
#include "comm/device/device.h"
#include "comm/runtime/engine.h"
#include "comm/runtime/inproc_control.h"
#include "comm/runtime/streams.h"

namespace tutti {

class InprocDomain;

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
  const std::shared_ptr<InprocDomain>& domain() const { return domain_; }
  // Numbers that are never given out twice in this process.
  uint64_t next_number() { return next_number_.fetch_add(1, std::memory_order_relaxed); }

 private:
  Environment environment_;
  std::unique_ptr<Logger> logger_;
  Device device_;
  const size_t cache_bytes_;
  std::shared_ptr<InprocDomain> domain_;
  Meetings meetings_;
  Streams streams_;
  std::atomic<uint64_t> next_number_{1};
  Engine engine_;  // last: its thread uses everything above
};

}  // namespace tutti
