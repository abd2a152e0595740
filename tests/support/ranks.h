// RankTeam: one thread per rank, kept alive over many jobs, with a watchdog.
//
// run() hands the same job to ranks [0, n) and waits for all of them. A job that is not over when
// the time limit has passed is a hang: the watchdog says which one and aborts the process, because
// a thread that is stuck cannot be taken back. Threads sleep between jobs. Thread: run() is for one
// caller at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace tutti {

class RankTeam {
 public:
  RankTeam(int size, std::chrono::seconds limit);
  ~RankTeam();
  RankTeam(const RankTeam&) = delete;
  RankTeam& operator=(const RankTeam&) = delete;

  // Runs job(rank) once on each of ranks [0, n), n <= size, at the same time. `what` names the job
  // if it hangs.
  void run(int n, const std::string& what, const std::function<void(int)>& job);
  int size() const { return static_cast<int>(threads_.size()); }

 private:
  void serve(int rank);

  const std::chrono::seconds limit_;
  std::mutex mutex_;
  std::condition_variable start_;
  std::condition_variable finish_;
  const std::function<void(int)>* job_ = nullptr;
  uint64_t generation_ = 0;
  int wanted_ = 0;  // ranks that take part in this generation
  std::vector<bool> busy_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tutti
