// Operations that nobody waits for, and tuttiEpComplete.
#include "comm/api/expert_start.h"

#include <utility>

namespace tutti {

Status check_in_flight(const ExpertStart& how) {
  tuttiEpGroup& group = *how.handle->group;
  return group.in_flight.check(how.function, group.group->config().max_inflight,
                               process()->streams(), how.send_only ? nullptr : how.stream);
}

namespace {

Status start_send_only(const Entry& entry, const ExpertStart& how,
                       std::unique_ptr<Operation> operation) {
  std::unique_ptr<StreamTicket> start;
  if (how.stream != nullptr) {
    Result<std::unique_ptr<StreamTicket>> made = process()->streams().start(how.stream);
    if (!made.ok()) return made.status();
    start = std::move(made.value());
  }
  tuttiEpGroup& group = *how.handle->group;
  operation->ticket = group.in_flight.add(how.handle, how.kind, std::move(start));
  return submit_unattended(entry, group.group->order(), std::move(operation));
}

}  // namespace

Status start_expert(const Entry& entry, const ExpertStart& how,
                    std::unique_ptr<Operation> operation) {
  if (how.send_only) return start_send_only(entry, how, std::move(operation));
  tuttiEpGroup& group = *how.handle->group;
  TUTTI_TRY(submit_operation(entry, group.group->order(), std::move(operation), how.stream));
  if (how.stream != nullptr) group.in_flight.add_stream(how.stream, process()->streams());
  return Status();
}

namespace {

constexpr char kComplete[] = "tuttiEpComplete";

Status complete_on_stream(tuttiEpGroup& group, const std::shared_ptr<Uncompleted>& one,
                          tuttiStream_t stream) {
  Result<std::unique_ptr<StreamTicket>> ticket = process()->streams().ticket(stream);
  if (!ticket.ok()) return ticket.status();
  one->hand_to(std::move(ticket.value()));
  group.in_flight.remove(one);
  group.in_flight.add_stream(stream, process()->streams());
  return Status();
}

Status complete(const Entry& entry, tuttiEpHandle_t handle, tuttiEpOp_t op, tuttiStream_t stream) {
  if (op != TUTTI_EP_OP_DISPATCH && op != TUTTI_EP_OP_COMBINE) {
    return error(Code::kInvalidArgument, "%s: op: expected 0 or 1, got %d", kComplete,
                 static_cast<int>(op));
  }
  if (thread_state().group_depth > 0) {
    return error(Code::kInvalidUsage, "%s is not allowed inside a group", kComplete);
  }
  tuttiEpGroup& group = *handle->group;
  const std::shared_ptr<Uncompleted> one = group.in_flight.oldest(handle, op);
  if (one == nullptr) {
    return error(Code::kInvalidUsage,
                 "%s: expected a send_only %s of this handle that is not completed, got none",
                 kComplete, op == TUTTI_EP_OP_DISPATCH ? "tuttiEpDispatch" : "tuttiEpCombine");
  }
  if (stream != nullptr) return complete_on_stream(group, one, stream);
  TUTTI_TRY(entry.comm().wait_for([&one] { return one->is_over(); }));
  group.in_flight.remove(one);
  return one->result();
}

}  // namespace

}  // namespace tutti

using tutti::report;
using tutti::Status;

tuttiResult_t tuttiEpComplete(tuttiEpHandle_t handle, tuttiEpOp_t op, tuttiStream_t stream) {
  const Status ok = tutti::check_handle(tutti::kComplete, handle);
  if (!ok.ok()) return report(ok);
  const tutti::Entry entry(handle->group->comm, tutti::kComplete);
  if (!entry.status().ok()) return report(entry.status());
  return report(tutti::complete(entry, handle, op, stream));
}
