// Team: the ranks that run the cases, as threads of one process or as one process each.
//
// Every process of a team makes the same calls in the same order, and run() gives all of them the
// same verdict, so that they never part. Thread: one caller at a time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tutti/tutti.h"

namespace tutti {

// How a job ended, in rising order of harm.
enum class Verdict : uint8_t {
  kGood,
  kWrong,   // but the communicator may be used on
  kBroken,  // so may be the communicator
};

// A case that takes longer hangs, even on a loaded machine under a sanitizer.
inline constexpr std::chrono::seconds kCaseLimit{300};

class Team {
 public:
  static constexpr int kMostRanks = 8;
  using Job = std::function<Verdict(int rank)>;

  virtual ~Team() = default;

  virtual int size() const = 0;
  virtual const char* transport() const = 0;
  // Whether this process says what all of them know.
  virtual bool is_speaker() const = 0;

  // Runs job(rank) once on each of ranks [0, n), n <= size, at the same time; returns the worst
  // verdict when all are through. Whatever a rank wrote to shared memory before, all see after.
  // `what` names the job if it hangs.
  virtual Verdict run(int n, const std::string& what, const Job& job) = 0;

  // Makes a communicator of ranks [0, n): one handle for each, null for ranks of other processes.
  virtual tuttiResult_t create(int n, const tuttiConfig_t& config, tuttiComm_t* handles) = 0;

  // Memory that all ranks share, not cleared, until release(), which takes back all of it.
  virtual uint8_t* allocate(size_t bytes) = 0;
  virtual void release() = 0;
  // One counter per rank, shared, 0 at first.
  virtual std::atomic<uint64_t>* counters() = 0;
};

}  // namespace tutti
