// The example of docs/expert.md against the same layer computed by one process, in f64.
#include "docs/examples/moe_layer.h"

#include <cmath>
#include <gtest/gtest.h>

#include "tests/api/team.h"
#include "tests/expert/oracle.h"

namespace tutti {
namespace {

using Numbers = MoeLayer::Numbers;

constexpr int64_t kHidden = 5;
constexpr int kTopk = 3;
constexpr int kExperts = 12;
constexpr int kMaxTokens = 20;

struct Batch {
  Batch(uint64_t seed, int64_t tokens) {
    oracle::Random random{seed};
    const auto normals = [&](int64_t count) {
      Numbers numbers;
      for (int64_t i = 0; i < count; ++i) numbers.push_back(random.normal());
      return numbers;
    };
    x = normals(tokens * kHidden);
    dy = normals(tokens * kHidden);
    weights = normals(tokens * kTopk);
    for (int64_t i = 0; i < tokens * kTopk; ++i) {
      ids.push_back(static_cast<int32_t>(random.below(kExperts + 1)) - 1);
    }
  }
  Numbers x, dy, weights;
  std::vector<int32_t> ids;
};

struct Plain {
  explicit Plain(const Batch& b) : y(b.x.size()), dx(b.x.size()), dw(b.weights.size()) {
    for (size_t a = 0; a < b.ids.size(); ++a) {
      if (b.ids[a] < 0) continue;
      const double factor = b.ids[a] + 1;
      for (size_t h = 0; h < kHidden; ++h) {
        const size_t i = a / kTopk * kHidden + h;
        const double v = b.x[i];
        y[i] += b.weights[a] * factor * v * v;
        dx[i] += b.weights[a] * factor * 2 * v * b.dy[i];
        dw[a] += factor * v * v * b.dy[i];
      }
    }
  }
  std::vector<double> y, dx, dw;
};

void expect_near(const Numbers& got, const std::vector<double>& expected, const char* what) {
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_NEAR(double{got[i]}, expected[i], 1e-4 * (1 + std::fabs(expected[i]))) << what;
  }
}

class MoeLayerExample : public ApiTest {};

TEST_F(MoeLayerExample, IsTheLayerOfOneProcess) {
  for (const int nranks : {1, 2, 4}) {
    const Team team(nranks);
    team.run([&](int rank, tuttiComm_t comm) {
      MoeLayer layer(comm, kExperts, kMaxTokens, kTopk, kHidden);
      for (uint64_t step = 0; step < 20; ++step) {
        SCOPED_TRACE("rank " + std::to_string(rank) + ", step " + std::to_string(step));
        const auto r = static_cast<uint64_t>(rank);
        const Batch batch(step * 100 + r, static_cast<int64_t>((step * 7 + r * 5) % kMaxTokens));
        const Plain plain(batch);
        expect_near(layer.forward(batch.x, batch.ids, batch.weights), plain.y, "y");
        const MoeLayer::Gradients got = layer.backward(batch.dy);
        expect_near(got.x, plain.dx, "dL/dx");
        expect_near(got.weights, plain.dw, "dL/dw");
      }
    });
  }
}

}  // namespace
}  // namespace tutti
