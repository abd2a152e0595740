// port_check: a program written for DeepEP, over Tutti (port_buffer.h): one rank of a job, which
// checks what comes back. Nothing here but public headers.
//   tutti-run -n 2 port_check
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "tests/expert/port_buffer.h"

namespace {

using port::Bf16;
using port::Buffer;
using port::check;
using port::Handle;

void expect(bool ok, const char* what) {
  if (ok) return;
  std::fprintf(stderr, "port_check: not so: %s\n", what);
  std::exit(1);
}

constexpr int kExperts = 24;  // for 2, 3, 4, 6, 8 or 12 ranks
constexpr int kMaxTokens = 50;
constexpr int kTopk = 4;
constexpr int64_t kHidden = 300;

float from_bf16(Bf16 code) {
  const uint32_t bits = uint32_t{code} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Of what needs no rounding.
Bf16 to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<Bf16>(bits >> 16);
}

float from_e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15;
  const auto mantissa = static_cast<float>(code & 7);
  const float size =
      exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (code & 0x80) != 0 ? -size : size;
}

// The batch of any rank, so that each knows what the others have sent.
struct Batch {
  explicit Batch(int rank) {
    const int tokens = kMaxTokens - rank;
    for (int t = 0; t < tokens; ++t) {
      for (int k = 0; k < kTopk; ++k) {
        // Different experts for a token, and now and then none.
        const int expert = (t * 7 + rank * 5 + k * (t % 5 + 1)) % kExperts;
        topk_idx.push_back((t + k) % 9 == 0 ? -1 : expert);
        topk_weights.push_back(static_cast<float>(k + 1) / 8);
      }
      for (int64_t h = 0; h < kHidden; ++h) {
        x.push_back(to_bf16(static_cast<float>((t * 3 + rank * 17 + h * 5) % 61 - 30)));
      }
    }
  }
  int64_t tokens() const { return static_cast<int64_t>(topk_idx.size()) / kTopk; }
  int64_t expert(int64_t t, int k) const { return topk_idx[static_cast<size_t>(t * kTopk + k)]; }
  float weight(int64_t t, int k) const { return topk_weights[static_cast<size_t>(t * kTopk + k)]; }
  float at(int64_t t, int64_t h) const {
    return from_bf16(x[static_cast<size_t>(t * kHidden + h)]);
  }

  std::vector<int64_t> topk_idx;
  std::vector<float> topk_weights;
  std::vector<Bf16> x;
};

// Row n of what has come holds token t of `batch`, with its experts here and their weights.
void check_row(const Batch& batch, int64_t t, const Handle& h, int64_t n, int64_t first_expert,
               const std::vector<Bf16>& recv_x, const std::vector<float>& recv_weights) {
  const size_t row_bytes = static_cast<size_t>(kHidden) * sizeof(Bf16);
  expect(std::memcmp(&recv_x[static_cast<size_t>(n * kHidden)],
                     &batch.x[static_cast<size_t>(t * kHidden)], row_bytes) == 0,
         "recv_x is x");
  for (int k = 0; k < kTopk; ++k) {
    const auto at = static_cast<size_t>(n * kTopk + k);
    const int64_t expert = batch.expert(t, k) - first_expert;
    const bool here = expert >= 0 && expert < static_cast<int64_t>(h.tokens_of_expert.size());
    expect(h.recv_topk_idx[at] == (here ? expert : -1), "recv_topk_idx are local experts, or -1");
    expect(recv_weights[at] == (here ? batch.weight(t, k) : 0), "recv_topk_weights go with them");
  }
}

// The ranks that a token goes to.
int ranks_of(const Batch& batch, int64_t t, int64_t local) {
  std::vector<bool> seen(kExperts);
  int ranks = 0;
  for (int k = 0; k < kTopk; ++k) {
    if (batch.expert(t, k) < 0) continue;
    const auto rank = static_cast<size_t>(batch.expert(t, k) / local);
    if (!seen[rank]) ++ranks;
    seen[rank] = true;
  }
  return ranks;
}

bool goes_to(const Batch& batch, int64_t t, int rank, int64_t local) {
  for (int k = 0; k < kTopk; ++k) {
    if (batch.expert(t, k) >= 0 && batch.expert(t, k) / local == rank) return true;
  }
  return false;
}

void check_normal(Buffer* buffer, int rank) {
  const Batch mine(rank);
  const Handle h = buffer->get_dispatch_layout(mine.topk_idx, mine.topk_weights);
  // The layout serves as often as it is asked, as their cached handle does.
  for (int round = 0; round < 2; ++round) {
    std::vector<Bf16> recv_x;
    std::vector<float> recv_weights;
    buffer->dispatch(h, mine.x, mine.topk_weights, &recv_x, &recv_weights);
    int64_t n = 0;
    for (int source = 0; source < buffer->nranks(); ++source) {
      const Batch batch(source);
      const int64_t first = n;
      for (int64_t t = 0; t < batch.tokens(); ++t) {
        if (!goes_to(batch, t, rank, buffer->local())) continue;
        check_row(batch, t, h, n++, rank * buffer->local(), recv_x, recv_weights);
      }
      expect(n - first == h.tokens_of_rank[static_cast<size_t>(source)], "tokens by rank");
    }
    expect(n == h.rows, "as many rows as were announced");

    std::vector<Bf16> combined_x;
    std::vector<float> combined_weights;
    buffer->combine(h, recv_x, recv_weights, mine.x, &combined_x, &combined_weights);
    for (int64_t t = 0; t < mine.tokens(); ++t) {
      const auto copies = static_cast<float>(ranks_of(mine, t, buffer->local()) + 1);
      for (int64_t i = 0; i < kHidden; ++i) {
        expect(
            from_bf16(combined_x[static_cast<size_t>(t * kHidden + i)]) == copies * mine.at(t, i),
            "combined_x is x from each rank, and the bias");
      }
      for (int k = 0; k < kTopk; ++k) {
        expect(combined_weights[static_cast<size_t>(t * kTopk + k)] ==
                   (mine.expert(t, k) < 0 ? 0 : mine.weight(t, k)),
               "combined_topk_weights are topk_weights");
      }
    }
  }
  check(tuttiEpHandleDestroy(h.ep));
}

// Rows as numbers of bf16, which all of e4m3 times a power of two are; other scales round.
std::vector<Bf16> dequantised(const Buffer& buffer, const std::vector<uint8_t>& x,
                              const std::vector<float>& scales) {
  std::vector<Bf16> rows;
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t row = i / static_cast<size_t>(kHidden);
    const size_t block = i % static_cast<size_t>(kHidden) / 128;
    rows.push_back(
        to_bf16(from_e4m3(x[i]) * scales[row * static_cast<size_t>(buffer.scales()) + block]));
  }
  return rows;
}

// Rows of each expert by source, token and k, up to what e4m3 and bf16 round.
void check_slabs(const Buffer& buffer, int rank, const Handle& h, const std::vector<Bf16>& rows) {
  for (int64_t e = 0; e < buffer.local(); ++e) {
    int64_t n = 0;
    for (int source = 0; source < buffer.nranks(); ++source) {
      const Batch batch(source);
      for (int64_t a = 0; a < batch.tokens() * kTopk; ++a) {
        const int64_t t = a / kTopk;
        if (batch.expert(t, static_cast<int>(a % kTopk)) != rank * buffer.local() + e) continue;
        const int64_t row = e * buffer.slab() + n++;
        for (int64_t i = 0; i < kHidden; ++i) {
          const float got = from_bf16(rows[static_cast<size_t>(row * kHidden + i)]);
          expect(std::fabs(got - batch.at(t, i)) <= std::fabs(batch.at(t, i)) / 14, "rows are x");
        }
      }
    }
    expect(n == h.tokens_of_expert[static_cast<size_t>(e)], "rows of each expert");
  }
}

void check_low_latency(Buffer* buffer, int rank) {
  const Batch mine(rank);
  Handle h;
  std::vector<uint8_t> recv_x;
  std::vector<float> recv_scales;
  const auto hook = buffer->low_latency_dispatch(mine.x, mine.topk_idx, &h, &recv_x, &recv_scales);
  hook();
  const std::vector<Bf16> rows = dequantised(*buffer, recv_x, recv_scales);
  check_slabs(*buffer, rank, h, rows);

  std::vector<Bf16> combined_x;
  buffer->low_latency_combine(h, rows, mine.topk_weights, &combined_x);
  for (int64_t t = 0; t < mine.tokens(); ++t) {
    float weight = 0;
    for (int k = 0; k < kTopk; ++k) weight += mine.expert(t, k) < 0 ? 0 : mine.weight(t, k);
    for (int64_t i = 0; i < kHidden; ++i) {
      const float got = from_bf16(combined_x[static_cast<size_t>(t * kHidden + i)]);
      const float expected = weight * mine.at(t, i);
      expect(std::fabs(got - expected) <= std::fabs(expected) / 12, "sums of weighted rows");
    }
  }
  check(tuttiEpHandleDestroy(h.ep));
}

}  // namespace

int main() {
  tuttiComm_t comm = nullptr;
  int rank = 0;
  check(tuttiCommInitEnv(&comm, nullptr));
  check(tuttiCommUserRank(comm, &rank));
  {
    Buffer buffer(comm, kExperts, kMaxTokens, kTopk, kHidden);
    for (int step = 0; step < 3; ++step) {
      check_normal(&buffer, rank);
      check_low_latency(&buffer, rank);
    }
  }
  check(tuttiCommFinalize(comm));
  check(tuttiCommDestroy(comm));
  std::printf("rank %d: dispatch and combine are right, both ways\n", rank);
  return 0;
}
