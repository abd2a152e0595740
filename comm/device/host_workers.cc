#include "comm/device/host_workers.h"

#include <new>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/cores.h"
#include "comm/base/mutex.h"
#include "comm/base/thread.h"
#include "comm/base/wait.h"

namespace tutti {

// The threads, and what they work on. Its holder (taken_) calls run() and grow().
class HostWorkers::Crew {
 public:
  Crew() = default;
  ~Crew();
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  // In the process that made it.
  bool is_ours() const { return getpid() == pid_; }
  // As many threads as the system allows.
  void grow(uint32_t helpers);
  void run(Piece piece, const void* what, uint32_t pieces, uint32_t helpers);

 private:
  struct Job {
    uint32_t number = 0;
    Piece piece = nullptr;
    const void* what = nullptr;
    uint32_t pieces = 0;
    uint32_t helpers = 0;
  };
  void serve(uint32_t index);
  void work(const Job& job);
  bool claim(const Job& job, uint32_t* piece);
  // A spin beyond the cores there are takes one from somebody who works.
  WaitRungs rungs() const { return rungs_for(WaitRungs{2000, 0}, {threads_now_.load(), cores_}); }

  const pid_t pid_ = getpid();
  const int cores_ = usable_cores();
  std::vector<std::thread> threads_;
  std::atomic<int> threads_now_{1};  // those, and the caller
  // Of the job and the next piece that nobody has begun: number << 32 | piece. A worker that comes
  // late finds another number or no piece left, and touches nothing.
  std::atomic<uint64_t> next_{0};
  std::atomic<uint32_t> done_{0};    // pieces of it
  std::atomic<uint32_t> latest_{0};  // job_.number, for workers that still spin
  Mutex mutex_;
  CondVar wake_;
  Job job_ TUTTI_GUARDED_BY(mutex_);
  bool stopping_ TUTTI_GUARDED_BY(mutex_) = false;
};

HostWorkers::Crew::~Crew() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  for (std::thread& thread : threads_) thread.join();
}

void HostWorkers::Crew::grow(uint32_t helpers) {
  try {
    threads_.reserve(helpers);
    while (threads_.size() < helpers) {
      const auto index = static_cast<uint32_t>(threads_.size());
      std::thread thread;
      // Without it those there are do more.
      if (!start_thread(&thread, "kernels", [this, index] { serve(index); }).ok()) return;
      threads_.push_back(std::move(thread));
      threads_now_.store(static_cast<int>(threads_.size()) + 1);
    }
  } catch (const std::bad_alloc&) {
  }
}

void HostWorkers::Crew::run(Piece piece, const void* what, uint32_t pieces, uint32_t helpers) {
  Job job;
  {
    MutexLock lock(mutex_);
    job = {job_.number + 1, piece, what, pieces, helpers};
    job_ = job;
    done_.store(0, std::memory_order_relaxed);
    // Release: pairs with the acquire in claim(), for done_.
    next_.store(uint64_t{job.number} << 32, std::memory_order_release);
    latest_.store(job.number, std::memory_order_release);
    wake_.notify_all();
  }
  work(job);
  WaitLadder ladder(rungs());
  // Acquire: pairs with the release in work(), for what the pieces wrote.
  while (done_.load(std::memory_order_acquire) != pieces) ladder.tick();
}

bool HostWorkers::Crew::claim(const Job& job, uint32_t* piece) {
  uint64_t next = next_.load(std::memory_order_acquire);
  do {
    *piece = static_cast<uint32_t>(next);
    if (next >> 32 != job.number || *piece >= job.pieces) return false;
  } while (!next_.compare_exchange_weak(next, next + 1, std::memory_order_acquire));
  return true;
}

void HostWorkers::Crew::work(const Job& job) {
  uint32_t piece = 0;
  while (claim(job, &piece)) {
    job.piece(job.what, piece);
    done_.fetch_add(1, std::memory_order_release);
  }
}

void HostWorkers::Crew::serve(uint32_t index) {
  uint32_t seen = 0;
  for (;;) {
    WaitLadder ladder(rungs());
    while (latest_.load(std::memory_order_acquire) == seen && !ladder.blocks_next()) ladder.tick();
    Job job;
    {
      MutexLock lock(mutex_);
      // Nothing to do: sleeping without a deadline is right, run() and the destructor wake us.
      while (job_.number == seen && !stopping_) wake_.wait(mutex_, Deadline::never());
      if (stopping_) return;
      job = job_;
    }
    seen = job.number;
    if (index < job.helpers) work(job);
  }
}

HostWorkers::HostWorkers() = default;

HostWorkers::~HostWorkers() {
  // A forked child has neither the threads nor locks that anybody will open.
  if (crew_ && !crew_->is_ours()) {
    (void)crew_.release();
  } else {
    stop();
  }
}

// By the holder of taken_. False where there is no crew to be had.
bool HostWorkers::prepare(uint32_t helpers) {
  try {
    if (!crew_) crew_ = std::make_unique<Crew>();
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (!crew_->is_ours()) return false;
  crew_->grow(helpers);
  return true;
}

void HostWorkers::run(Piece piece, const void* job, uint32_t pieces, uint32_t helpers) {
  bool shared = false;
  if (helpers > 0 && pieces > 1 && !taken_.exchange(true, std::memory_order_acquire)) {
    shared = prepare(helpers);
    if (shared) crew_->run(piece, job, pieces, helpers);
    taken_.store(false, std::memory_order_release);
  }
  if (shared) return;
  for (uint32_t i = 0; i < pieces; ++i) piece(job, i);
}

void HostWorkers::stop() {
  if (stopped_.exchange(true)) return;
  WaitLadder ladder(WaitRungs{});
  while (taken_.exchange(true, std::memory_order_acquire)) ladder.tick();
  crew_.reset();  // and taken_ stays: nobody gets it any more
}

}  // namespace tutti
