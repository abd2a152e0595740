#include "transports/mpi/world.h"

#include <algorithm>
#include <sys/random.h>

#include "transports/mpi/endpoint.h"

namespace tutti {
namespace {

// Receives for packets posted ahead. What does not find one waits in MPI's own memory.
constexpr size_t kReceives = 64;

struct Only {
  Mutex mutex;
  std::shared_ptr<MpiWorld> world TUTTI_GUARDED_BY(mutex);
};

// MPI is there once per process, so this is too. Never destroyed: MPI calls back when it is
// finalised, which may be when the program exits.
Only& only() {
  static Only& one = *new Only;
  return one;
}

}  // namespace

Result<std::shared_ptr<MpiWorld>> MpiWorld::get() {
  Only& one = only();
  MutexLock lock(one.mutex);
  if (one.world != nullptr) {
    MutexLock inside(one.world->mutex);
    if (!one.world->over_) return one.world;
  }
  Result<MpiStart> start = start_mpi();
  if (!start.ok()) return start.status();
  std::shared_ptr<MpiWorld> world(new MpiWorld(start.value()));
  if (!world->may_call()) {
    return error(Code::kInvalidUsage,
                 "mpi runs at %s: it must be opened by the thread that initialised MPI",
                 name_of_thread_level(start.value().level));
  }
  Status opened = world->open();
  if (!opened.ok()) return opened;
  one.world = world;
  return world;
}

// Its requests have been cancelled in close() or MPI never knew any.
MpiWorld::~MpiWorld() = default;

Status MpiWorld::open() {
  MutexLock lock(mutex);
  TUTTI_TRY(mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &packets_comm_), "MPI_Comm_dup"));
  TUTTI_TRY(mpi_status(MPI_Comm_dup(MPI_COMM_WORLD, &payloads_comm_), "MPI_Comm_dup"));
  MPI_Comm_set_errhandler(packets_comm_, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(payloads_comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(packets_comm_, &rank_);
  MPI_Comm_size(packets_comm_, &nranks_);
  int* limit = nullptr;
  int known = 0;
  MPI_Comm_get_attr(payloads_comm_, MPI_TAG_UB, &limit, &known);
  if (known != 0) max_tag_ = *limit;
  MPI_Comm host = MPI_COMM_NULL;
  TUTTI_TRY(
      mpi_status(MPI_Comm_split_type(packets_comm_, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host),
                 "MPI_Comm_split_type"));
  MPI_Comm_rank(host, &local_rank_);
  MPI_Comm_free(&host);
  if (rank_ == 0 && getrandom(&job_, sizeof(job_), 0) != sizeof(job_)) {
    return error(Code::kSystemError, "transport mpi: getrandom: %m");
  }
  TUTTI_TRY(mpi_status(MPI_Bcast(&job_, sizeof(job_), MPI_BYTE, 0, packets_comm_), "MPI_Bcast"));
  // MPI tells us before it goes, whoever finalises it.
  MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, on_finalize, &keyval_, nullptr);
  MPI_Comm_set_attr(MPI_COMM_SELF, keyval_, this);
  receives_.assign(kReceives, MPI_REQUEST_NULL);
  receiving_.assign(kReceives, nullptr);
  for (size_t i = 0; i < kReceives; ++i) post_receive(i);
  return failure_;
}

int MpiWorld::on_finalize(MPI_Comm, int, void* world, void*) {
  auto* self = static_cast<MpiWorld*>(world);
  MutexLock lock(self->mutex);
  self->close();
  return MPI_SUCCESS;
}

// Called inside MPI_Finalize. What MPI still has in hand it forgets by itself.
void MpiWorld::close() {
  over_ = true;
  for (MPI_Request& request : receives_) {
    if (request == MPI_REQUEST_NULL) continue;
    MPI_Cancel(&request);
    MPI_Request_free(&request);
  }
}

uint32_t MpiWorld::add_endpoint(MpiEndpoint* endpoint) {
  MutexLock lock(mutex);
  const uint32_t serial = next_serial_++;
  endpoints_.emplace(serial, Member{endpoint, false});
  return serial;
}

void MpiWorld::remove_endpoint(uint32_t serial) {
  MutexLock lock(mutex);
  endpoints_.erase(serial);
}

MpiEndpoint* MpiWorld::endpoint(uint32_t serial) {
  const auto found = endpoints_.find(serial);
  return found == endpoints_.end() ? nullptr : found->second.endpoint;
}

Status MpiWorld::finalize(uint32_t serial) {
  {
    MutexLock lock(mutex);
    const auto found = endpoints_.find(serial);
    if (found != endpoints_.end()) found->second.done = true;
    const bool all = std::all_of(endpoints_.begin(), endpoints_.end(),
                                 [](const auto& member) { return member.second.done; });
    if (!all || over_ || !start_.ours) return Status();
    flush();
  }
  // Not under the mutex: it calls on_finalize, and it waits for the other processes.
  return mpi_status(MPI_Finalize(), "MPI_Finalize");
}

std::string MpiWorld::still_lent(uint32_t serial, uint64_t comm) const {
  std::string text;
  const auto add = [&](const std::vector<Packet*>& packets) {
    const Packet* last = nullptr;  // requests of one message stand side by side
    for (const Packet* packet : packets) {
      if (packet == last || packet->lent == nullptr || packet->serial != serial ||
          packet->envelope.comm != comm) {
        continue;
      }
      last = packet;
      char line[160];
      std::snprintf(line, sizeof(line), "%sMPI may still %s %llu bytes %s %p",
                    text.empty() ? "" : "; ", packet->arriving ? "write" : "read",
                    static_cast<unsigned long long>(packet->envelope.bytes),
                    packet->many_parts ? "in several parts, the first at" : "at", packet->lent);
      text += line;
    }
  };
  add(pending_packets_);
  add(aside_packets_);
  return text;
}

}  // namespace tutti
