#include "comm/runtime/engine.h"

#include <algorithm>

#include "comm/base/thread.h"
#include "comm/base/wait.h"

namespace tutti {

Engine::~Engine() { stop(); }

void Engine::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Status Engine::start() {
  // Asked before every operation on a stream. Relaxed: it guards nothing, and is never taken back.
  if (started_.load(std::memory_order_relaxed)) return Status();
  MutexLock lock(mutex_);
  return start_locked();
}

Status Engine::start_locked() {
  if (started_.load(std::memory_order_relaxed) || stopping_) return Status();
  Status started = start_thread(&thread_, "what nobody waits for", [this] { run(); });
  started_.store(started.ok(), std::memory_order_relaxed);
  return started;
}

void Engine::add(Pollable* work) {
  MutexLock lock(mutex_);
  const auto found = std::find_if(items_.begin(), items_.end(),
                                  [work](const Item& item) { return item.work == work; });
  if (found != items_.end()) {
    found->again = true;
  } else {
    items_.push_back({work});
  }
  (void)start_locked();  // who must know has asked start()
  ++adds_;
  wake_.notify_one();
}

void Engine::remove(Pollable* work) {
  MutexLock lock(mutex_);
  for (;;) {
    const auto found = std::find_if(items_.begin(), items_.end(),
                                    [work](const Item& item) { return item.work == work; });
    if (found == items_.end()) return;
    if (found->inside == 0) {
      items_.erase(found);
      return;
    }
    left_.wait(mutex_, Deadline::never());
  }
}

// Polls the item at `index`; false past the end of the list.
bool Engine::poll_next(size_t index) {
  Pollable* work = nullptr;
  {
    MutexLock lock(mutex_);
    if (index >= items_.size()) return false;
    Item& item = items_[index];
    work = item.work;
    ++item.inside;
    item.again = false;
  }
  const bool more = work->poll_once();
  MutexLock lock(mutex_);
  const auto found = std::find_if(items_.begin(), items_.end(),
                                  [work](const Item& item) { return item.work == work; });
  --found->inside;
  if (!more && !found->again && found->inside == 0) {
    items_.erase(found);
  } else if (more) {
    found->again = true;
  }
  left_.notify_all();
  return true;
}

void Engine::poll_all() {
  for (size_t i = 0; poll_next(i); ++i) {
  }
}

void Engine::run() {
  WaitLadder ladder(WaitRungs{0, 200});
  uint64_t seen = 0;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (items_.empty() && !stopping_) {
        ladder.reset();
        // Nothing to do: sleeping without a deadline is right, add() and the destructor wake us.
        wake_.wait(mutex_, Deadline::never());
      }
      if (stopping_) return;
      if (adds_ != seen) ladder.reset();
      seen = adds_;
    }
    poll_all();
    ladder.tick();
  }
}

}  // namespace tutti
