// Monotonic time and absolute deadlines. Value types; every wait in Tutti carries a Deadline.
#pragma once

#include <cstdint>
#include <ctime>

namespace tutti {

inline int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

class Deadline {
 public:
  static Deadline never() { return Deadline(INT64_MAX); }
  static Deadline after_ns(int64_t ns) {
    int64_t now = now_ns();
    return Deadline(ns > INT64_MAX - now ? INT64_MAX : now + ns);
  }
  bool expired(int64_t now) const { return now >= at_ns_; }
  bool is_never() const { return at_ns_ == INT64_MAX; }
  int64_t at_ns() const { return at_ns_; }

 private:
  explicit Deadline(int64_t at_ns) : at_ns_(at_ns) {}
  int64_t at_ns_;
};

}  // namespace tutti
