// Verifier: verify() and minimum_slots() with memory that is kept from one call to the next, for
// those who verify thousands of schedules (sweep.h). Not thread-safe: one for each thread.
#pragma once

#include <optional>

#include "comm/verify/run.h"
#include "comm/verify/verify.h"
#include "comm/verify/world.h"

namespace tutti {

class Verifier {
 public:
  std::optional<Defect> verify(int nranks, const ScheduleOf& schedule_of,
                               const VerifyOptions& options, const RowContract* contract = nullptr);
  // As the function minimum_slots(), starting at `least` instead of 1.
  MinimumSlots minimum_slots(int nranks, const ScheduleOf& schedule_of, uint32_t least,
                             uint32_t most, const RowContract* contract = nullptr);

 private:
  std::optional<Defect> run(const VerifyOptions& options);
  void add_step_text(const ScheduleOf& schedule_of, Defect* defect);

  World world_;
  Run run_;
  Schedule schedule_;
};

}  // namespace tutti
