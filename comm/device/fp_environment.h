// DefaultFpEnvironment: runs a scope under round-to-nearest, with subnormals and without traps, and
// gives the caller's floating-point control word back, exception flags included.
//
// A program that flushes subnormals for its own arithmetic (-ffast-math start-up code does) must
// not change what a reduction returns on one rank only. Value on the stack; affects its own thread
// only.
#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#else
#include <cfenv>
#endif

namespace tutti {

#if defined(__SSE2__)

class DefaultFpEnvironment {
 public:
  DefaultFpEnvironment() : saved_(_mm_getcsr()) {
    if ((saved_ & kControlBits) != kDefault) _mm_setcsr(kDefault);
  }
  ~DefaultFpEnvironment() {
    // Writing the register is slow; reading it is not.
    if (_mm_getcsr() != saved_) _mm_setcsr(saved_);
  }
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;

 private:
  static constexpr unsigned kDefault = 0x1F80;      // all traps masked, nearest even
  static constexpr unsigned kControlBits = 0xFFC0;  // all but the sticky exception flags
  unsigned saved_;
};

#else

class DefaultFpEnvironment {
 public:
  DefaultFpEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFpEnvironment() { std::fesetenv(&saved_); }
  DefaultFpEnvironment(const DefaultFpEnvironment&) = delete;
  DefaultFpEnvironment& operator=(const DefaultFpEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

#endif

}  // namespace tutti
