// The C++ face: handles free themselves, failures throw, a group drives all ranks from one thread.
#include <cstdio>
#include <tutti/tutti.hpp>
#include <vector>

int main() {
  std::vector<tutti::Comm> ranks = tutti::Comm::init_all(3);
  std::vector<double> in{1, 2, 4};
  std::vector<double> out(3);
  tutti::Group group;
  for (size_t r = 0; r < ranks.size(); ++r) {
    tutti::check(
        tuttiAllReduce(&in[r], &out[r], 1, tuttiFloat64, tuttiSum, ranks[r].get(), nullptr));
  }
  group.end();
  if (ranks[1].rank() != 1 || ranks[1].nranks() != 3 || out != std::vector<double>{7, 7, 7})
    return 1;

  bool thrown = false;
  try {
    tutti::check(
        tuttiAllReduce(nullptr, &out[0], 1, tuttiFloat64, tuttiSum, ranks[0].get(), nullptr));
  } catch (const tutti::Error& e) {
    thrown = e.result() == tuttiInvalidArgument;
    std::printf("refused: %s\n", e.what());
  }

  {
    tutti::Window window(ranks[0], in.data(), in.size() * sizeof(double));
    const tutti::Window moved = std::move(window);
    if (moved.get() == nullptr) return 1;
  }

  tutti::Stream stream;
  tutti::Comm alone = std::move(tutti::Comm::init_all(1).front());
  tutti::check(
      tuttiAllReduce(&in[2], &out[0], 1, tuttiFloat64, tuttiAvg, alone.get(), stream.get()));
  stream.synchronize();
  return thrown && out[0] == 4 ? 0 : 1;
}
