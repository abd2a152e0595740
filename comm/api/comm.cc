// Communicators: creation, facts, end.
#include <utility>
#include <vector>

#include "comm/api/request.h"
#include "comm/api/state.h"
#include "comm/base/hash.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::report;
using tutti::Request;
using tutti::Status;

namespace {

Status check_outside_group(const char* function) {
  if (tutti::thread_state().group_depth == 0) return Status();
  return error(Code::kInvalidUsage, "%s is not allowed inside a group", function);
}

Status check_threads(const tutti::Communicator& parent, const Request& request) {
  if (request.blocking != 0) return Status();
  return parent.check_any_thread(tutti::kNonBlockingCreation);
}

}  // namespace

tuttiResult_t tuttiCommInitAll(tuttiComm_t* comms, int nranks, const tuttiConfig_t* config) {
  const Status ok = tutti::check_process();
  if (!ok.ok()) return report(ok);
  if (comms == nullptr || nranks < 1 || nranks > tutti::kMaxLocalRanks) {
    return report(error(Code::kInvalidArgument,
                        "tuttiCommInitAll: expected an array of 1 to %d handles, got %d at %p",
                        tutti::kMaxLocalRanks, nranks, static_cast<void*>(comms)));
  }
  for (int r = 0; r < nranks; ++r) comms[r] = nullptr;
  Request request;
  Status status = tutti::make_request("tuttiCommInitAll", config, nullptr, &request);
  if (!status.ok()) return report(status);
  return tutti::with_memory("tuttiCommInitAll", [&] {
    auto made = tutti::create_all(*tutti::process(), nranks, request.config, request.name);
    if (!made.ok()) return report(made.status());
    for (int r = 0; r < nranks; ++r) {
      comms[r] = tutti::wrap(std::move(made.value()[static_cast<size_t>(r)]), request.blocking);
    }
    return tuttiSuccess;
  });
}

tuttiResult_t tuttiCommSplit(tuttiComm_t comm, int color, int key, tuttiComm_t* newcomm,
                             const tuttiConfig_t* config) {
  const Entry entry(comm, "tuttiCommSplit");
  if (!entry.status().ok()) return report(entry.status());
  Status status = check_outside_group("tuttiCommSplit");
  if (status.ok() && newcomm == nullptr) {
    status = error(Code::kInvalidArgument, "tuttiCommSplit: newcomm is NULL");
  }
  if (status.ok() && color < 0 && color != TUTTI_SPLIT_NOCOLOR) {
    status = error(Code::kInvalidArgument,
                   "tuttiCommSplit: color: expected >= 0 or TUTTI_SPLIT_NOCOLOR, got %d", color);
  }
  if (!status.ok()) return report(status);
  *newcomm = nullptr;
  const Request parent = tutti::request_of(entry.handle());
  Request request;
  status = tutti::make_request("tuttiCommSplit", config, &parent, &request);
  if (status.ok()) status = check_threads(entry.comm(), request);
  if (!status.ok()) return report(status);
  auto creation =
      std::make_unique<tutti::SplitCreation>(*tutti::process(), entry.comm(), color, key,
                                             entry.handle().splits, request.config, request.name);
  status = creation->start();
  if (!status.ok()) return report(status);
  ++entry.handle().splits;
  return tutti::carry_out(std::move(creation), request.blocking, color >= 0, &entry.comm(),
                          newcomm);
}

namespace {

Status check_members(const tutti::Communicator& comm, const int* ranks, int nranks, int tag) {
  if (ranks == nullptr || nranks < 1 || nranks > comm.nranks() || tag < 0) {
    return error(Code::kInvalidArgument,
                 "tuttiCommCreateGroup: expected 1 to %d ranks and tag >= 0, got %d at %p, %d",
                 comm.nranks(), nranks, static_cast<const void*>(ranks), tag);
  }
  std::vector<bool> seen(static_cast<size_t>(comm.nranks()), false);
  for (int i = 0; i < nranks; ++i) {
    if (ranks[i] < 0 || ranks[i] >= comm.nranks() || seen[static_cast<size_t>(ranks[i])]) {
      return error(Code::kInvalidArgument,
                   "tuttiCommCreateGroup: ranks[%d]: expected 0..%d, each once, got %d", i,
                   comm.nranks() - 1, ranks[i]);
    }
    seen[static_cast<size_t>(ranks[i])] = true;
  }
  if (!seen[static_cast<size_t>(comm.rank())]) {
    return error(Code::kInvalidArgument, "tuttiCommCreateGroup: %s is not among the members",
                 comm.who().c_str());
  }
  return Status();
}

// The n-th creation of these members under this tag is the n-th on every one of them.
uint64_t group_id(tuttiComm& parent, const std::vector<int>& members, int tag) {
  std::string who(reinterpret_cast<const char*>(members.data()), members.size() * sizeof(int));
  who += std::to_string(tag);
  tutti::MutexLock lock(parent.grouping);
  const uint64_t times = parent.groups[who]++;
  return tutti::hash_combine(
      tutti::hash_combine(tutti::hash64(who.data(), who.size()), parent.comm->id()), times);
}

}  // namespace

// Any thread, even while another one is inside: creations only look at the parent.
tuttiResult_t tuttiCommCreateGroup(tuttiComm_t comm, const int* ranks, int nranks, int tag,
                                   tuttiComm_t* newcomm, const tuttiConfig_t* config) {
  Status status = tutti::check_handle(comm, "tuttiCommCreateGroup");
  if (!status.ok()) return report(status);
  tutti::settle(*comm);
  status = tutti::check_ready(*comm, "tuttiCommCreateGroup");
  if (status.ok()) status = check_outside_group("tuttiCommCreateGroup");
  if (status.ok() && newcomm == nullptr) {
    status = error(Code::kInvalidArgument, "tuttiCommCreateGroup: newcomm is NULL");
  }
  if (!status.ok()) return report(status);
  tutti::Communicator& parent = *comm->comm;
  status = check_members(parent, ranks, nranks, tag);
  if (!status.ok()) return report(status);
  *newcomm = nullptr;
  const Request inherited = tutti::request_of(*comm);
  Request request;
  status = tutti::make_request("tuttiCommCreateGroup", config, &inherited, &request);
  if (status.ok()) status = check_threads(parent, request);
  if (!status.ok()) return report(status);
  std::vector<int> members(ranks, ranks + nranks);
  const uint64_t id = group_id(*comm, members, tag);
  auto creation = std::make_unique<tutti::GroupCreation>(
      *tutti::process(), parent, std::move(members), id, request.config, request.name);
  status = creation->start();
  if (!status.ok()) return report(status);
  return tutti::carry_out(std::move(creation), request.blocking, true, &parent, newcomm);
}

tuttiResult_t tuttiCommCount(tuttiComm_t comm, int* nranks) {
  const Status ok = tutti::check_handle(comm, "tuttiCommCount");
  if (!ok.ok()) return report(ok);
  if (nranks == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiCommCount: nranks is NULL"));
  }
  if (comm->state.load(std::memory_order_acquire) != tuttiComm::kAlive) {
    return report(error(Code::kInvalidUsage, "tuttiCommCount: the communicator is not ready"));
  }
  *nranks = comm->comm->nranks();
  return tuttiSuccess;
}

tuttiResult_t tuttiCommUserRank(tuttiComm_t comm, int* rank) {
  const Status ok = tutti::check_handle(comm, "tuttiCommUserRank");
  if (!ok.ok()) return report(ok);
  if (rank == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiCommUserRank: rank is NULL"));
  }
  if (comm->state.load(std::memory_order_acquire) != tuttiComm::kAlive) {
    return report(error(Code::kInvalidUsage, "tuttiCommUserRank: the communicator is not ready"));
  }
  *rank = comm->comm->rank();
  return tuttiSuccess;
}

tuttiResult_t tuttiCommFinalize(tuttiComm_t comm) {
  const Entry entry(comm, "tuttiCommFinalize");
  if (!entry.status().ok()) return report(entry.status());
  const Status drained = entry.comm().finalize();
  entry.handle().finalized = true;
  return report(drained);
}

namespace {

// Whether nothing needs the communicator any more.
Status check_unused(tuttiComm& handle) {
  tutti::Communicator& comm = *handle.comm;
  const bool failed = !comm.error().ok();
  // What waits for a communicator that has failed ends as soon as somebody looks.
  while (failed && comm.creations.load(std::memory_order_acquire) > 0) {
    (void)comm.poll_once();
    tutti::process()->engine().poll_all();
  }
  const char* what = nullptr;
  if (handle.recorded.load(std::memory_order_acquire) > 0) {
    what = "a group holds calls on it: end the group first";
  } else if (comm.creations.load(std::memory_order_acquire) > 0) {
    what = "a communicator is being made out of it: wait for that or abort first";
  } else if (handle.expert_groups > 0) {
    what = "expert groups of it are left: destroy them first";
  } else if (!failed && !comm.drained()) {
    what = "operations are pending: finalize or abort first";
  }
  if (what == nullptr) return Status();
  return error(Code::kInvalidUsage, "tuttiCommDestroy on %s: %s", comm.who().c_str(), what);
}

}  // namespace

tuttiResult_t tuttiCommDestroy(tuttiComm_t comm) {
  if (comm == nullptr) return tuttiSuccess;
  const Entry entry(comm, "tuttiCommDestroy", true);
  if (!entry.status().ok()) return report(entry.status());
  tuttiComm& handle = entry.handle();
  if (handle.state.load(std::memory_order_relaxed) == tuttiComm::kCreating) {
    return report(
        error(Code::kInvalidUsage, "tuttiCommDestroy: the communicator is still being created"));
  }
  if (handle.comm) {
    const Status unused = check_unused(handle);
    if (!unused.ok()) return report(unused);
  }
  handle.state.store(tuttiComm::kDestroyed, std::memory_order_release);
  if (handle.comm) tutti::process()->engine().remove(handle.comm.get());
  for (const auto& [window, owned] : handle.windows) {
    const Status left = handle.comm->transport().deregister_memory(owned->registration);
    if (left.ok()) continue;
    tutti::process()->log().warn("tuttiCommDestroy on %s: a window that was left: %s",
                                 handle.comm->who().c_str(), left.text().c_str());
  }
  handle.windows.clear();
  handle.operators.clear();
  {
    tutti::MutexLock lock(handle.grouping);
    handle.groups.clear();
  }
  handle.comm.reset();
  handle.creation.reset();
  return tuttiSuccess;
}

tuttiResult_t tuttiCommAbort(tuttiComm_t comm) {
  const Status ok = tutti::check_handle(comm, "tuttiCommAbort");
  if (!ok.ok()) return report(ok);
  tutti::settle(*comm);
  switch (comm->state.load(std::memory_order_acquire)) {
    case tuttiComm::kAlive:
      comm->comm->abort();
      break;
    case tuttiComm::kCreating:
      comm->creation->abort();
      break;
    default:
      break;
  }
  return tuttiSuccess;
}

tuttiResult_t tuttiCommGetAsyncError(tuttiComm_t comm, tuttiResult_t* async) {
  const Status ok = tutti::check_handle(comm, "tuttiCommGetAsyncError");
  if (!ok.ok()) return report(ok);
  if (async == nullptr) {
    return report(error(Code::kInvalidArgument, "tuttiCommGetAsyncError: error is NULL"));
  }
  tutti::settle(*comm);
  switch (comm->state.load(std::memory_order_acquire)) {
    case tuttiComm::kCreating:
      // Even if it has ended by now: success means that it is ready.
      *async = tuttiInProgress;
      break;
    case tuttiComm::kFailed:
      *async = static_cast<tuttiResult_t>(comm->creation_error.code());
      break;
    default:
      *async = static_cast<tuttiResult_t>(comm->comm->error().code());
  }
  return tuttiSuccess;
}
