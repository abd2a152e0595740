#include "comm/expert/masks.h"

#include <algorithm>

namespace tutti {

ExpertMasks::View ExpertMasks::agreed() const {
  MutexLock lock(mutex_);
  View view;
  view.epoch = epoch_;
  if (num_agreed_ > 0) view.masked = agreed_;
  return view;
}

ExpertMasks::View ExpertMasks::proposed() const {
  MutexLock lock(mutex_);
  View view;
  view.epoch = epoch_;
  if (num_agreed_ + num_proposed_ == 0) return view;
  view.masked = agreed_;
  for (size_t r = 0; r < proposed_.size(); ++r) view.masked[r] |= proposed_[r];
  return view;
}

Status ExpertMasks::propose(int rank, bool masked) {
  const auto r = static_cast<size_t>(rank);
  MutexLock lock(mutex_);
  if (agreed_[r] != 0) {
    if (masked) return Status();
    return error(Code::kInvalidUsage,
                 "rank %d: expected a mask that no Prepare has agreed on: only tuttiEpReadmit "
                 "takes this one back",
                 rank);
  }
  proposed_[r] = masked ? 1 : 0;
  num_proposed_ = static_cast<size_t>(std::count(proposed_.begin(), proposed_.end(), 1));
  return Status();
}

bool ExpertMasks::agree(const AllCounts& all) {
  MutexLock lock(mutex_);
  const size_t before = num_agreed_;
  for (int s = 0; s < all.nranks(); ++s) {
    const std::span<const uint8_t> theirs = all.of(s).masked();
    for (size_t r = 0; r < agreed_.size(); ++r) agreed_[r] |= theirs[r] != 0 ? 1 : 0;
  }
  num_agreed_ = static_cast<size_t>(std::count(agreed_.begin(), agreed_.end(), 1));
  if (num_agreed_ == before) return false;
  ++epoch_;
  for (size_t r = 0; r < agreed_.size(); ++r) proposed_[r] &= static_cast<uint8_t>(~agreed_[r]);
  num_proposed_ = static_cast<size_t>(std::count(proposed_.begin(), proposed_.end(), 1));
  return true;
}

void ExpertMasks::readmit(int rank) {
  const auto r = static_cast<size_t>(rank);
  MutexLock lock(mutex_);
  agreed_[r] = 0;
  proposed_[r] = 0;
  --num_agreed_;
  ++epoch_;
}

}  // namespace tutti
