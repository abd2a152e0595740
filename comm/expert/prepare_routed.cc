// The last part of Prepare: what each rank tells the others of its assignments, and what is made of
// that.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "comm/expert/announced.h"
#include "comm/expert/prepare.h"

namespace tutti {

namespace {

// Blocks that follow one another.
BlockList packed(std::vector<size_t> counts) {
  BlockList blocks;
  blocks.num = static_cast<uint32_t>(counts.size());
  blocks.displs.resize(counts.size());
  std::exclusive_scan(counts.begin(), counts.end(), blocks.displs.begin(), size_t{0});
  blocks.counts = std::move(counts);
  return blocks;
}

// How many assignments of each of the rank's experts were wanted, before the list of those kept.
void write_wanted(const Placement& placement, int rank, const uint32_t* wanted, std::byte* out) {
  for (const uint32_t e : placement.experts_of(rank)) {
    std::memcpy(out, &wanted[e], sizeof(uint32_t));
    out += sizeof(uint32_t);
  }
}

}  // namespace

void CountTensor::set(size_t i, int64_t value) const {
  if (data == nullptr) return;
  if (wide) {
    static_cast<int64_t*>(data)[i] = value;
  } else {
    static_cast<int32_t*>(data)[i] = static_cast<int32_t>(value);
  }
}

// Bytes that say which mates of `rank` need the tokens of `source`: as many as for the tokens that
// all ranks have counted, though a capacity may have dropped some since.
size_t PrepareOperation::told_of_mates(int source, int rank) const {
  const Placement& placement = handle_.group().placement();
  return mate_bytes(placement, source, rank, all().of(source).tokens()[static_cast<size_t>(rank)]);
}

Status PrepareOperation::exchange_routed() {
  const Placement& placement = handle_.group().placement();
  const PrepareMemory& memory = handle_.group().prepare_memory();
  ExpertHandle::Tables& t = handle_.tables;
  const int me = comm().rank();
  TUTTI_TRY(check_announced(handle_.shape(), placement, all(), me));
  std::vector<size_t> out;
  std::vector<size_t> in;
  for (int r = 0; r < placement.nranks(); ++r) {
    const auto i = static_cast<size_t>(r);
    t.tokens_to[i] = mine().tokens()[i];
    t.sent_to[i] = 0;
    for (const uint32_t e : placement.experts_of(r)) t.sent_to[i] += mine().assignments()[e];
    out.push_back(placement.experts_of(r).size() * sizeof(uint32_t) +
                  routed_bytes(t.sent_to[i], handle_.weighted) + told_of_mates(me, r));
    in.push_back(t.wanted.size() * sizeof(uint32_t) +
                 routed_bytes(all().assignments(placement, r, me), handle_.weighted) +
                 told_of_mates(r, me));
  }
  const BlockList send = packed(std::move(out));
  const size_t own = size_t{handle_.tokens} * handle_.shape().topk;
  const std::span<float> weights = t.weights.first(handle_.weighted ? own : 0);
  t.departures.fill(placement, handle_.shape().topk, t.experts.first(own), t.tokens_to, t.sent_to);
  fill_entries(placement, me, handle_.tokens, t.departures, &t.departure_entries);
  for (int r = 0; r < placement.nranks(); ++r) {
    const auto i = static_cast<size_t>(r);
    std::byte* at = memory.routed_out + send.displs[i];
    write_wanted(placement, r, memory.wanted, at);
    at += placement.experts_of(r).size() * sizeof(uint32_t);
    write_routed(placement, r, handle_.shape().topk, t.experts.first(own), weights, t.sent_to[i],
                 at);
    at += routed_bytes(t.sent_to[i], handle_.weighted);
    write_mates(placement, me, r, t.departures, t.departure_entries, at);
  }
  return exchange_.start_all_to_all(memory.routed_out, send, memory.routed_in,
                                    packed(std::move(in)), header());
}

Status PrepareOperation::take_routed() {
  const Placement& placement = handle_.group().placement();
  ExpertHandle::Tables& t = handle_.tables;
  const auto num_local = static_cast<uint32_t>(t.wanted.size());
  t.arrivals.weight = handle_.weighted ? t.arrival_weights : std::span<float>();
  t.arrivals.clear();
  std::fill(t.wanted.begin(), t.wanted.end(), 0);
  const std::byte* in = handle_.group().prepare_memory().routed_in;
  for (int s = 0; s < placement.nranks(); ++s) {
    for (uint32_t i = 0; i < num_local; ++i, in += sizeof(uint32_t)) {
      uint32_t wanted;
      std::memcpy(&wanted, in, sizeof(wanted));
      t.wanted[i] += wanted;
    }
    const size_t count = all().assignments(placement, s, comm().rank());
    TUTTI_TRY(t.arrivals.add(static_cast<uint32_t>(s), all().of(s).header().tokens,
                             handle_.shape().topk, num_local, in, count));
    in += routed_bytes(count, handle_.weighted);
    TUTTI_TRY(take_entries(placement, comm().rank(), s, t.arrivals, in, &t.arrival_entries));
    in += told_of_mates(s, comm().rank());
  }
  if (is_left_out()) {
    lay_out_nothing(&t.rows);
  } else {
    lay_out(handle_.shape(), placement.nranks(), t.arrivals, &t.rows);
  }
  TUTTI_TRY(check_told(placement, all(), comm().rank(), t.arrivals, t.rows));
  finish_routing();
  return Status();
}

void PrepareOperation::finish_routing() {
  const ExpertHandle::Tables& t = handle_.tables;
  handle_.rows_needed = t.rows.num_rows;
  write_info();
  // Of a masked rank nobody has heard what was wrong with its arguments.
  outcome_ = call_.own;
  culprit_ = comm().rank();
  handle_.prepared = outcome_.ok();
}

void PrepareOperation::write_info() const {
  const ExpertHandle::Tables& t = handle_.tables;
  for (size_t i = 0; i < t.rows.count.size(); ++i) {
    call_.expert_count.set(i, t.rows.count[i]);
    if (call_.want_count != nullptr) call_.want_count[i] = t.wanted[i];
  }
  if (call_.expert_offset != nullptr) {
    std::copy(t.rows.offset.begin(), t.rows.offset.end(), call_.expert_offset);
  }
  for (size_t s = 0; s + 1 < t.arrivals.source_rows.size(); ++s) {
    call_.src_count.set(s, t.arrivals.source_rows[s + 1] - t.arrivals.source_rows[s]);
  }
  const uint32_t topk = handle_.shape().topk;
  for (uint32_t token = 0; token < handle_.tokens && call_.keep != nullptr; ++token) {
    for (uint32_t k = 0; k < topk; ++k) {
      call_.keep[token * call_.keep_stride + k] =
          t.experts[size_t{token} * topk + k] != kNoExpert ? 1 : 0;
    }
  }
  if (call_.row_src != nullptr || call_.row_slot != nullptr) write_rows_info();
}

void PrepareOperation::write_rows_info() const {
  const ExpertHandle::Tables& t = handle_.tables;
  const ExpertShape& shape = handle_.shape();
  const bool by_expert = is_by_expert(shape.layout);
  const size_t slots = by_expert ? 1 : shape.topk;
  if (call_.row_src != nullptr) std::fill_n(call_.row_src, t.rows.num_rows, -1);
  if (call_.row_slot != nullptr) std::fill_n(call_.row_slot, t.rows.num_rows * slots, -1);
  for (size_t s = 0; s + 1 < t.arrivals.source_rows.size(); ++s) {
    for (uint32_t m = t.arrivals.source_rows[s]; m < t.arrivals.source_rows[s + 1]; ++m) {
      const int64_t token = static_cast<int64_t>(s) * shape.max_tokens + t.arrivals.token[m];
      for (uint32_t a = t.arrivals.first[m]; a < t.arrivals.first[m + 1]; ++a) {
        const size_t row = by_expert ? t.rows.row[a] : t.rows.row[m];
        if (call_.row_src != nullptr) call_.row_src[row] = token;
        if (call_.row_slot == nullptr) continue;
        if (by_expert) {
          call_.row_slot[row] = t.arrivals.k[a];
        } else {
          call_.row_slot[row * slots + t.arrivals.k[a]] =
              static_cast<int32_t>(t.arrivals.expert[a]);
        }
      }
    }
  }
}

}  // namespace tutti
