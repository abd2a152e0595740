#include "comm/expert/group_agreement.h"

#include <cstring>
#include <utility>

#include "comm/base/hash.h"
#include "comm/expert/group.h"

namespace tutti {

Agreement::Agreement(ExpertGroup& group, const char* what, std::vector<Fact> facts, Status own)
    : group_(group),
      comm_(group.comm()),
      what_(what),
      facts_(std::move(facts)),
      own_(std::move(own)),
      exchange_(comm_, group.channels()) {
  mine_.push_back(static_cast<uint64_t>(own_.code()));
  for (const Fact& fact : facts_) mine_.push_back(fact.value);
  all_.resize(mine_.size() * static_cast<size_t>(comm_.nranks()));
}

Status Agreement::begin() {
  return exchange_.start_all_gather(
      mine_.data(), all_.data(), mine_.size() * sizeof(uint64_t),
      comm_.header(group_.next_sequence(), hash64(what_, std::strlen(what_))));
}

int Agreement::culprit() const {
  return culprit_ >= 0 ? culprit_ : group_.channels().failed_peer();
}

Operation::Progress Agreement::advance() {
  switch (exchange_.advance()) {
    case Execution::State::kBlocked:
      return Progress::kBlocked;
    case Execution::State::kDone:
      outcome_ = judge();
      return Progress::kDone;
    case Execution::State::kMismatch:
      culprit_ = exchange_.execution().surprise().peer;
      failure_ =
          error(Code::kMismatch, "%s: %s: rank %d called something else of this group",
                comm_.who().c_str(), describe().c_str(), exchange_.execution().surprise().peer);
      return Progress::kFailed;
    case Execution::State::kFailed:
      failure_ = exchange_.execution().failure();
      return Progress::kFailed;
  }
  return Progress::kFailed;
}

// A rank whose own part is wrong has nothing to compare.
Status Agreement::judge() const {
  if (!own_.ok()) return own_;
  const auto nranks = static_cast<size_t>(comm_.nranks());
  for (size_t r = 0; r < nranks; ++r) {
    const uint64_t code = all_[r * mine_.size()];
    if (code == 0) continue;
    return error(Code::kRemoteError, "rank %zu: %s has failed there: %s", r, what_,
                 code_name(static_cast<Code>(code)));
  }
  for (size_t r = 0; r < nranks; ++r) {
    for (size_t i = 0; i < facts_.size(); ++i) {
      const uint64_t theirs = all_[r * mine_.size() + i + 1];
      if (theirs == facts_[i].value) continue;
      return error(Code::kInvalidArgument,
                   "%s: expected the same on all ranks, got %llu here and %llu on rank %zu",
                   facts_[i].name, static_cast<unsigned long long>(facts_[i].value),
                   static_cast<unsigned long long>(theirs), r);
    }
  }
  return Status();
}

}  // namespace tutti
