#include "comm/runtime/job.h"

#include <algorithm>
#include <memory>
#include <poll.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/bootstrap/callback_exchange.h"
#include "comm/bootstrap/file_exchange.h"
#include "comm/bootstrap/launch.h"
#include "comm/bootstrap/tcp_exchange.h"
#include "transports/module.h"

namespace tutti {
namespace {

PortRange ports_of(const Config& config) { return {config.port_low, config.port_high}; }

// Addresses to open a rendezvous on, best first.
Result<std::vector<SocketAddress>> rendezvous_addresses(const Config& config) {
  std::vector<SocketAddress> addresses;
  if (!config.interface.empty()) {
    Result<std::vector<Interface>> all = list_interfaces();
    if (!all.ok()) return all.status();
    Result<SocketAddress> chosen = choose_interface(config.interface, all.value());
    if (!chosen.ok()) return chosen.status();
    addresses.push_back(chosen.value());
    return addresses;
  }
  // TEST-NET-1 of RFC 5737 stands for the outside; nothing is sent there.
  Result<SocketAddress> outward = source_toward(SocketAddress::parse("192.0.2.1:9").value());
  if (outward.ok() && !outward.value().is_loopback()) addresses.push_back(outward.value());
  addresses.push_back(SocketAddress::parse("127.0.0.1:0").value());
  return addresses;
}

Result<Meeting> meet_at(const std::vector<SocketAddress>& candidates, const Secret& secret,
                        int rank, int nranks, const Patience& patience) {
  Result<std::unique_ptr<TcpExchange>> joined =
      TcpExchange::join(candidates, secret, rank, nranks, patience);
  if (!joined.ok()) return joined.status();
  Meeting meeting;
  meeting.rendezvous = joined.value()->rendezvous();
  meeting.secret = secret;
  meeting.exchange = std::move(joined.value());
  return meeting;
}

// The secret may have come from a file that rank 0 has made for this job alone.
std::string spent_secret(const Process& process, const Launch& launch) {
  const bool given = process.environment().find("TUTTI_SECRET") != nullptr ||
                     process.environment().find("TUTTI_SECRET_FILE") != nullptr;
  return given || !launch.one_host || launch.rank != 0 ? "" : secret_file_of(launch);
}

// At HOST:PORT, where rank 0 listens.
Result<Meeting> meet_by_tcp(Process& process, const Launch& launch, const Patience& patience) {
  Result<Config> loaded = process.config({});
  if (!loaded.ok()) return loaded.status();
  const Config& config = loaded.value();
  // A name may stand for several addresses: rank 0 listens on those that are its own, all try them.
  Result<std::vector<SocketAddress>> where = SocketAddress::resolve(launch.host, patience);
  if (!where.ok()) {
    return error(where.status().code(), "rank %d of %d: joining the job: %s", launch.rank,
                 launch.nranks, where.status().text().c_str());
  }
  Result<JobSecret> secret = job_secret(launch, process.environment(), true, patience);
  if (!secret.ok()) return secret.status();
  if (secret.value().guessable) {
    process.log().warn_once("insecure-bootstrap",
                            "TUTTI_INSECURE_BOOTSTRAP=1: whoever reaches %s can join this job",
                            launch.host.c_str());
  }
  if (launch.rank == 0) {
    std::vector<SocketAddress> addresses = where.value();
    if (!launch.one_host) {
      // A host may know its own name as a loopback address, or be known by an address that is not
      // its own: listen toward the others as well.
      Result<std::vector<SocketAddress>> more = rendezvous_addresses(config);
      if (!more.ok()) return more.status();
      const SocketAddress outward = more.value()[0].with_port(addresses[0].port());
      const bool known = std::find(addresses.begin(), addresses.end(), outward) != addresses.end();
      if (!known) addresses.push_back(outward);
    }
    auto opened = Rendezvous::open(addresses, {}, secret.value().secret, process.log());
    if (!opened.ok()) return opened.status();
    process.keep(std::move(opened.value()));
  }
  for (;;) {
    Result<Meeting> met =
        meet_at(where.value(), secret.value().secret, launch.rank, launch.nranks, patience);
    // A secret that rank 0 has made for an earlier job may still have been lying there.
    const bool stale = !met.ok() && met.status().code() == Code::kAuthFailed &&
                       process.environment().find("TUTTI_SECRET") == nullptr &&
                       process.environment().find("TUTTI_SECRET_FILE") == nullptr &&
                       launch.one_host && launch.rank != 0;
    if (met.ok()) met.value().spent_secret = spent_secret(process, launch);
    if (!stale || patience.deadline.expired(now_ns())) return met;
    poll(nullptr, 0, 50);
    secret = job_secret(launch, process.environment(), true, patience);
    if (!secret.ok()) return secret.status();
  }
}

Result<Meeting> meet_by_files(Process& process, const Launch& launch, const Patience& patience) {
  Result<JobSecret> secret = job_secret(launch, process.environment(), true, patience);
  if (!secret.ok()) return secret.status();
  Meeting meeting;
  meeting.secret = secret.value().secret;
  meeting.spent_secret = spent_secret(process, launch);
  meeting.exchange = std::make_unique<FileExchange>(launch.folder, launch.rank, launch.nranks,
                                                    secret.value().secret);
  return meeting;
}

// Rank, size and exchange of a job that mpirun has started.
Result<WorldPlan> plan_by_mpi() {
  Result<const TransportModule*> module = open_module("mpi");
  if (!module.ok()) return module.status();
  Result<std::unique_ptr<ModuleJob>> made = module.value()->job();
  if (!made.ok()) return made.status();
  const std::shared_ptr<ModuleJob> job = std::move(made.value());
  WorldPlan plan;
  plan.by_mpi = true;
  plan.rank = job->rank();
  plan.nranks = job->nranks();
  // The exchange calls MPI too, and an endpoint knows who may do that.
  TransportContext context;
  context.number = plan.rank;
  context.nranks = plan.nranks;
  Result<std::unique_ptr<Transport>> endpoint = module.value()->make(context);
  if (!endpoint.ok()) return endpoint.status();
  plan.any_thread = check_any_thread(
      *endpoint.value(), "rank " + std::to_string(plan.rank) + " of " + std::to_string(plan.nranks),
      kNonBlockingCreation);
  plan.meet = [job](const Patience&) -> Result<Meeting> {
    Meeting meeting;
    meeting.exchange = std::make_unique<CallbackExchange>(
        job->rank(), job->nranks(), [job](const void* mine, void* all, size_t bytes) {
          return job->all_gather(mine, all, bytes);
        });
    return meeting;
  };
  return plan;
}

}  // namespace

Result<JobId> open_job(Process& process) {
  Result<Config> config = process.config({});
  if (!config.ok()) return config.status();
  Result<std::vector<SocketAddress>> addresses = rendezvous_addresses(config.value());
  if (!addresses.ok()) return addresses.status();
  JobId id;
  TUTTI_TRY(random_bytes(id.secret.data(), id.secret.size()));
  auto opened =
      Rendezvous::open(addresses.value(), ports_of(config.value()), id.secret, process.log());
  if (!opened.ok()) return opened.status();
  id.candidates = opened.value()->addresses();
  process.keep(std::move(opened.value()));
  return id;
}

WorldPlan plan_by_id(const JobId& id, int rank, int nranks) {
  WorldPlan plan;
  plan.rank = rank;
  plan.nranks = nranks;
  plan.meet = [id, rank, nranks](const Patience& patience) {
    return meet_at(id.candidates, id.secret, rank, nranks, patience);
  };
  return plan;
}

Result<WorldPlan> plan_by_environment(Process& process) {
  Result<Launch> read = read_launch(process.environment());
  if (!read.ok()) return read.status();
  const Launch& launch = read.value();
  if (launch.launcher == Launcher::kOpenMpi) return plan_by_mpi();
  WorldPlan plan;
  plan.rank = launch.rank;
  plan.nranks = launch.nranks;
  plan.meet = [&process, launch](const Patience& patience) {
    return launch.folder.empty() ? meet_by_tcp(process, launch, patience)
                                 : meet_by_files(process, launch, patience);
  };
  return plan;
}

}  // namespace tutti
