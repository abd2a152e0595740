// The calls of the C API, one per Call.
#include <vector>

#include "tests/matrix/rank_run.h"

namespace tutti {

namespace {
constexpr tuttiStream_t kNow = nullptr;
}  // namespace

void* RankRun::input_block(int peer) const {
  if (send_ == nullptr) return nullptr;
  return send_ + data_.blocks.input.start(static_cast<uint32_t>(peer)) * element_;
}

void* RankRun::output_block(int peer) const {
  if (recv_ == nullptr) return nullptr;
  return recv_ + data_.blocks.output.start(static_cast<uint32_t>(peer)) * element_;
}

tuttiResult_t RankRun::call() {
  if (info(case_.call).uneven) return call_uneven();
  const bool has_input = case_.call != Call::kBroadcast && case_.call != Call::kScatter;
  const BlockList& blocks =
      has_input || rank_ == case_.root ? data_.blocks.input : data_.blocks.output;
  // A rank that lacks one buffer knows the count from the other.
  const size_t count = blocks.each;
  switch (case_.call) {
    case Call::kAllReduce:
      return tuttiAllReduce(send_, recv_, count, dtype_, op_, comm_, kNow);
    case Call::kReduce:
      return tuttiReduce(send_, recv_, count, dtype_, op_, case_.root, comm_, kNow);
    case Call::kBroadcast:
      return tuttiBroadcast(send_, recv_, count, dtype_, case_.root, comm_, kNow);
    case Call::kAllGather:
      return tuttiAllGather(send_, recv_, count, dtype_, comm_, kNow);
    case Call::kReduceScatter:
      return tuttiReduceScatter(send_, recv_, count, dtype_, op_, comm_, kNow);
    case Call::kGather:
      return tuttiGather(send_, recv_, count, dtype_, case_.root, comm_, kNow);
    case Call::kScatter:
      return tuttiScatter(send_, recv_, count, dtype_, case_.root, comm_, kNow);
    default:
      return tuttiAlltoAll(send_, recv_, count, dtype_, comm_, kNow);
  }
}

tuttiResult_t RankRun::call_uneven() {
  const BlockList& in = data_.blocks.input;
  const BlockList& out = data_.blocks.output;
  const bool is_root = rank_ == case_.root;
  // Ranks to whom the arrays do not matter give none.
  const size_t* root_counts = nullptr;
  const size_t* root_displs = nullptr;
  if (is_root) {
    root_counts = case_.call == Call::kGatherV ? out.counts.data() : in.counts.data();
    root_displs = case_.call == Call::kGatherV ? out.displs.data() : in.displs.data();
  }
  switch (case_.call) {
    case Call::kAllGatherV:
      return tuttiAllGatherV(send_, in.each, recv_, out.counts.data(), out.displs.data(), dtype_,
                             comm_, kNow);
    case Call::kReduceScatterV:
      return tuttiReduceScatterV(send_, in.counts.data(), in.displs.data(), recv_, out.each, dtype_,
                                 op_, comm_, kNow);
    case Call::kGatherV:
      return tuttiGatherV(send_, in.each, recv_, root_counts, root_displs, dtype_, case_.root,
                          comm_, kNow);
    case Call::kScatterV:
      return tuttiScatterV(send_, root_counts, root_displs, recv_, out.each, dtype_, case_.root,
                           comm_, kNow);
    case Call::kAllToAllV:
      return tuttiAlltoAllV(send_, in.counts.data(), in.displs.data(), recv_, out.counts.data(),
                            out.displs.data(), dtype_, comm_, kNow);
    case Call::kAllToAllVC: {
      std::vector<size_t> matrix;
      for (int r = 0; r < case_.nranks; ++r) {
        const std::vector<size_t>& row = problem_.rank(r).blocks.input.counts;
        matrix.insert(matrix.end(), row.begin(), row.end());
      }
      return tuttiAlltoAllVC(send_, recv_, matrix.data(), dtype_, comm_, kNow);
    }
    default:
      return call_point_to_point();
  }
}

tuttiResult_t RankRun::call_point_to_point() {
  switch (case_.call) {
    case Call::kTagged:
      return send_tagged();
    case Call::kBatch:
      return send_batch();
    default:
      return send_to_next();
  }
}

tuttiResult_t RankRun::send_to_next() {
  const int next = (rank_ + 1) % case_.nranks;
  const int previous = (rank_ + case_.nranks - 1) % case_.nranks;
  const size_t count = data_.blocks.input.count(static_cast<uint32_t>(next));
  const bool grouped = case_.call == Call::kSendRecv;
  if (grouped) (void)tuttiGroupStart();
  tuttiResult_t sent = tuttiSuccess;
  // Alone, somebody has to receive first.
  const bool send_first = grouped || rank_ == 0;
  if (send_first) sent = tuttiSend(input_block(next), count, dtype_, next, comm_, kNow);
  const tuttiResult_t received =
      tuttiRecv(output_block(previous), count, dtype_, previous, comm_, kNow);
  if (!send_first) sent = tuttiSend(input_block(next), count, dtype_, next, comm_, kNow);
  const tuttiResult_t ended = grouped ? tuttiGroupEnd() : tuttiSuccess;
  return sent != tuttiSuccess ? sent : received != tuttiSuccess ? received : ended;
}

tuttiResult_t RankRun::send_tagged() {
  const auto tag = [](int from, int to) { return int64_t{from} * 1000 + to; };
  const int n = case_.nranks;
  std::vector<int> sources(static_cast<size_t>(n), -2);
  tuttiResult_t first = tuttiGroupStart();
  const auto keep = [&first](tuttiResult_t result) {
    if (first == tuttiSuccess) first = result;
  };
  for (int i = 1; i < n; ++i) {
    const int peer = (rank_ + i) % n;
    keep(tuttiSendTag(input_block(peer), data_.blocks.input.count(static_cast<uint32_t>(peer)),
                      dtype_, peer, tag(rank_, peer), comm_, kNow));
  }
  for (int i = n - 1; i > 0; --i) {
    const int peer = (rank_ + i) % n;
    // The tag says who sends; half of the receives leave the source open all the same.
    const int from = (rank_ + peer) % 2 == 0 ? peer : TUTTI_ANY_RANK;
    keep(tuttiRecvTag(output_block(peer), data_.blocks.output.count(static_cast<uint32_t>(peer)),
                      dtype_, from, tag(peer, rank_), &sources[static_cast<size_t>(peer)], comm_,
                      kNow));
  }
  keep(tuttiGroupEnd());
  for (int peer = 0; peer < n && first == tuttiSuccess; ++peer) {
    if (peer != rank_ && sources[static_cast<size_t>(peer)] != peer) wrong_source_ = true;
  }
  return first;
}

tuttiResult_t RankRun::send_batch() {
  std::vector<tuttiSendRecvItem_t> items;
  for (int peer = 0; peer < case_.nranks; ++peer) {
    items.push_back({tuttiItemSend, input_block(peer),
                     data_.blocks.input.count(static_cast<uint32_t>(peer)), dtype_, peer});
  }
  for (int peer = case_.nranks - 1; peer >= 0; --peer) {
    items.push_back({tuttiItemRecv, output_block(peer),
                     data_.blocks.output.count(static_cast<uint32_t>(peer)), dtype_, peer});
  }
  return tuttiBatchSendRecv(items.data(), static_cast<int>(items.size()), comm_, kNow);
}

}  // namespace tutti
