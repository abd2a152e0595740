// Dispatch and combine over Gloo, in one of the two ways in which its users write them. What the
// routing alone decides is made beforehand. Throws as Gloo does. One thread.
#pragma once

#include <cstdint>
#include <gloo/context.h>
#include <memory>
#include <string>

#include "bench/perf/case.h"

namespace perf {

class GlooRows {
 public:
  virtual ~GlooRows() = default;
  virtual void run(uint32_t tag) = 0;
  // Bytes that a call sends to other ranks: payload alone.
  virtual Tiers sent_bytes() const = 0;
};

// `way`: "a2av", an alltoallv of a row for each token and rank; "ag-rs" (gloo_gather.h). Why it
// cannot do `c`; "" when it can.
std::string gloo_rows_lack(const std::string& way, const Case& c, int nranks);
// Borrows the rank's two buffers.
std::unique_ptr<GlooRows> make_gloo_rows(const std::string& way, const Case& c,
                                         const std::shared_ptr<gloo::Context>& context,
                                         void* send_memory, void* recv_memory);

}  // namespace perf
