// How a job comes together: plans (world_creation.h) for a unique id and for each launcher, and the
// opening of a rendezvous. Any thread.
#pragma once

#include "comm/bootstrap/job_id.h"
#include "comm/runtime/process.h"
#include "comm/runtime/world_creation.h"

namespace tutti {

// Opens the rendezvous of a new job in this process: on the interface that TUTTI_SOCKET_IFNAME
// picks, else on the one toward the outside and on the loopback.
Result<JobId> open_job(Process& process);

WorldPlan plan_by_id(const JobId& id, int rank, int nranks);

// As the launcher in the environment says (comm/bootstrap/launch.h).
Result<WorldPlan> plan_by_environment(Process& process);

}  // namespace tutti
