#include "comm/device/host_streams.h"

#include <algorithm>
#include <utility>

#include "comm/base/check.h"
#include "comm/base/clock.h"

namespace tutti {

// One queue entry: work to run, a point to mark, or a condition to wait for.
struct HostStreams::Task {
  std::function<void()> work;
  std::shared_ptr<Mark> completes;
  std::shared_ptr<Mark> waits_for;
  Gate* gate = nullptr;
  uint64_t gate_value = 0;
};

struct HostStreams::Stream {
  Stream(HostStreams* o, int p) : owner(o), priority(p) {}
  HostStreams* owner;
  int priority;
  std::deque<Task> queue;
  bool running = false;    // some thread runs the former head outside the mutex
  uint64_t enqueued = 0;   // entries ever appended
  uint64_t completed = 0;  // entries ever finished
};

HostStreams::~HostStreams() {
  MutexLock lock(mutex_);
  TUTTI_CHECK(num_streams_ == 0, "streams outlive their device");
}

HostStreams::Stream* HostStreams::create_stream(int priority) {
  auto stream = std::make_unique<Stream>(this, priority);
  MutexLock lock(mutex_);
  ++num_streams_;
  return stream.release();
}

bool HostStreams::destroy_stream(Stream* stream) {
  {
    MutexLock lock(mutex_);
    if (stream->completed != stream->enqueued) return false;
    --num_streams_;
  }
  delete stream;
  return true;
}

HostStreams* HostStreams::owner_of(Stream* stream) { return stream->owner; }

int HostStreams::num_streams() {
  MutexLock lock(mutex_);
  return num_streams_;
}

void HostStreams::sync(Stream* stream) {
  if (stream == nullptr) return;
  MutexLock lock(mutex_);
  const uint64_t target = stream->enqueued;
  run_ready();
  // Parked, or run by another thread: whoever moves it on notifies.
  while (stream->completed < target) changed_.wait(mutex_, Deadline::never());
}

void HostStreams::enqueue(Stream* stream, std::function<void()> work) {
  if (stream == nullptr) return work();
  Task task;
  task.work = std::move(work);
  MutexLock lock(mutex_);
  append(stream, std::move(task));
  run_ready();
}

HostStreams::Event* HostStreams::create_event() { return new Event{this, nullptr}; }

void HostStreams::destroy_event(Event* event) { delete event; }

void HostStreams::record(Event* event, Stream* stream) {
  auto mark = std::make_shared<Mark>();
  Task task;
  task.completes = mark;
  MutexLock lock(mutex_);
  if (stream == nullptr) {
    mark->done = true;
  } else {
    append(stream, std::move(task));
  }
  event->last = std::move(mark);
  run_ready();
}

bool HostStreams::query(Event* event) {
  MutexLock lock(mutex_);
  run_ready();
  return event->last == nullptr || event->last->done;
}

void HostStreams::wait_event(Stream* stream, Event* event) {
  MutexLock lock(mutex_);
  if (event->last == nullptr || event->last->done) return;
  // The record of this moment, whatever the event stands for later.
  std::shared_ptr<Mark> mark = event->last;
  if (stream == nullptr) {
    run_ready();
    while (!mark->done) changed_.wait(mutex_, Deadline::never());
    return;
  }
  Task task;
  task.waits_for = std::move(mark);
  append(stream, std::move(task));
  run_ready();
}

HostStreams::Gate* HostStreams::create_gate() { return new Gate{this}; }

bool HostStreams::destroy_gate(Gate* gate) {
  {
    MutexLock lock(mutex_);
    if (gate->waiting != 0) return false;
  }
  delete gate;
  return true;
}

void HostStreams::wait_gate(Stream* stream, Gate* gate, uint64_t value) {
  MutexLock lock(mutex_);
  if (stream == nullptr) {
    ++gate->waiting;
    while (gate->value < value) changed_.wait(mutex_, Deadline::never());
    --gate->waiting;
    return;
  }
  Task task;
  task.gate = gate;
  task.gate_value = value;
  append(stream, std::move(task));
  ++gate->waiting;
  run_ready();
}

void HostStreams::set_gate(Gate* gate, uint64_t value) {
  MutexLock lock(mutex_);
  if (value <= gate->value) return;
  gate->value = value;
  changed_.notify_all();
  run_ready();
}

bool HostStreams::is_runnable(const Task& task) {
  if (task.waits_for != nullptr) return task.waits_for->done;
  return task.gate == nullptr || task.gate->value >= task.gate_value;
}

void HostStreams::append(Stream* stream, Task task) {
  if (stream->queue.empty()) busy_.push_back(stream);
  stream->queue.push_back(std::move(task));
  ++stream->enqueued;
}

HostStreams::Stream* HostStreams::next_ready() {
  Stream* best = nullptr;
  for (Stream* stream : busy_) {
    if (stream->running || !is_runnable(stream->queue.front())) continue;
    if (best == nullptr || stream->priority < best->priority) best = stream;
  }
  return best;
}

void HostStreams::run_ready() {
  while (Stream* stream = next_ready()) run_head(stream);
}

void HostStreams::run_head(Stream* stream) {
  Task task = std::move(stream->queue.front());
  stream->queue.pop_front();
  if (stream->queue.empty()) busy_.erase(std::find(busy_.begin(), busy_.end(), stream));
  if (task.work) {
    stream->running = true;
    mutex_.unlock();
    task.work();
    task.work = nullptr;  // frees what it captured before anyone learns that it is done
    mutex_.lock();
    stream->running = false;
  }
  if (task.gate != nullptr) --task.gate->waiting;
  if (task.completes != nullptr) task.completes->done = true;
  ++stream->completed;
  changed_.notify_all();
}

}  // namespace tutti
