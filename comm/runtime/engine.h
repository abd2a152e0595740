// Engine: advances what nobody waits for. One thread per process, started with the first operation
// on a stream or the first non-blocking creation, asleep when there is nothing to do. A thread that
// synchronises on a stream advances the same list itself (poll_all).
//
// Threads: any. A Pollable is polled by one thread at a time only if it says so itself
// (communicators do, by their drive mutex).
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "comm/base/mutex.h"
#include "comm/base/status.h"

namespace tutti {

class Pollable {
 public:
  virtual ~Pollable() = default;
  // Does what can be done now, without waiting for anybody. False: nothing left to do.
  virtual bool poll_once() = 0;
};

class Engine {
 public:
  Engine() = default;
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Starts the thread where it does not run yet. Not ok when the process may have no more threads:
  // then nothing that is added moves unless somebody calls poll_all().
  Status start();
  // Polls `work` until it has nothing left. Idempotent.
  void add(Pollable* work);
  // Forgets it; when this returns no thread is inside it any more.
  void remove(Pollable* work);
  // Ends the thread; what is left is advanced by poll_all() only. Idempotent.
  void stop();
  // Polls everything once from this thread.
  void poll_all();

 private:
  struct Item {
    Pollable* work;
    int inside = 0;     // threads polling it now
    bool again = true;  // add() was called since it last had nothing left
  };
  Status start_locked() TUTTI_REQUIRES(mutex_);
  void run();
  bool poll_next(size_t index);
  Mutex mutex_;
  CondVar wake_;
  CondVar left_;
  std::vector<Item> items_ TUTTI_GUARDED_BY(mutex_);
  uint64_t adds_ TUTTI_GUARDED_BY(mutex_) = 0;
  bool stopping_ TUTTI_GUARDED_BY(mutex_) = false;
  std::atomic<bool> started_{false};  // written under mutex_
  std::thread thread_;
};

}  // namespace tutti
