// tutti_reduce_args on the host: reading them, running them now, keeping them for later.
//
// The arguments were checked before they come here. Value types, no shared state.
#pragma once

#include <cstdint>
#include <vector>

#include "tutti/device.h"

namespace tutti {

// The arguments of any version of the struct, those that it lacks zeroed: `from` itself when it is
// of our version, else a copy in `room`. Null: too short.
const tutti_reduce_args* take_reduce_arguments(const tutti_reduce_args* from,
                                               tutti_reduce_args* room);

void run_reduce(const tutti_reduce_args& args);

// A copy of the arguments and all that they point to, but for the arrays of elements.
class DeferredReduce {
 public:
  explicit DeferredReduce(const tutti_reduce_args& args);
  DeferredReduce(const DeferredReduce&) = delete;
  DeferredReduce& operator=(const DeferredReduce&) = delete;

  void run() const { run_reduce(args_); }

 private:
  tutti_reduce_args args_;  // points into the vectors below
  std::vector<const void*> src_;
  std::vector<void*> dst_;
  std::vector<uint64_t> scalar_values_;  // each holds one element of any type
  std::vector<const void*> scalar_;
};

}  // namespace tutti
