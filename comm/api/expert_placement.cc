// tuttiEpSetPlacement: the experts of a group move to other ranks.
#include <utility>

#include "comm/api/expert_state.h"
#include "comm/api/request.h"
#include "comm/api/submit.h"
#include "comm/expert/group_agreement.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::ExpertGroup;
using tutti::Placement;
using tutti::report;
using tutti::Result;
using tutti::Status;

namespace {

constexpr char kSetPlacement[] = "tuttiEpSetPlacement";

Result<Placement> read_placement(const ExpertGroup& group, const int32_t* expert_rank,
                                 const int32_t* phys_to_log) {
  TUTTI_TRY(tutti::check_unused(kSetPlacement, group));
  const uint32_t num_logical = group.config().placement.num_logical;
  if (num_logical > 0 && phys_to_log == nullptr) {
    return error(Code::kInvalidArgument, "%s: phys_to_log is NULL and num_logical is %u",
                 kSetPlacement, num_logical);
  }
  return group.other_placement(expert_rank, phys_to_log);
}

}  // namespace

// What is wrong with the arguments of this rank is for the others to know, so it goes along.
tuttiResult_t tuttiEpSetPlacement(tuttiEpGroup_t group, const int32_t* expert_rank,
                                  const int32_t* phys_to_log, tuttiStream_t stream) {
  const Status ok = tutti::check_group(kSetPlacement, group);
  if (!ok.ok()) return report(ok);
  const Entry entry(group->comm, kSetPlacement);
  if (!entry.status().ok()) return report(entry.status());
  const Status outside = tutti::check_no_group(kSetPlacement);
  if (!outside.ok()) return report(outside);
  return tutti::with_memory(kSetPlacement, [&] {
    ExpertGroup& inner = *group->group;
    Result<Placement> next = read_placement(inner, expert_rank, phys_to_log);
    tutti::Agreement agreement(inner, "placement of experts",
                               {{"placement of experts", next.ok() ? next.value().hash() : 0}},
                               next.status());
    const Status agreed = tutti::run_operation(entry, inner.order(), agreement, stream);
    if (agreed.ok()) inner.adopt(std::move(next.value()));
    return report(agreed);
  });
}
