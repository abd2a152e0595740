// The communicators that cases run on: one set of ranks at a time, reused while the settings stay.
// Processes of a team make and forget them together. Thread: the one that prepares cases.
#pragma once

#include <string>
#include <vector>

#include "tutti/tutti.h"

#include "comm/base/config.h"
#include "tests/matrix/case.h"
#include "tests/matrix/team.h"

namespace tutti {

// More than a slow machine needs for any case, less than the watchdog's limit.
inline constexpr double kTimeoutSeconds = 120;
inline constexpr size_t kSmallestCap = 64 * 1024;  // least buffer_cap that Tutti accepts

// What a communicator for this slot (slot_of) is made with.
Config config_of(int slot, bool capped);

class Communicators {
 public:
  explicit Communicators(Team& team) : team_(team) {}
  ~Communicators() { reset(); }
  Communicators(const Communicators&) = delete;
  Communicators& operator=(const Communicators&) = delete;

  // Handles of all ranks (of this process), with the settings that `c` wants. Empty when creation
  // failed: see error().
  const std::vector<tuttiComm_t>& get(const Case& c);
  const std::string& error() const { return error_; }
  // Destroys the ranks; the next get() makes new ones. For after a failure.
  void reset();

 private:
  Team& team_;
  std::vector<tuttiComm_t> handles_;
  int nranks_ = 0;
  int slot_ = 0;
  bool capped_ = false;
  std::string error_;
};

}  // namespace tutti
