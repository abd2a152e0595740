#include "tests/support/ranks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace tutti {

RankTeam::RankTeam(int size, std::chrono::seconds limit)
    : limit_(limit), busy_(static_cast<size_t>(size), false) {
  for (int rank = 0; rank < size; ++rank) {
    threads_.emplace_back([this, rank] { serve(rank); });
  }
}

RankTeam::~RankTeam() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  start_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void RankTeam::run(int n, const std::string& what, const std::function<void(int)>& job) {
  std::unique_lock lock(mutex_);
  job_ = &job;
  wanted_ = n;
  std::fill_n(busy_.begin(), n, true);
  ++generation_;
  start_.notify_all();
  const auto all_done = [this] {
    return std::find(busy_.begin(), busy_.end(), true) == busy_.end();
  };
  if (finish_.wait_for(lock, limit_, all_done)) return;
  std::fprintf(stderr, "HANG after %lld s: %s; not back: rank",
               static_cast<long long>(limit_.count()), what.c_str());
  for (size_t rank = 0; rank < busy_.size(); ++rank) {
    if (busy_[rank]) std::fprintf(stderr, " %zu", rank);
  }
  std::fprintf(stderr, "\n");
  std::abort();
}

void RankTeam::serve(int rank) {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  while (true) {
    start_.wait(lock, [&] { return stop_ || generation_ != seen; });
    if (stop_) return;
    seen = generation_;
    if (rank >= wanted_) continue;
    const std::function<void(int)>& job = *job_;
    lock.unlock();
    job(rank);
    lock.lock();
    busy_[static_cast<size_t>(rank)] = false;
    finish_.notify_one();
  }
}

}  // namespace tutti
