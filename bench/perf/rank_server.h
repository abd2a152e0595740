// The side of a rank: RankSystem is what a measured system can do, RankServer does the measuring.
// The same for Tutti and its peers, so that all are filled, timed and checked by the same code.
//
// A server answers commands of one line:
//   case CASE        "ready", or "no REASON" when the system lacks it
//   check SALT       one verified call (of every root): "wrong N", or "none": it has no result
//   sent             after calls, bytes that each has sent to other ranks of the node and of other
//                    nodes, payload and all in all: "sent N N N N", or "sent unknown"
//   batch N          N calls, timed together: "done SECONDS CPU_SECONDS"
//   single N         N calls, each timed after a barrier: "times S S S ..."
//   end              gives the buffers back: "ready"
// or "error TEXT", after which the rank is of no more use. CPU seconds are of the whole process.
// One thread per server.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "bench/perf/case.h"
#include "bench/perf/problem.h"

namespace perf {

struct Call {
  const Case& c;
  Buffers buffers;
  int root;
};

// What a call sends to other ranks.
struct Sent {
  Tiers payload;
  Tiers wire;  // with what travels beside it
};

class RankSystem {
 public:
  virtual ~RankSystem() = default;
  virtual int rank() const = 0;
  virtual int nranks() const = 0;
  virtual std::string version() const = 0;

  // Why the case cannot be run, the same on every rank; "" when it can.
  virtual std::string lacks(const Case& c) const = 0;
  virtual tutti::Result<void*> allocate(const Case& c, size_t bytes);
  virtual void free(void* memory);
  // Before the first call of a case, with the allocations of this rank; on all ranks.
  virtual tutti::Status prepare(const Case& c, void* send_memory, void* recv_memory);
  virtual void finish(const Case& c);

  virtual tutti::Status run(const Call& call) = 0;
  // Where run() left the result, for systems that cannot leave it in call.buffers.recv.
  virtual const void* result(const Call& call) const { return call.buffers.recv; }
  virtual tutti::Status barrier() = 0;
  // Whether run() leaves a result; else it only shows what the host allows.
  virtual bool has_result(const Case&) const { return true; }
  // Of a call of the prepared case, of those that have been made; where it is counted.
  virtual std::optional<Sent> sent() const { return std::nullopt; }
};

class RankServer {
 public:
  explicit RankServer(RankSystem& system);
  ~RankServer();
  RankServer(const RankServer&) = delete;
  RankServer& operator=(const RankServer&) = delete;

  // "hello RANK NRANKS PID CPUS VERSION": what a rank says first.
  std::string hello() const;
  std::string answer(const std::string& command);

 private:
  struct Running;  // a case and its buffers

  tutti::Status begin(const Case& c);
  void end();
  int next_root();
  tutti::Status call();
  tutti::Result<std::string> check(uint64_t salt);
  tutti::Result<std::string> batch(long calls);
  tutti::Result<std::string> single(long calls);
  tutti::Result<std::string> dispatch(const std::string& verb, const std::string& rest);

  RankSystem& system_;
  std::unique_ptr<Running> running_;
};

// Connects to the harness at the unix socket `path` and answers it until it says "quit" (returns 0)
// or something breaks (1, with a line on stderr). Between commands the thread blocks in read().
int serve(const std::string& path, RankSystem& system);

}  // namespace perf
