#include "comm/exec/row_loans.h"

#include <algorithm>

namespace tutti {

namespace {

bool is_written(Buffer buffer) {
  return buffer == Buffer::kOutput || buffer == Buffer::kOutputSide || buffer == Buffer::kScratch ||
         buffer == Buffer::kScratchSide || buffer == Buffer::kOutputValue ||
         buffer == Buffer::kScratchValue;
}

}  // namespace

void RowLoans::clear() {
  for (std::vector<uint32_t>& newest : newest_) newest.clear();
  loans_.clear();
}

void RowLoans::lend(Buffer buffer, std::span<const uint32_t> rows, uint32_t channel,
                    uint32_t message) {
  if (!is_written(buffer)) return;
  std::vector<uint32_t>& newest = newest_[static_cast<size_t>(buffer)];
  for (const uint32_t row : rows) {
    if (row >= newest.size()) newest.resize(size_t{row} + 1);
    loans_.push_back({channel, message, newest[row]});
    newest[row] = static_cast<uint32_t>(loans_.size());
  }
}

void RowLoans::collect(Buffer buffer, std::span<const uint32_t> rows) {
  std::vector<uint32_t>& newest = newest_[static_cast<size_t>(buffer)];
  if (newest.empty()) return;
  for (const uint32_t row : rows) {
    if (row >= newest.size()) continue;
    for (uint32_t next = newest[row]; next != 0; next = loans_[next - 1].older) {
      const Loan& loan = loans_[next - 1];
      if (loan.channel >= needed_.size()) needed_.resize(size_t{loan.channel} + 1);
      uint32_t& needed = needed_[loan.channel];
      if (needed == 0) channels_.push_back(loan.channel);
      needed = std::max(needed, loan.message + 1);
    }
    newest[row] = 0;
  }
}

void RowLoans::take(std::vector<Lent>* out) {
  for (const uint32_t channel : channels_) {
    out->push_back({channel, needed_[channel] - 1, false});
    needed_[channel] = 0;
  }
  channels_.clear();
}

}  // namespace tutti
