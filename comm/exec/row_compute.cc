#include "comm/exec/row_compute.h"

#include <algorithm>
#include <cstring>
#include <functional>

#include "comm/device/kernels.h"
#include "comm/device/row_copy.h"
#include "comm/device/row_quantise.h"
#include "comm/device/row_sum.h"

namespace tutti {

RowCompute::RowCompute(Plan* plan, const BoundStep& step, char* const* bases, Stores stores,
                       Traffic* traffic)
    : plan_(plan),
      step_(step),
      bases_(bases),
      stores_(stores),
      traffic_(*traffic),
      tables_(plan->row_tables),
      program_(plan->row_steps[step.ordinal].program),
      num_rows_(plan->row_steps[step.ordinal].num_rows),
      bytes_(format(step.n_in).bytes),
      source_bytes_(format(std::min<uint32_t>(program_.num_biases, step.n_in)).bytes),
      term_(program_.first_term) {
  if (bytes_ == 0) num_rows_ = 0;
  for (uint32_t k = 0; k < step.n_out; ++k) outputs_[k] = place(step.n_in + k);
  uint32_t first = 0;
  for (uint32_t k = 0; k < step.n_in; ++k) {
    tables_.first[k] = first;
    first += plan->row_sets[operand(k)].count;
  }
}

RowCompute::Place RowCompute::place(uint32_t k) const {
  const Buffer buffer = plan_->operands[operand(k)].buffer;
  return {bases_[static_cast<size_t>(buffer)], format(k).stride,
          plan_->rows->indices.data() + plan_->row_sets[operand(k)].first};
}

Status RowCompute::stretch() {
  left_ = kStretchBytes;
  while (input_ < step_.n_in) {
    if (left_ == 0) return Status();
    TUTTI_TRY(find_input());
  }
  switch (program_.kernel) {
    case RowKernel::kCopy:
      return copy_some();
    case RowKernel::kSum:
      while (more() && left_ > 0) sum_batch();
      break;
    case RowKernel::kQuantise:
      while (more() && left_ > 0) quantise_batch();
      break;
  }
  return Status();
}

// Finds where the rows of input `input_` lie, and goes on to the next input unless the stretch ends
// before all of them have been fetched.
Status RowCompute::find_input() {
  const RowTables::Shown& shown = tables_.shown[input_];
  const uint32_t count = plan_->row_sets[operand(input_)].count;
  const char** rows = tables_.at.data() + tables_.first[input_];
  const bool remote = shown.message != nullptr && shown.message->parts == nullptr;
  if (shown.message != nullptr && !remote) {
    find_in_message(*shown.message);
  } else if (remote && program_.kernel == RowKernel::kCopy) {
    std::fill_n(rows, count, nullptr);
  } else if (fetched_ == 0) {
    const Place lying = place(input_);
    for (uint32_t i = 0; i < count; ++i) rows[i] = lying[i];
    const bool landed = plan_->operands[operand(input_)].channel != kNoChannel && !remote;
    if (landed) traffic_.staged_bytes += count * format(input_).bytes;
  }
  if (remote && program_.kernel != RowKernel::kCopy) {
    TUTTI_TRY(fetch_landing(*shown.channel));
    if (fetched_ < count) return Status();
    fetched_ = 0;
  }
  ++input_;
  return Status();
}

void RowCompute::find_in_message(const Message& message) {
  const size_t bytes = format(input_).bytes;
  const uint32_t count = plan_->row_sets[operand(input_)].count;
  const char** rows = tables_.at.data() + tables_.first[input_];
  const iovec* part = message.parts;
  size_t skip = 0;  // bytes of *part that belong to earlier rows
  for (uint32_t i = 0; i < count;) {
    const char* from = static_cast<const char*>(part->iov_base) + skip;
    const size_t whole = plan_->copies_shown ? 0 : (part->iov_len - skip) / bytes;
    const auto n = static_cast<uint32_t>(std::min<size_t>(whole, count - i));
    for (uint32_t j = 0; j < n; ++j) rows[i + j] = from + j * bytes;
    i += n;
    skip += n * bytes;
    if (i == count) break;
    if (skip == part->iov_len) {
      ++part;
      skip = 0;
    } else {
      rows[i] = put_together(place(input_)[i], part, skip, bytes);
      ++i;
    }
  }
}

// A row that begins at `skip` of `part` and ends in a later part. Leaves both at its end.
const char* RowCompute::put_together(char* landing, const iovec*& part, size_t& skip,
                                     size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    const size_t run = std::min(bytes - done, part->iov_len - skip);
    if (run > 0) std::memcpy(landing + done, static_cast<const char*>(part->iov_base) + skip, run);
    done += run;
    skip += run;
    if (skip == part->iov_len && done < bytes) {
      ++part;
      skip = 0;
    }
  }
  traffic_.bytes_loaded += bytes;
  traffic_.bytes_stored += bytes;
  traffic_.staged_bytes += bytes;
  spend(bytes);
  return landing;
}

// Rows of the message from fetched_ on to their landing rows, neighbours together.
Status RowCompute::fetch_landing(RecvChannel& channel) {
  const size_t bytes = format(input_).bytes;
  const uint32_t count = plan_->row_sets[operand(input_)].count;
  const Place landing = place(input_);
  while (fetched_ < count && left_ > 0) {
    TUTTI_TRY(extend({&channel, fetched_ * bytes, nullptr, landing[fetched_], bytes}));
    ++fetched_;
  }
  return flush();
}

Status RowCompute::copy_some() {
  char* targets[kMostOutputs];
  while (more() && left_ > 0) {
    const std::span<const RowTerm> row_terms = terms();
    if (row_terms.empty()) {
      zero_row();
      continue;
    }
    const RowTerm term = row_terms.front();
    const char*& source = at(term);
    const uint32_t n = targets_of(term, source, targets);
    if (n == 0) continue;
    uint32_t done = 0;
    if (source == nullptr) {
      TUTTI_TRY(extend(
          {tables_.shown[term.input].channel, term.row * bytes_, nullptr, targets[0], bytes_}));
      source = targets[0];
      done = 1;
    } else if (n == 1) {
      TUTTI_TRY(extend({nullptr, 0, source, targets[0], bytes_}));
      done = 1;
    }
    if (done == n) continue;
    TUTTI_TRY(flush());
    spend((n - done) * bytes_);
    copy(source, reinterpret_cast<void* const*>(targets + done), static_cast<int>(n - done), bytes_,
         stores_);
    traffic_.bytes_loaded += bytes_;
    traffic_.bytes_stored += (n - done) * bytes_;
  }
  TUTTI_TRY(flush());
  copy_batch();
  return Status();
}

// Goes past this output row and those after it that want the same row; their places in all outputs,
// but for the source's own, become `targets`.
uint32_t RowCompute::targets_of(const RowTerm& term, const char* source, char** targets) {
  uint32_t n = 0;
  while (n + step_.n_out <= kMostOutputs) {
    for (uint32_t k = 0; k < step_.n_out; ++k) {
      char* to = outputs_[k][row_];
      if (to != source) targets[n++] = to;
    }
    next_row(1);
    if (!more()) break;
    const std::span<const RowTerm> next = terms();
    if (next.size() != 1 || next[0].input != term.input || next[0].row != term.row) break;
  }
  return n;
}

// Moves `next` together with what has been kept back, where it follows that on both sides.
Status RowCompute::extend(const Run& next) {
  spend(next.bytes);
  // The kernel that streams takes rows of one size.
  const bool joins = run_.bytes > 0 && next.channel == run_.channel &&
                     next.dst == run_.dst + run_.bytes &&
                     (next.channel != nullptr || stores_ == Stores::kCached);
  const bool follows = next.channel != nullptr ? next.offset == run_.offset + run_.bytes
                                               : next.src == run_.src + run_.bytes;
  if (joins && follows) {
    const size_t bytes = run_.bytes + next.bytes;
    const auto distance =
        static_cast<size_t>(run_.src < run_.dst ? run_.dst - run_.src : run_.src - run_.dst);
    if (next.channel != nullptr || distance >= bytes) {
      run_.bytes = bytes;
      return Status();
    }
  }
  TUTTI_TRY(flush());
  run_ = next;
  return Status();
}

Status RowCompute::flush() {
  const Run run = run_;
  run_ = {};
  if (run.bytes == 0) return Status();
  traffic_.bytes_loaded += run.bytes;
  traffic_.bytes_stored += run.bytes;
  if (run.channel != nullptr) {
    traffic_.staged_bytes += run.bytes;
    return run.channel->fetch(run.offset, run.dst, run.bytes);
  }
  if (stores_ == Stores::kStreaming) {
    tables_.sources[batched_] = run.src;
    tables_.targets[batched_] = run.dst;
    if (++batched_ == RowTables::kBatchRows) copy_batch();
    return Status();
  }
  void* to = run.dst;
  copy(run.src, &to, 1, run.bytes, stores_);
  return Status();
}

namespace {

// Rows that lie anywhere, as the kernels take them: `offsets` from the lowest of them.
SourceRows rows_anywhere(const void* const* rows, size_t num, int64_t* offsets) {
  const void* lowest = *std::min_element(rows, rows + num, std::less<>());
  for (size_t i = 0; i < num; ++i) {
    offsets[i] = static_cast<int64_t>(reinterpret_cast<uintptr_t>(rows[i]) -
                                      reinterpret_cast<uintptr_t>(lowest));
  }
  return {static_cast<const uint8_t*>(lowest), 1, nullptr, offsets};
}

}  // namespace

// The copies that have been kept back, in one call: it asks for the next row ahead of time.
void RowCompute::copy_batch() {
  if (batched_ == 0) return;
  int64_t* offsets = tables_.offsets.data();
  const SourceRows from = rows_anywhere(tables_.sources.data(), batched_, offsets);
  const SourceRows to =
      rows_anywhere(tables_.targets.data(), batched_, offsets + RowTables::kBatchRows);
  copy_rows({const_cast<uint8_t*>(to.base), to.stride, nullptr, to.list64}, from, batched_, bytes_,
            stores_);
  batched_ = 0;
}

void RowCompute::zero_row() {
  for (uint32_t k = 0; k < step_.n_out; ++k) {
    zero_rows({reinterpret_cast<uint8_t*>(outputs_[k][row_]), 0}, 1, bytes_);
  }
  traffic_.bytes_stored += bytes_ * step_.n_out;
  spend(bytes_ * step_.n_out);
  next_row(0);
}

// As many rows as one call of the kernel takes.
void RowCompute::sum_batch() {
  const uint32_t num_biases = program_.num_biases;
  const uint32_t first_row = row_;
  size_t num_terms = 0;
  size_t num = 0;
  for (; more() && left_ > 0 && num < RowTables::kBatchRows; ++num) {
    const std::span<const RowTerm> row_terms = terms();
    if (num > 0 && num_terms + row_terms.size() > RowTables::kBatchTerms) break;
    RowSum& sum = tables_.sums[num];
    sum.src = tables_.sources.data() + num_terms;
    sum.weights = program_.weighted ? tables_.weights.data() + num_terms : nullptr;
    sum.n = static_cast<uint32_t>(row_terms.size());
    for (uint32_t b = 0; b < 2; ++b) {
      sum.bias[b] = b < num_biases ? tables_.at[tables_.first[b] + row_] : nullptr;
    }
    sum.dst = outputs_[0][row_];
    for (const RowTerm& term : row_terms) {
      tables_.sources[num_terms] = at(term);
      tables_.weights[num_terms++] = term.weight;
    }
    next_row(row_terms.size());
    spend(row_terms.size() * source_bytes_ + (num_biases + 1) * bytes_);
  }
  const RowFormat& from = format(step_.n_in > num_biases ? num_biases : step_.n_in);
  const RowFormat& to = format(step_.n_in);
  // What stays here is read back by the next step; what a peer takes, only some slices later.
  const BoundOperand& output = plan_->operands[operand(step_.n_in)];
  const bool soon = output.buffer == Buffer::kScratch && output.channel == kNoChannel;
  const Stores stores = soon ? Stores::kCached : stores_;
  sum_rows(tables_.sums.data(), num, {from.dtype, to.dtype, bytes_ / size_of(to.dtype), stores});
  traffic_.bytes_loaded += num_terms * source_bytes_ + num * num_biases * bytes_;
  traffic_.bytes_stored += num * bytes_;
  for (uint32_t k = 1; k < step_.n_out; ++k) copy_sums(first_row, k);
}

// Sums from `first` on to another output.
void RowCompute::copy_sums(uint32_t first, uint32_t output) {
  for (uint32_t i = first; i < row_; ++i) {
    void* to = outputs_[output][i];
    if (to == outputs_[0][i]) continue;
    copy(outputs_[0][i], &to, 1, bytes_, stores_);
    traffic_.bytes_loaded += bytes_;
    traffic_.bytes_stored += bytes_;
  }
}

void RowCompute::quantise_batch() {
  const RowFormat& from = format(0);
  const uint32_t first = row_;
  size_t num = 0;
  for (; more() && left_ > 0 && num < RowTables::kBatchRows; ++num) {
    tables_.sources[num] = at(terms().front());
    next_row(1);
    spend(from.bytes + bytes_);
  }
  const auto rows_of = [first](const Place& place) {
    return TargetRows{reinterpret_cast<uint8_t*>(place.base), place.stride,
                      reinterpret_cast<const int32_t*>(place.indices + first), nullptr};
  };
  quantise_rows({plan_->row_layout.quant, from.dtype, from.bytes / size_of(from.dtype), num,
                 rows_anywhere(tables_.sources.data(), num, tables_.offsets.data()),
                 rows_of(outputs_[0]), rows_of(outputs_[1]), stores_});
  traffic_.bytes_loaded += num * from.bytes;
  traffic_.bytes_stored += num * (bytes_ + format(step_.n_in + 1).bytes);
}

}  // namespace tutti
