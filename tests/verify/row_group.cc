#include "tests/verify/row_group.h"

#include <numeric>

namespace tutti {

namespace {

void write_dispatch(RowBuilder& b, int rank) {
  for (int peer = 0; peer < kRanks; ++peer) {
    if (peer != rank) b.send(peer, b.list(Buffer::kInput, tokens(rank, peer)));
  }
  std::vector<uint32_t> counts;
  for (int from = 0; from < kRanks; ++from) {
    counts.push_back(static_cast<uint32_t>(tokens(from, rank).size()));
  }
  const uint32_t total = std::accumulate(counts.begin(), counts.end(), 0u);
  b.begin(RowKernel::kCopy);
  uint32_t first = 0;
  for (int from = 0; from < kRanks; ++from) {
    const uint32_t count = counts[static_cast<size_t>(from)];
    if (from == rank) {
      b.input(b.list(Buffer::kInput, tokens(rank, rank)));
    } else {
      b.input(b.run(Buffer::kOutput, first, count), from);
    }
    first += count;
  }
  b.output(b.run(Buffer::kOutput, 0, total));
  for (uint32_t from = 0; from < counts.size(); ++from) {
    for (uint32_t i = 0; i < counts[from]; ++i) b.row({{from, i, 1}});
  }
  b.end();
}

constexpr float kWeights[] = {0.25f, 0.5f};

void write_combine(RowBuilder& b, int rank, bool own_slots) {
  const auto me = static_cast<uint32_t>(rank);
  const auto slot = [&](uint32_t peer, uint32_t token) {
    return own_slots ? token * kRanks + peer : peer;
  };
  const auto partials = [&](uint32_t token) {
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      b.begin(RowKernel::kSum, true);
      b.input(b.run(Buffer::kInput, peer * 4 + token * 2, 2));
      b.output(b.run(Buffer::kScratch, slot(peer, token), 1));
      b.row({{0, 0, kWeights[0]}, {0, 1, kWeights[1]}});
      b.end();
      if (peer != me) {
        b.send(static_cast<int>(peer), b.run(Buffer::kScratch, slot(peer, token), 1));
      }
    }
  };
  const auto total = [&](uint32_t token) {
    b.begin(RowKernel::kSum);
    b.bias(b.run(Buffer::kBias0, token, 1));
    for (uint32_t peer = 0; peer < kRanks; ++peer) {
      if (peer == me) {
        b.input(b.run(Buffer::kScratch, slot(me, token), 1));
      } else {
        b.input(b.run(Buffer::kScratch, 2 * kRanks + peer, 1), static_cast<int>(peer));
      }
    }
    b.output(b.run(Buffer::kOutput, token, 1));
    b.row({{1, 0, 1}, {2, 0, 1}, {3, 0, 1}});
    b.end();
  };
  partials(0);
  if (own_slots) partials(1);
  total(0);
  if (!own_slots) partials(1);
  total(1);
}

}  // namespace

RowGroup dispatch() {
  return write_rows(kRanks, {{Buffer::kInput, kTokens}, {Buffer::kOutput, 8}}, write_dispatch,
                    [](RowExpressions& say, int rank, uint32_t row) {
                      uint32_t next = 0;
                      for (int from = 0; from < kRanks; ++from) {
                        for (const uint32_t t : tokens(from, rank)) {
                          if (next++ != row) continue;
                          return RowPromise::holds(say.row(from, Buffer::kInput, t));
                        }
                      }
                      return RowPromise::untouched();
                    });
}

RowGroup combine(bool own_slots) {
  const auto promise = [](RowExpressions& say, int rank, uint32_t token) {
    const auto me = static_cast<uint32_t>(rank);
    const auto part = [&](int from) -> RowExpressions::Term {
      const uint32_t first = me * 4 + token * 2;
      return {say.sum({{say.row(from, Buffer::kInput, first), kWeights[0]},
                       {say.row(from, Buffer::kInput, first + 1), kWeights[1]}})};
    };
    return RowPromise::holds(
        say.sum({{say.row(rank, Buffer::kBias0, token)}, part(0), part(1), part(2)}));
  };
  return write_rows(
      kRanks,
      {{Buffer::kInput, 4 * kRanks},
       {Buffer::kBias0, 2},
       {Buffer::kOutput, 2},
       {Buffer::kScratch, 3 * kRanks}},
      [own_slots](RowBuilder& b, int rank) { write_combine(b, rank, own_slots); }, promise);
}

RowGroup forward() {
  const std::vector<uint32_t> onward{0, 2};
  return write_rows(
      3, {{Buffer::kInput, 4}, {Buffer::kOutput, 3}},
      [onward](RowBuilder& b, int rank) {
        if (rank == 0) b.send(1, b.run(Buffer::kInput, 1, 3));
        if (rank == 0) return;
        const auto count = static_cast<uint32_t>(rank == 1 ? 3 : onward.size());
        b.begin(RowKernel::kCopy);
        b.input(b.run(Buffer::kOutput, 0, count), rank - 1);
        b.output(b.run(Buffer::kOutput, 0, count));
        for (uint32_t row = 0; row < count; ++row) b.row({{0, row, 1}});
        b.end();
        if (rank == 1) b.send(2, b.list(Buffer::kOutput, onward));
      },
      [onward](RowExpressions& say, int rank, uint32_t row) {
        if (rank == 0 || (rank == 2 && row >= onward.size())) return RowPromise::untouched();
        const uint32_t kept = rank == 1 ? row : onward[row];
        return RowPromise::holds(say.row(0, Buffer::kInput, 1 + kept));
      });
}

RowGroup quantised() {
  RowGroup group = write_rows(
      2,
      {{Buffer::kInput, 2},
       {Buffer::kOutput, 2},
       {Buffer::kOutputSide, 2},
       {Buffer::kScratch, 2},
       {Buffer::kScratchSide, 2}},
      [](RowBuilder& b, int rank) {
        if (rank == 0) {
          b.begin(RowKernel::kQuantise);
          b.input(b.run(Buffer::kInput, 0, 2));
          b.output(b.run(Buffer::kScratch, 0, 2));
          b.output(b.run(Buffer::kScratchSide, 0, 2));
          b.row({{0, 0, 1}});
          b.row({{0, 1, 1}});
          b.end();
          b.send(1, b.run(Buffer::kScratch, 0, 2));
          b.send(1, b.run(Buffer::kScratchSide, 0, 2));
          return;
        }
        for (const Buffer buffer : {Buffer::kOutput, Buffer::kOutputSide}) {
          b.begin(RowKernel::kCopy);
          b.input(b.run(buffer, 0, 2), 0);
          b.output(b.run(buffer, 0, 2));
          b.row({{0, 0, 1}});
          b.row({{0, 1, 1}});
          b.end();
        }
      },
      nullptr);
  group.contract.promise = [](RowExpressions& say, int rank, Buffer buffer, uint32_t row) {
    if (rank == 0) return RowPromise::untouched();
    const Value token = say.row(0, Buffer::kInput, row);
    return RowPromise::holds(buffer == Buffer::kOutput ? say.quantised(token) : say.scales(token));
  };
  return group;
}

RowGroup nested() {
  return write_rows(
      1, {{Buffer::kInput, 4}, {Buffer::kOutput, 1}, {Buffer::kScratch, 2}},
      [](RowBuilder& b, int) {
        b.begin(RowKernel::kSum);
        b.input(b.run(Buffer::kInput, 0, 4));
        b.output(b.run(Buffer::kScratch, 0, 2));
        b.row({{0, 0, 1}, {0, 1, 1}});
        b.row({{0, 2, 1}, {0, 3, 1}});
        b.end();
        b.begin(RowKernel::kSum);
        b.input(b.run(Buffer::kScratch, 0, 2));
        b.output(b.run(Buffer::kOutput, 0, 1));
        b.row({{0, 0, 1}, {0, 1, 1}});
        b.end();
      },
      [](RowExpressions& say, int, uint32_t) {
        const auto row = [&](uint32_t i) -> RowExpressions::Term {
          return {say.row(0, Buffer::kInput, i)};
        };
        return RowPromise::holds(
            say.sum({{say.sum({row(0), row(1)})}, {say.sum({row(2), row(3)})}}));
      });
}

}  // namespace tutti
