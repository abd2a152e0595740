// Runs one scenario in a process of its own, for process_test.cc: prints what a call returned and
// said. Settings come from the environment, as in any program.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include "tutti/tutti.h"

namespace {

// "CODE TEXT" of a call.
int show(tuttiResult_t result) {
  std::printf("%d %s\n", static_cast<int>(result),
              result == tuttiSuccess ? "" : tuttiGetLastError(nullptr));
  return 0;
}

// All ranks in one group on this thread.
tuttiResult_t add_up(tuttiComm_t* comms, int n) {
  float values[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  (void)tuttiGroupStart();
  for (int r = 0; r < n; ++r) {
    (void)tuttiAllReduce(&values[r], &values[r], 1, tuttiFloat32, tuttiSum, comms[r], nullptr);
  }
  const tuttiResult_t result = tuttiGroupEnd();
  return result == tuttiSuccess && values[0] != static_cast<float>(n) ? tuttiInternalError : result;
}

int init() {
  tuttiComm_t comms[2];
  tuttiResult_t result = tuttiCommInitAll(comms, 2, nullptr);
  if (result == tuttiSuccess) result = add_up(comms, 2);
  // Once more: a warning is printed once.
  if (result == tuttiSuccess) result = tuttiCommInitAll(comms, 2, nullptr);
  return show(result);
}

// A child of fork() is told so by every call, and can exit; the parent goes on.
int fork_used() {
  tuttiComm_t comms[2];
  tuttiStream_t stream;
  tuttiStream_t second;
  void* memory = nullptr;
  if (tuttiCommInitAll(comms, 2, nullptr) != tuttiSuccess || add_up(comms, 2) != tuttiSuccess ||
      tuttiStreamCreate(&stream) != tuttiSuccess || tuttiStreamCreate(&second) != tuttiSuccess ||
      tuttiMemAlloc(&memory, 64) != tuttiSuccess ||
      tuttiBarrier(comms[0], stream) != tuttiSuccess ||
      tuttiBarrier(comms[1], second) != tuttiSuccess) {
    return show(tuttiInternalError);
  }
  // The progress thread runs and work may be pending; a group is open.
  (void)tuttiGroupStart();
  (void)tuttiBarrier(comms[0], nullptr);
  const pid_t child = fork();
  if (child == 0) {
    int value;
    tuttiResult_t async;
    tuttiWindow_t window;
    tuttiComm_t other;
    const tuttiResult_t results[] = {
        tuttiBarrier(comms[0], nullptr),
        tuttiGroupEnd(),
        tuttiGroupStart(),
        tuttiCommInitAll(&other, 1, nullptr),
        tuttiCommSplit(comms[0], 0, 0, &other, nullptr),
        tuttiCommCount(comms[0], &value),
        tuttiCommGetAsyncError(comms[0], &async),
        tuttiCommAbort(comms[0]),
        tuttiCommFinalize(comms[0]),
        tuttiCommDestroy(comms[0]),
        tuttiCommRegister(comms[0], memory, 64, &window),
        tuttiStreamSynchronize(stream),
        tuttiStreamQuery(stream),
        tuttiStreamDestroy(stream),
        tuttiStreamCreate(&stream),
        tuttiMemFree(memory),
        tuttiMemAlloc(&memory, 64),
        tuttiSend(&value, 1, tuttiInt32, 1, comms[0], nullptr),
        tuttiBatchSendRecv(nullptr, 0, comms[0], nullptr),
    };
    for (tuttiResult_t result : results) {
      if (result != tuttiForked) _exit(10 + static_cast<int>(&result - results));
    }
    if (std::strstr(tuttiGetLastError(nullptr), "fork") == nullptr) _exit(9);
    std::exit(0);  // with everything that runs at exit
  }
  int status = -1;
  waitpid(child, &status, 0);
  (void)tuttiBarrier(comms[1], nullptr);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::printf("child status %#x\n", status);
    return 1;
  }
  tuttiResult_t result = tuttiGroupEnd();
  if (result == tuttiSuccess) result = tuttiStreamSynchronize(stream);
  if (result == tuttiSuccess) result = add_up(comms, 2);
  return show(result);
}

// A process that has not used Tutti may fork and use it in the child.
int fork_unused() {
  const pid_t child = fork();
  if (child == 0) return init();
  int status = -1;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

// Leaves without finalize or destroy, with an operation pending and the progress thread awake.
int leave() {
  static tuttiComm_t comms[2];
  static float value;
  tuttiStream_t stream;
  (void)tuttiCommInitAll(comms, 2, nullptr);
  (void)tuttiStreamCreate(&stream);
  return show(tuttiAllReduce(&value, &value, 1, tuttiFloat32, tuttiSum, comms[0], stream));
}

// Two ranks add up 16 MiB each, all of it on this thread and what threads help it. Prints how many
// threads the process has afterwards.
int large() {
  // ThreadSanitizer starts a thread of its own with the first one; so it counts in any case.
  std::thread([] {}).join();
  constexpr size_t kCount = size_t{4} << 20;
  tuttiComm_t comms[2];
  std::vector<std::vector<float>> values;
  tuttiResult_t result = tuttiCommInitAll(comms, 2, nullptr);
  if (result != tuttiSuccess) return show(result);
  (void)tuttiGroupStart();
  for (int r = 0; r < 2; ++r) {
    std::vector<float>& mine = values.emplace_back(kCount);
    for (size_t i = 0; i < kCount; ++i) mine[i] = static_cast<float>(i % 1000 * (r + 1));
    (void)tuttiAllReduce(mine.data(), mine.data(), kCount, tuttiFloat32, tuttiSum, comms[r],
                         nullptr);
  }
  result = tuttiGroupEnd();
  bool right = true;
  for (const std::vector<float>& mine : values) {
    for (size_t i = 0; i < kCount; ++i) {
      right = right && mine[i] == static_cast<float>(i % 1000 * 3);
    }
  }
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  std::printf("threads %d\n", static_cast<int>(std::distance(begin(tasks), end(tasks))));
  return show(right ? result : tuttiInternalError);
}

}  // namespace

int main(int argc, char** argv) {
  const struct {
    const char* name;
    int (*run)();
  } scenarios[] = {{"init", init},
                   {"fork_used", fork_used},
                   {"fork_unused", fork_unused},
                   {"leave", leave},
                   {"large", large}};
  for (const auto& s : scenarios) {
    if (argc == 2 && std::strcmp(argv[1], s.name) == 0) return s.run();
  }
  return 2;
}
