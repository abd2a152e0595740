// Two ranks, four experts, K = 2: rank 0 has three tokens, rank 1 has one. The loss is the sum of
// y.
#include "docs/examples/moe_layer.h"

#include <cstdio>
#include <thread>

namespace {

struct Batch {
  MoeLayer::Numbers x;
  std::vector<int32_t> ids;  // -1: nowhere
  MoeLayer::Numbers weights;
  MoeLayer::Numbers y;
  MoeLayer::Gradients gradients;
};

Batch batches[] = {
    {{1, 2, 3, 4, 5, 6}, {0, 2, 3, 1, -1, 1}, {0.5f, 0.5f, 0.75f, 0.25f, 0.5f, 0.5f}, {}, {}},
    {{7, 8}, {2, 0}, {1, 0.5f}, {}, {}},
};

void run(const tutti::Comm& comm) {
  MoeLayer layer(comm.get(), 4, 3, 2, 2);
  Batch& batch = batches[comm.rank()];
  batch.y = layer.forward(batch.x, batch.ids, batch.weights);
  batch.gradients = layer.backward(MoeLayer::Numbers(batch.y.size(), 1));
}

void print(int rank, const char* name, const MoeLayer::Numbers& numbers) {
  std::printf("rank %d %-6s", rank, name);
  for (const float number : numbers) std::printf(" %g", number);
  std::printf("\n");
}

}  // namespace

int main() {
  const std::vector<tutti::Comm> ranks = tutti::Comm::init_all(2);
  std::vector<std::thread> threads;
  for (const tutti::Comm& comm : ranks) threads.emplace_back([&comm] { run(comm); });
  for (std::thread& thread : threads) thread.join();
  for (int rank = 0; rank < 2; ++rank) {
    print(rank, "y", batches[rank].y);
    print(rank, "dL/dx", batches[rank].gradients.x);
    print(rank, "dL/dw", batches[rank].gradients.weights);
  }
  return 0;
}
