#include "tests/expert/tensor_cases.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>

#include "tests/api/team.h"

namespace tutti {

using oracle::Prepared;
using oracle::Problem;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kGap = 0x5a;

// Rows of `row_bytes`, one behind the other, with `gap` bytes after each.
Bytes spread(const Bytes& rows, size_t row_bytes, size_t gap) {
  Bytes out(rows.size() / row_bytes * (row_bytes + gap), kGap);
  for (size_t n = 0; n * row_bytes < rows.size(); ++n) {
    std::memcpy(&out[n * (row_bytes + gap)], &rows[n * row_bytes], row_bytes);
  }
  return out;
}

template <typename T>
Bytes bytes_of_all(const std::vector<T>& values) {
  Bytes out(values.size() * sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), values.data(), out.size());
  return out;
}

// A buffer of the caller's: what is in it, and what must be in it afterwards.
struct Buffer {
  // To be read: it stays as it is.
  Buffer(const Bytes& rows, size_t row_bytes, size_t gap)
      : bytes(spread(rows, row_bytes, gap)), expected(bytes), stride(row_bytes + gap) {}
  // To be written.
  Buffer(size_t rows, size_t row_bytes, size_t gap, const Bytes& after)
      : bytes(rows * (row_bytes + gap), kGap),
        expected(spread(after, row_bytes, gap)),
        stride(row_bytes + gap) {}
  tuttiEpTensor_t tensor(tuttiDataType_t dtype, std::initializer_list<int64_t> dims) const {
    tuttiEpTensor_t t = ep_tensor(bytes.data(), dtype, dims);
    t.row_stride_bytes = static_cast<int64_t>(stride);
    return t;
  }
  Bytes bytes, expected;
  size_t stride;
};

tuttiEpTensor_t rows_tensor(const Problem& p, const oracle::RankLayout& layout,
                            const Buffer& buffer, tuttiDataType_t dtype, int64_t last) {
  const auto local = static_cast<int64_t>(layout.expert_count.size());
  tuttiEpTensor_t t = ep_rows(p, local, buffer.bytes.data(), dtype, layout.rows, last);
  t.row_stride_bytes = static_cast<int64_t>(buffer.stride);
  return t;
}

std::vector<Bytes> random_bytes(const Problem& p, size_t row_bytes, oracle::Random& random) {
  std::vector<Bytes> x;
  for (const oracle::RankInput& rank : p.ranks) {
    x.emplace_back(static_cast<size_t>(rank.tokens) * row_bytes);
    for (uint8_t& byte : x.back()) byte = static_cast<uint8_t>(random.next());
  }
  return x;
}

Bytes random_floats(int64_t count, oracle::Random& random) {
  std::vector<float> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(random.normal());
  return oracle::pack(tuttiFloat32, values);
}

Bytes narrow_ids(const std::vector<int64_t>& ids) {
  std::vector<int32_t> narrow;
  for (const int64_t id : ids) narrow.push_back(static_cast<int32_t>(std::max<int64_t>(id, -1)));
  return bytes_of_all(narrow);
}

// Prepare from ids and weights with gaps; and keep[] into one.
void prepare_with_gaps(const EpRank& r, const std::vector<uint8_t>& keep, uint64_t seed) {
  const auto topk = static_cast<size_t>(r.problem.topk);
  const bool narrow = seed % 2 == 0;
  const oracle::RankInput& input = r.input();
  const Buffer ids(narrow ? narrow_ids(input.ids) : bytes_of_all(input.ids),
                   topk * (narrow ? 4 : 8), 24);
  const Buffer weights(bytes_of_all(input.weights), topk * 4, 12);
  const Buffer kept(static_cast<size_t>(input.tokens), topk, 5, keep);
  tuttiEpLayoutInfo_t info = {};
  info.hdr = TUTTI_EP_HDR(tuttiEpLayoutInfo_t);
  info.keep = kept.tensor(tuttiUint8, {input.tokens, r.problem.topk});
  const tuttiEpTensor_t idx =
      ids.tensor(narrow ? tuttiInt32 : tuttiInt64, {input.tokens, r.problem.topk});
  const tuttiEpTensor_t weight = weights.tensor(tuttiFloat32, {input.tokens, r.problem.topk});
  ASSERT_TRUE(returns(tuttiSuccess, tuttiEpPrepare(r.handle, &idx, &weight, &info, nullptr)));
  EXPECT_EQ(ids.bytes, ids.expected);
  EXPECT_EQ(weights.bytes, weights.expected);
  EXPECT_EQ(kept.bytes, kept.expected);
}

Bytes rows_of(const oracle::RankLayout& layout, const std::vector<Bytes>& x, size_t row_bytes) {
  Bytes out(static_cast<size_t>(layout.rows) * row_bytes, kGap);
  oracle::write_rows(layout, x, row_bytes, out);
  return out;
}

}  // namespace

void expect_dispatched_with_gaps(const RunRanks& run, const Problem& p, uint64_t seed) {
  const size_t sizes[] = {1, 7, 129, 5000};
  const size_t row_bytes = sizes[seed % 4];
  const size_t scale_bytes = 2 * (1 + seed % 3);
  const bool scaled = seed % 2 == 0;
  const Prepared want = oracle::prepare(p);
  oracle::Random random{seed};
  const std::vector<Bytes> x = random_bytes(p, row_bytes, random);
  const std::vector<Bytes> scales = random_bytes(p, scale_bytes, random);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto i = static_cast<size_t>(rank);
    const oracle::RankLayout& layout = want.layouts[i];
    const EpRank r(comm, p);
    prepare_with_gaps(r, want.routing.keep[i], seed);
    const auto rows = static_cast<size_t>(layout.rows);
    const Buffer in(x[i], row_bytes, 3 + i);
    const Buffer out(rows, row_bytes, 1 + 2 * i, rows_of(layout, x, row_bytes));
    const Buffer in_scale(scales[i], scale_bytes, 2);
    const Buffer out_scale(rows, scale_bytes, 10, rows_of(layout, scales, scale_bytes));
    EpDispatch op;
    op.in.x = in.tensor(tuttiUint8, {r.input().tokens, static_cast<int64_t>(row_bytes)});
    op.out.x = rows_tensor(p, layout, out, tuttiUint8, static_cast<int64_t>(row_bytes));
    if (scaled) {
      const auto last = static_cast<int64_t>(scale_bytes / 2);
      op.config.quant = TUTTI_EP_QUANT_FORWARD;
      op.in.scale = in_scale.tensor(tuttiBfloat16, {r.input().tokens, last});
      op.out.scale = rows_tensor(p, layout, out_scale, tuttiBfloat16, last);
    }
    ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    EXPECT_EQ(in.bytes, in.expected);
    EXPECT_EQ(out.bytes, out.expected);
    EXPECT_EQ(in_scale.bytes, in_scale.expected);
    if (scaled) {
      EXPECT_EQ(out_scale.bytes, out_scale.expected);
    }
  });
}

void expect_combined_with_gaps(const RunRanks& run, const Problem& p, uint64_t seed) {
  const Prepared want = oracle::prepare(p);
  oracle::Random random{seed};
  oracle::CombineCase c;
  c.reduce = seed % 2 == 0 ? oracle::Reduce::kSlot : oracle::Reduce::kRank;
  c.apply = p.has_expert_rows();
  c.hidden = 1 + random.below(100);
  for (size_t r = 0; r < p.ranks.size(); ++r) {
    c.rows.push_back(random_floats(want.layouts[r].rows * c.hidden, random));
    c.bias[0].push_back(random_floats(p.ranks[r].tokens * c.hidden, random));
  }
  const std::vector<Bytes> y = oracle::combine(p, want, c);
  const size_t row_bytes = static_cast<size_t>(c.hidden) * sizeof(float);
  run(p.nranks(), [&](int rank, tuttiComm_t comm) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    const auto i = static_cast<size_t>(rank);
    const EpRank r(comm, p);
    prepare_with_gaps(r, want.routing.keep[i], seed);
    const int64_t tokens = r.input().tokens;
    const Buffer rows(c.rows[i], row_bytes, 4 + 4 * i);
    const Buffer bias(c.bias[0][i], row_bytes, 8);
    const Buffer out(static_cast<size_t>(tokens), row_bytes, 3, y[i]);
    EpCombine op;
    op.config.reduce =
        c.reduce == oracle::Reduce::kSlot ? TUTTI_EP_REDUCE_SLOT : TUTTI_EP_REDUCE_RANK;
    op.config.weight = c.apply ? TUTTI_EP_WEIGHT_APPLY : TUTTI_EP_WEIGHT_NONE;
    op.in.x = rows_tensor(p, want.layouts[i], rows, tuttiFloat32, c.hidden);
    op.in.bias[0] = bias.tensor(tuttiFloat32, {tokens, c.hidden});
    op.out.x = out.tensor(tuttiFloat32, {tokens, c.hidden});
    ASSERT_TRUE(returns(tuttiSuccess, op.run(r.handle)));
    EXPECT_EQ(rows.bytes, rows.expected);
    EXPECT_EQ(bias.bytes, bias.expected);
    EXPECT_EQ(out.bytes, out.expected);
  });
}

Problem widest_problem(oracle::Layout layout) {
  Problem p;
  p.topk = 64;
  p.max_tokens = 40;
  p.num_experts = 100;
  p.layout = layout;
  p.slab_rows = 2 * p.max_tokens;
  p.ranks.resize(2);
  oracle::Random random{1};
  for (oracle::RankInput& rank : p.ranks) {
    rank.tokens = p.max_tokens;
    for (int64_t i = 0; i < rank.tokens * p.topk; ++i) {
      rank.ids.push_back((i / p.topk * 3 + i) % p.num_experts);
      rank.weights.push_back(random.normal());
    }
  }
  return p;
}

}  // namespace tutti
