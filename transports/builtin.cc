#include "transports/builtin.h"

#include <iterator>
#include <string>

#include "transports/inproc/inproc.h"
#include "transports/module.h"
#include "transports/shm/shm.h"

namespace tutti {
namespace {

using Maker = Result<std::unique_ptr<Transport>> (*)(const TransportContext&);

Result<std::unique_ptr<Transport>> make_inproc(const TransportContext& context) {
  if (!context.domain) {
    return error(Code::kInvalidArgument, "transport inproc needs a domain to belong to");
  }
  std::unique_ptr<Transport> transport =
      std::make_unique<InprocTransport>(context.domain, context.number, context.crowded);
  return transport;
}

Result<std::unique_ptr<Transport>> make_shm(const TransportContext& context) {
  if (!context.regions) {
    return error(Code::kInvalidArgument, "transport shm needs memory that can be shared");
  }
  ShmOptions options;
  options.nranks = context.nranks;
  options.crowded = context.crowded;
  options.patience = context.patience;
  options.log = context.log;
  options.blocks = context.blocks;
  options.buffer_cap = context.buffer_cap;
  return ShmTransport::open(context.number, context.secret, context.regions, options);
}

constexpr const char* kNames[] = {"inproc", "shm", "gloo", "mpi"};
// Null: a module brings it.
constexpr Maker kMakers[] = {make_inproc, make_shm, nullptr, nullptr};
static_assert(std::size(kNames) == std::size(kMakers));

Result<std::unique_ptr<Transport>> make_by_module(const char* name,
                                                  const TransportContext& context) {
  Result<const TransportModule*> module = open_module(name);
  if (!module.ok()) return module.status();
  return module.value()->make(context);
}

}  // namespace

std::span<const char* const> builtin_transport_names() { return kNames; }

std::shared_ptr<InprocDomain> make_inproc_domain() { return InprocDomain::create(); }

std::shared_ptr<OwnRegions> make_shared_regions() { return std::make_shared<OwnRegions>(); }

std::shared_ptr<BlockPool> make_block_pool(const std::shared_ptr<OwnRegions>& regions) {
  return std::make_shared<BlockPool>(regions);
}

Result<void*> allocate_shared(OwnRegions& regions, size_t bytes) {
  return regions.add(bytes, OwnRegions::kReserve);
}

bool free_shared(OwnRegions& regions, void* base) { return regions.remove(base); }

void before_fork(OwnRegions& regions) { regions.before_fork(); }

void after_fork_in_parent(OwnRegions& regions) { regions.after_fork_in_parent(); }

void after_fork_in_child(OwnRegions& regions) { regions.after_fork_in_child(); }

Result<std::unique_ptr<Transport>> make_transport(std::string_view name,
                                                  const TransportContext& context) {
  std::string known;
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) {
      return kMakers[i] != nullptr ? kMakers[i](context) : make_by_module(kNames[i], context);
    }
    known += known.empty() ? "" : ", ";
    known += kNames[i];
  }
  return error(Code::kInvalidArgument, "no transport is called \"%.*s\"; there are: %s",
               static_cast<int>(name.size()), name.data(), known.c_str());
}

}  // namespace tutti
