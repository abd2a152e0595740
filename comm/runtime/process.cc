#include "comm/runtime/process.h"

#include <utility>

#include "comm/base/cache.h"
#include "comm/base/check.h"
#include "comm/device/host_device.h"
#include "transports/builtin.h"

namespace tutti {

namespace {

Device open_host() {
  Result<Device> host = Device::open(host_device_api(), 0);
  TUTTI_CHECK(host.ok(), "the host device opens everywhere");
  return std::move(host.value());
}

}  // namespace

Process::Process()
    : environment_(Environment::of_process()),
      device_(open_host()),
      cache_bytes_(last_cache_bytes()),
      domain_(make_inproc_domain()),
      streams_(device_) {
  // A bad setting fails the init that meets it; until then there is no place to write to.
  Result<Config> config = load_config(environment_);
  Result<std::unique_ptr<Logger>> logger =
      Logger::open(config.ok() ? config.value().log : LogConfig());
  if (logger.ok()) logger_ = std::move(logger.value());
}

Process::~Process() = default;

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
