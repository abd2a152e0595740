// HostStreams: streams, events and gates of the host device. No thread of its own.
//
// A stream is a queue. Its work runs on whoever makes it runnable or asks for it: the thread that
// enqueues, raises a gate, queries an event or synchronises. One thread at a time runs a stream;
// an unopened gate or unfinished event at the head parks it and blocks nobody. Whoever changes a
// gate or finishes a record runs all that this made ready, so nothing is left behind.
//
// Thread-safe: one mutex guards all state; work itself runs without it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "comm/base/mutex.h"

namespace tutti {

class HostStreams {
 public:
  // One recorded point: set when the stream has come by it. Guarded by the mutex of HostStreams.
  struct Mark {
    bool done = false;
  };
  // Handles; their members belong to HostStreams and are guarded by its mutex.
  struct Event {
    HostStreams* owner;
    std::shared_ptr<Mark> last;  // none: never recorded
  };
  struct Gate {
    HostStreams* owner;
    uint64_t value = 0;
    int waiting = 0;  // queue entries that name this gate
  };
  struct Stream;

  HostStreams() = default;
  ~HostStreams();
  HostStreams(const HostStreams&) = delete;
  HostStreams& operator=(const HostStreams&) = delete;

  // A smaller priority goes first where one thread finds several streams ready.
  Stream* create_stream(int priority) TUTTI_EXCLUDES(mutex_);
  bool destroy_stream(Stream* stream) TUTTI_EXCLUDES(mutex_);  // false: work is pending
  void sync(Stream* stream) TUTTI_EXCLUDES(mutex_);
  static HostStreams* owner_of(Stream* stream);
  int num_streams() TUTTI_EXCLUDES(mutex_);

  // A null stream means now: `work` runs, and waits block, before the call returns.
  void enqueue(Stream* stream, std::function<void()> work) TUTTI_EXCLUDES(mutex_);

  Event* create_event();
  void destroy_event(Event* event);
  void record(Event* event, Stream* stream) TUTTI_EXCLUDES(mutex_);
  bool query(Event* event) TUTTI_EXCLUDES(mutex_);
  void wait_event(Stream* stream, Event* event) TUTTI_EXCLUDES(mutex_);

  Gate* create_gate();
  bool destroy_gate(Gate* gate) TUTTI_EXCLUDES(mutex_);  // false: a stream waits for it
  void wait_gate(Stream* stream, Gate* gate, uint64_t value) TUTTI_EXCLUDES(mutex_);
  void set_gate(Gate* gate, uint64_t value) TUTTI_EXCLUDES(mutex_);

 private:
  struct Task;
  static bool is_runnable(const Task& task);
  void append(Stream* stream, Task task) TUTTI_REQUIRES(mutex_);
  Stream* next_ready() TUTTI_REQUIRES(mutex_);
  void run_ready() TUTTI_REQUIRES(mutex_);
  void run_head(Stream* stream) TUTTI_REQUIRES(mutex_);

  Mutex mutex_;
  CondVar changed_;                                     // some stream got further, or a gate opened
  std::vector<Stream*> busy_ TUTTI_GUARDED_BY(mutex_);  // streams with queued work
  int num_streams_ TUTTI_GUARDED_BY(mutex_) = 0;
};

}  // namespace tutti
