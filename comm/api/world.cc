// Communicators of ranks in several processes: the ways in which a job comes together.
#include <cstring>
#include <utility>

#include "comm/api/request.h"
#include "comm/api/state.h"
#include "comm/bootstrap/callback_exchange.h"
#include "comm/bootstrap/job_id.h"
#include "comm/runtime/job.h"
#include "comm/runtime/world_creation.h"

using tutti::Code;
using tutti::error;
using tutti::report;
using tutti::Request;
using tutti::Result;
using tutti::Status;
using tutti::WorldPlan;

namespace {

static_assert(tutti::JobId::kBytes == TUTTI_UNIQUE_ID_BYTES);

Status check_call(const char* function, tuttiComm_t* comm) {
  TUTTI_TRY(tutti::check_process());
  if (comm == nullptr) return error(Code::kInvalidArgument, "%s: comm is NULL", function);
  *comm = nullptr;
  if (tutti::thread_state().group_depth == 0) return Status();
  return error(Code::kInvalidUsage, "%s is not allowed inside a group", function);
}

Status check_ranks(const char* function, int nranks, int rank) {
  if (nranks >= 1 && nranks <= tutti::kMaxRanks && rank >= 0 && rank < nranks) return Status();
  return error(Code::kInvalidArgument,
               "%s: expected 1 to 2^20 ranks and a rank from 0 to nranks - 1, got rank %d of %d",
               function, rank, nranks);
}

tuttiResult_t create(const char* function, WorldPlan plan, const tuttiConfig_t* config,
                     tuttiComm_t* comm) {
  Request request;
  Status status = tutti::make_request(function, config, nullptr, &request);
  if (status.ok() && request.blocking == 0) status = plan.any_thread;
  if (!status.ok()) return report(status);
  return tutti::with_memory(function, [&] {
    if (request.blocking == 0) {
      return tutti::carry_out(std::make_unique<tutti::WorldCreation>(
                                  *tutti::process(), std::move(plan), request.config, request.name),
                              0, true, nullptr, comm);
    }
    auto made = tutti::make_world(*tutti::process(), plan, request.config, request.name, nullptr);
    if (!made.ok()) return report(made.status());
    *comm = tutti::wrap(std::move(made.value()), request.blocking);
    return tuttiSuccess;
  });
}

}  // namespace

tuttiResult_t tuttiGetUniqueId(tuttiUniqueId* id) {
  Status status = tutti::check_process();
  if (status.ok() && id == nullptr) {
    status = error(Code::kInvalidArgument, "tuttiGetUniqueId: id is NULL");
  }
  if (!status.ok()) return report(status);
  Result<tutti::JobId> opened = tutti::open_job(*tutti::process());
  if (!opened.ok()) return report(opened.status());
  const std::string bytes = opened.value().encode();
  std::memcpy(id->internal, bytes.data(), sizeof id->internal);
  return tuttiSuccess;
}

tuttiResult_t tuttiCommInitRank(tuttiComm_t* comm, int nranks, tuttiUniqueId id, int rank) {
  return tuttiCommInitRankConfig(comm, nranks, id, rank, nullptr);
}

tuttiResult_t tuttiCommInitRankConfig(tuttiComm_t* comm, int nranks, tuttiUniqueId id, int rank,
                                      const tuttiConfig_t* config) {
  constexpr const char* kFunction = "tuttiCommInitRank";
  Status status = check_call(kFunction, comm);
  if (status.ok()) status = check_ranks(kFunction, nranks, rank);
  if (!status.ok()) return report(status);
  Result<tutti::JobId> job = tutti::JobId::decode({id.internal, sizeof id.internal});
  if (!job.ok()) {
    return report(error(Code::kInvalidArgument, "%s: %s", kFunction, job.status().text().c_str()));
  }
  return create(kFunction, tutti::plan_by_id(job.value(), rank, nranks), config, comm);
}

tuttiResult_t tuttiCommInitEnv(tuttiComm_t* comm, const tuttiConfig_t* config) {
  const Status status = check_call("tuttiCommInitEnv", comm);
  if (!status.ok()) return report(status);
  Result<WorldPlan> plan = tutti::plan_by_environment(*tutti::process());
  if (!plan.ok()) {
    return report(
        error(plan.status().code(), "tuttiCommInitEnv: %s", plan.status().text().c_str()));
  }
  return create("tuttiCommInitEnv", std::move(plan.value()), config, comm);
}

tuttiResult_t tuttiCommInitExchange(tuttiComm_t* comm, int nranks, int rank,
                                    tuttiAllGatherFn all_gather, void* context,
                                    const tuttiConfig_t* config) {
  constexpr const char* kFunction = "tuttiCommInitExchange";
  Status status = check_call(kFunction, comm);
  if (status.ok()) status = check_ranks(kFunction, nranks, rank);
  if (status.ok() && all_gather == nullptr) {
    status = error(Code::kInvalidArgument, "%s: all_gather is NULL", kFunction);
  }
  if (!status.ok()) return report(status);
  const auto call = [all_gather, context](const void* mine, void* all, size_t bytes) {
    const int result = all_gather(mine, all, bytes, context);
    if (result == 0) return Status();
    return error(Code::kSystemError, "%s: the all-gather given failed with %d", kFunction, result);
  };
  WorldPlan plan;
  plan.rank = rank;
  plan.nranks = nranks;
  plan.meet = [rank, nranks, call](const tutti::Patience&) -> Result<tutti::Meeting> {
    tutti::Meeting meeting;
    meeting.exchange = std::make_unique<tutti::CallbackExchange>(rank, nranks, call);
    return meeting;
  };
  return create(kFunction, std::move(plan), config, comm);
}
