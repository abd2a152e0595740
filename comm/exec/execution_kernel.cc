// What one kernel step of an execution does to bytes, once its inputs have arrived and it is known
// where they go.
#include <algorithm>

#include "comm/exec/execution.h"

namespace tutti {

Status Execution::compute(const BoundStep& step, int num_dst) {
  if (step.bytes == 0 || num_dst == 0) return Status();
  bool whole = true;
  for (size_t k = 0; k < step.n_in; ++k) {
    whole = whole && in_[k].num_parts == 1;
    if (in_[k].num_parts > 0) src_[k] = in_[k].parts[0].iov_base;
  }
  for (size_t k = 0; k < static_cast<size_t>(num_dst); ++k) {
    whole = whole && out_[k].num_parts == 1;
    dst_[k] = out_[k].parts[0].iov_base;
  }
  if (whole) return compute_span(step, step.bytes, num_dst);
  if (in_[0].remote != nullptr && step.op != Op::kReduce && num_dst == 1) return fetch_copy(step);
  return compute_parts(step, num_dst);
}

// Ends that lie in several parts or have to be fetched: walks all of them together, one common
// stretch at a time.
Status Execution::compute_parts(const BoundStep& step, int num_dst) {
  const auto n_in = static_cast<size_t>(step.n_in);
  const auto n_out = static_cast<size_t>(num_dst);
  for (size_t k = 0; k < n_in; ++k) {
    if (in_[k].remote == nullptr) in_[k].whole = in_[k].parts[0];
  }
  for (size_t k = 0; k < n_out; ++k) out_[k].whole = out_[k].parts[0];
  for (size_t done = 0; done < step.bytes;) {
    size_t span = step.bytes - done;
    for (size_t k = 0; k < n_in; ++k) {
      span = std::min(span, in_[k].remote != nullptr ? kFetchBytes : in_[k].whole.iov_len);
    }
    for (size_t k = 0; k < n_out; ++k) span = std::min(span, out_[k].whole.iov_len);
    for (size_t k = 0; k < n_in; ++k) {
      src_[k] = in_[k].whole.iov_base;
      if (in_[k].remote == nullptr) continue;
      std::byte* slice = fetched_.get() + k * kFetchBytes;
      TUTTI_TRY(in_[k].remote->fetch(done, slice, span));
      src_[k] = slice;
    }
    for (size_t k = 0; k < n_out; ++k) dst_[k] = out_[k].whole.iov_base;
    TUTTI_TRY(compute_span(step, span, num_dst));
    for (size_t k = 0; k < n_in; ++k) {
      if (in_[k].remote == nullptr) in_[k].skip(span);
    }
    for (size_t k = 0; k < n_out; ++k) out_[k].skip(span);
    done += span;
  }
  return Status();
}

// Straight to its only destination.
Status Execution::fetch_copy(const BoundStep& step) {
  const Cursor& out = out_[0];
  size_t done = 0;
  for (uint32_t i = 0; i < out.num_parts; ++i) {
    if (out.parts[i].iov_len == 0) continue;
    TUTTI_TRY(in_[0].remote->fetch(done, out.parts[i].iov_base, out.parts[i].iov_len));
    done += out.parts[i].iov_len;
  }
  traffic_.bytes_loaded += step.bytes;
  traffic_.bytes_stored += step.bytes;
  return Status();
}

void Execution::Cursor::skip(size_t bytes) {
  whole.iov_base = static_cast<char*>(whole.iov_base) + bytes;
  whole.iov_len -= bytes;
  if (whole.iov_len == 0 && --num_parts > 0) whole = *++parts;
}

Status Execution::compute_span(const BoundStep& step, size_t bytes, int num_dst) {
  const uint32_t divisor = (step.flags & kFinal) != 0 ? how_.divisor : 0;
  if (step.op == Op::kReduce) {
    traffic_.bytes_loaded += bytes * step.n_in;
    traffic_.bytes_stored += bytes * static_cast<size_t>(num_dst);
    const size_t count = bytes / size_of(how_.dtype);
    const ReduceCall call{src_.data(), step.n_in, dst_.data(), num_dst,     count,
                          how_.dtype,  how_.op,   divisor,     how_.stores, how_.threads};
    return device_->reduce(call, nullptr);
  }
  // A copy. A message that was placed, or data that is in place, is there already.
  const auto end = std::remove(dst_.begin(), dst_.begin() + num_dst, src_[0]);
  const auto left = static_cast<int>(end - dst_.begin());
  if (left == 0) return Status();
  traffic_.bytes_loaded += bytes;
  traffic_.bytes_stored += bytes * static_cast<size_t>(left);
  // The shortest way where neither several threads nor other stores could do better.
  if (left == 1 && how_.stores == Stores::kCached && bytes <= kFetchBytes) {
    return device_->copy(dst_[0], src_[0], bytes, nullptr);
  }
  // One source and several destinations in one pass: a fold of one term.
  const ReduceCall copy{src_.data(),    1, dst_.data(), left,        bytes, DataType::kUint8,
                        ReduceOp::kSum, 0, how_.stores, how_.threads};
  return device_->reduce(copy, nullptr);
}

}  // namespace tutti
