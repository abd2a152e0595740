// Masks of expert groups: proposed, asked for, and taken back; and whom failures are down to.
#include "comm/api/expert_state.h"
#include "comm/api/request.h"
#include "comm/api/submit.h"
#include "comm/expert/group_agreement.h"

using tutti::Code;
using tutti::Entry;
using tutti::error;
using tutti::ExpertGroup;
using tutti::ExpertMasks;
using tutti::report;
using tutti::Status;

namespace {

Status check_rank(const char* function, ExpertGroup& group, int rank) {
  const int nranks = group.comm().nranks();
  if (rank >= 0 && rank < nranks) return Status();
  return error(Code::kInvalidArgument, "%s: rank: expected 0 to %d, got %d", function, nranks - 1,
               rank);
}

constexpr char kReadmit[] = "tuttiEpReadmit";

Status check_masked(ExpertGroup& group, int rank) {
  TUTTI_TRY(tutti::check_unused(kReadmit, group));
  TUTTI_TRY(check_rank(kReadmit, group, rank));
  if (tutti::is_masked(group.masks().agreed().masked, rank)) return Status();
  return error(Code::kInvalidUsage,
               "%s: expected a rank that a Prepare has agreed to mask, got rank %d", kReadmit,
               rank);
}

}  // namespace

tuttiResult_t tuttiEpMaskSet(tuttiEpGroup_t group, int rank, int masked) {
  const char* const function = "tuttiEpMaskSet";
  Status status = tutti::check_group(function, group);
  if (status.ok()) status = check_rank(function, *group->group, rank);
  if (status.ok()) status = group->group->masks().propose(rank, masked != 0);
  return report(status);
}

tuttiResult_t tuttiEpMaskGet(tuttiEpGroup_t group, uint8_t* masked, uint64_t* epoch) {
  const char* const function = "tuttiEpMaskGet";
  const Status ok = tutti::check_group(function, group);
  if (!ok.ok()) return report(ok);
  const ExpertMasks::View view = group->group->masks().proposed();
  const int nranks = group->group->comm().nranks();
  for (int r = 0; r < nranks && masked != nullptr; ++r) {
    masked[r] = tutti::is_masked(view.masked, r) ? 1 : 0;
  }
  if (epoch != nullptr) *epoch = view.epoch;
  return tuttiSuccess;
}

// As of a placement: what is wrong here goes along, for the others to know.
tuttiResult_t tuttiEpReadmit(tuttiEpGroup_t group, int rank, tuttiStream_t stream) {
  const Status ok = tutti::check_group(kReadmit, group);
  if (!ok.ok()) return report(ok);
  const Entry entry(group->comm, kReadmit);
  if (!entry.status().ok()) return report(entry.status());
  const Status outside = tutti::check_no_group(kReadmit);
  if (!outside.ok()) return report(outside);
  return tutti::with_memory(kReadmit, [&] {
    ExpertGroup& inner = *group->group;
    tutti::Agreement agreement(
        inner, "return of a masked rank",
        {{"rank", static_cast<uint64_t>(rank)}, {"mask epoch", inner.masks().agreed().epoch}},
        check_masked(inner, rank));
    const Status agreed = tutti::run_operation(entry, inner.order(), agreement, stream);
    if (agreed.ok()) inner.masks().readmit(rank);
    return report(agreed);
  });
}

tuttiResult_t tuttiEpGetAsyncError(tuttiEpGroup_t group, tuttiResult_t* async, int* rank) {
  const Status ok = tutti::check_group("tuttiEpGetAsyncError", group);
  if (!ok.ok()) return report(ok);
  const tutti::GroupFailures::Failure failure = group->group->async_error();
  if (async != nullptr) *async = static_cast<tuttiResult_t>(failure.code);
  if (rank != nullptr) *rank = failure.rank;
  return tuttiSuccess;
}
