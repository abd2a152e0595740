#include "tests/matrix/communicators.h"

namespace tutti {

Config config_of(int slot, bool capped) {
  ConfigOverrides overrides;
  if (capped) overrides.buffer_cap = kSmallestCap;
  Config config = load_config(Environment{}, overrides).value();
  config.algorithms = algorithms_of_slot(slot);
  return config;
}

const std::vector<tuttiComm_t>& Communicators::get(const Case& c) {
  const int slot = slot_of(c);
  const bool capped = is_capped(c);
  if (!handles_.empty() && nranks_ == c.nranks && slot_ == slot && capped_ == capped) {
    return handles_;
  }
  reset();
  std::string algorithms;
  for (const auto& [collective, algorithm] : algorithms_of_slot(slot)) {
    if (!algorithms.empty()) algorithms += ',';
    algorithms.append(collective).append(":").append(algorithm);
  }
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.algorithms = algorithms.c_str();
  config.transport = team_.transport();
  config.timeout_seconds = kTimeoutSeconds;
  config.buffer_cap = config_of(slot, capped).buffer_cap;
  config.name = "matrix";
  handles_.resize(static_cast<size_t>(c.nranks));
  if (team_.create(c.nranks, config, handles_.data()) != tuttiSuccess) {
    error_ = tuttiGetLastError(nullptr);
    handles_.clear();
  }
  nranks_ = c.nranks;
  slot_ = slot;
  capped_ = capped;
  return handles_;
}

void Communicators::reset() {
  for (tuttiComm_t handle : handles_) {
    if (tuttiCommDestroy(handle) == tuttiSuccess) continue;
    (void)tuttiCommAbort(handle);
    (void)tuttiCommDestroy(handle);
  }
  handles_.clear();
}

}  // namespace tutti
