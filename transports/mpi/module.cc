// The face of libtutti_mpi.so: its transport, and the job that mpirun started.
#include "transports/module.h"

#include <climits>
#include <mpi.h>

#include "transports/mpi/mpi_transport.h"

namespace tutti {
namespace {

class MpiJob final : public ModuleJob {
 public:
  explicit MpiJob(std::shared_ptr<MpiWorld> world) : world_(std::move(world)) {}
  int rank() const override { return world_->rank(); }
  int nranks() const override { return world_->nranks(); }
  int local_rank() const override { return world_->local_rank(); }

  Status all_gather(const void* mine, void* all, size_t bytes) override {
    if (bytes > INT_MAX) {
      return error(Code::kInvalidArgument, "mpi: %zu bytes per rank are too many", bytes);
    }
    if (mpi_is_over()) return error(Code::kInvalidUsage, "mpi: MPI has been finalised");
    const int count = static_cast<int>(bytes);
    // Waits for other processes, so not under the mutex: MPI has a lock of its own, or only one
    // thread may be here at all.
    return mpi_status(MPI_Allgather(mine, count, MPI_BYTE, all, count, MPI_BYTE, world_->comm()),
                      "MPI_Allgather");
  }

 private:
  const std::shared_ptr<MpiWorld> world_;
};

Result<std::unique_ptr<Transport>> make(const TransportContext& context) {
  Result<std::shared_ptr<MpiWorld>> world = MpiWorld::get();
  if (!world.ok()) return world.status();
  return std::unique_ptr<Transport>(std::make_unique<MpiTransport>(world.value(), context.number));
}

Result<std::unique_ptr<ModuleJob>> job() {
  Result<std::shared_ptr<MpiWorld>> world = MpiWorld::get();
  if (!world.ok()) return world.status();
  return std::unique_ptr<ModuleJob>(std::make_unique<MpiJob>(world.value()));
}

constexpr TransportModule kModule = {kModuleAbi, TUTTI_VERSION, "mpi", make, job};

}  // namespace
}  // namespace tutti

__attribute__((visibility("default"))) const tutti::TransportModule* tutti_transport_module() {
  return &tutti::kModule;
}
