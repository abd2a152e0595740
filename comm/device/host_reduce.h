// tutti_reduce_args on the host: reading them, running them now, keeping them for later.
//
// The arguments were checked before they come here. Value types, no shared state.
#pragma once

#include <cstdint>
#include <vector>

#include "tutti/device.h"

#include "comm/device/host_workers.h"

namespace tutti {

// The arguments of any version of the struct, those that it lacks zeroed: `from` itself when it is
// of our version, else a copy in `room`. Null: too short.
const tutti_reduce_args* take_reduce_arguments(const tutti_reduce_args* from,
                                               tutti_reduce_args* room);

// Shares the work with `workers` where that pays and args.threads allows it. The bits do not depend
// on it.
void run_reduce(const tutti_reduce_args& args, HostWorkers& workers);

// A copy of the arguments and all that they point to, but for the arrays of elements.
class DeferredReduce {
 public:
  explicit DeferredReduce(const tutti_reduce_args& args);
  DeferredReduce(const DeferredReduce&) = delete;
  DeferredReduce& operator=(const DeferredReduce&) = delete;

  void run(HostWorkers& workers) const { run_reduce(args_, workers); }

 private:
  tutti_reduce_args args_;  // points into the vectors below
  std::vector<const void*> src_;
  std::vector<void*> dst_;
  std::vector<uint64_t> scalar_values_;  // each holds one element of any type
  std::vector<const void*> scalar_;
};

}  // namespace tutti
