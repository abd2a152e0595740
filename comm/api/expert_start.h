// How calls on expert groups start operations: waited for, on a stream, in a group of calls, or
// send_only.
#pragma once

#include <memory>

#include "comm/api/expert_state.h"
#include "comm/api/submit.h"

namespace tutti {

struct ExpertStart {
  const char* function;
  tuttiEpHandle_t handle;
  tuttiStream_t stream = nullptr;
  bool send_only = false;
  tuttiEpOp_t kind = TUTTI_EP_OP_DISPATCH;  // of send_only
};

// Whether one operation more may be under way: before it is made.
Status check_in_flight(const ExpertStart& how);
Status start_expert(const Entry& entry, const ExpertStart& how,
                    std::unique_ptr<Operation> operation);

}  // namespace tutti
