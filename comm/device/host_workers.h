// HostWorkers: threads that take pieces of a large kernel beside the thread that runs it.
//
// Started when first needed, asleep when idle. One kernel at a time has them; whoever finds them
// taken does all of his pieces himself, as he does those that no worker has begun, so that nobody
// ever waits for more than pieces that are being worked on. Any thread. In a forked child there are
// no workers, and nothing waits for any.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace tutti {

class HostWorkers {
 public:
  // Must not throw.
  using Piece = void (*)(const void* job, uint32_t piece);

  HostWorkers();
  ~HostWorkers();
  HostWorkers(const HostWorkers&) = delete;
  HostWorkers& operator=(const HostWorkers&) = delete;

  // Calls piece(job, i) for every i < pieces, from this thread and up to `helpers` workers. All
  // have returned, and what they wrote is visible here, when this returns.
  void run(Piece piece, const void* job, uint32_t pieces, uint32_t helpers);
  // Ends the threads; run() does without them from now on. Waits for pieces that are being worked
  // on. Idempotent.
  void stop();

 private:
  class Crew;

  bool prepare(uint32_t helpers);

  std::atomic<bool> stopped_{false};
  std::atomic<bool> taken_{false};  // acquire and release: its holder uses crew_
  std::unique_ptr<Crew> crew_;      // null until needed
};

}  // namespace tutti
