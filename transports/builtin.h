// The transports there are: those built into the library and the modules beside it (module.h). An
// explicit list, nothing registers itself.
//
// Stateless; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "comm/base/log.h"
#include "comm/base/status.h"
#include "comm/net/patience.h"
#include "comm/net/secret.h"
#include "transports/transport.h"

namespace tutti {

class InprocDomain;
class OwnRegions;
class BlockPool;

// The world that ranks of one process meet in.
std::shared_ptr<InprocDomain> make_inproc_domain();

// The memory of this process that processes of its host can map.
std::shared_ptr<OwnRegions> make_shared_regions();
// Zeros in it, aligned to a page; kOutOfMemory when there is no more of this kind.
Result<void*> allocate_shared(OwnRegions& regions, size_t bytes);
// False when `base` is not the start of such memory.
bool free_shared(OwnRegions& regions, void* base);
// Around fork(), in the thread that calls it: memory of the caller that peers can map is the
// child's own there.
void before_fork(OwnRegions& regions);
void after_fork_in_parent(OwnRegions& regions);
void after_fork_in_child(OwnRegions& regions);

// The memory in which messages to those processes are copied, where they have to be.
std::shared_ptr<BlockPool> make_block_pool(const std::shared_ptr<OwnRegions>& regions);

// What a transport may need to come into being.
struct TransportContext {
  std::shared_ptr<InprocDomain> domain;  // inproc: the world its endpoint belongs to
  int number = 0;                        // of this endpoint, 0..nranks-1
  int nranks = 1;                        // endpoints that will connect to each other
  bool crowded = false;                  // inproc, shm: more ranks than cores
  std::string host;                      // gloo: the numeric address to listen on; "": loopback
  Secret secret = {};                    // shm: of the job its endpoints belong to
  std::shared_ptr<OwnRegions> regions;   // shm: memory it may share
  std::shared_ptr<BlockPool> blocks;     // shm: for copies; null: its own
  size_t buffer_cap = size_t{64} << 20;  // shm: what they may take
  Patience patience;                     // shm: for connect() and settle(); outlives these
  Log log;                               // shm
};

// Names that make_transport knows, modules included whether installed or not, in order of
// preference. Static storage.
std::span<const char* const> builtin_transport_names();

// An endpoint of the transport called `name`. kInvalidArgument for a name that is not in the list
// (the text lists them) or a context that lacks what the transport needs.
Result<std::unique_ptr<Transport>> make_transport(std::string_view name,
                                                  const TransportContext& context);

}  // namespace tutti
