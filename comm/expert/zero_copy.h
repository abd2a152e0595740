// What an operation of an expert group does to have its messages read where they lie, or not. Each
// rank sees to what it sends and to how it reads; the messages are the same.
#pragma once

#include <string>

#include "comm/exec/execution.h"
#include "comm/expert/types.h"

namespace tutti {

class Communicator;

// kInvalidUsage where a message of the bound plan would have to be copied on its way, naming the
// memory; `name`: of the call.
Status check_zero_copy(const Plan& plan, const RunBuffers& buffers, const Communicator& comm,
                       const char* name);

// Before the run.
void apply_zero_copy(ZeroCopy how, Plan* plan);

}  // namespace tutti
