// Starting the systems on this host: Tutti's ranks and the peers. One thread.
#pragma once

#include "bench/perf/children.h"
#include "bench/perf/measure.h"
#include "bench/perf/options.h"
#include "bench/perf/socket_system.h"

namespace perf {

// Tutti first, then options.peers in their order; every rank waits for commands.
tutti::Result<Systems> start_systems(const Options& options, int nranks, Children& children,
                                     const PrivateFolder& folder);

// Tutti alone, as options say, under another name; `folder` of its own.
tutti::Result<std::unique_ptr<System>> start_tutti_system(const std::string& name,
                                                          const Options& options, int nranks,
                                                          Children& children,
                                                          const PrivateFolder& folder);

// The folder of the running program, where its helpers lie as well.
std::string program_folder();

// As tuttiConfig_t.algorithms.
std::string algorithms_of(const Options& options);

}  // namespace perf
