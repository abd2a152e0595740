#include "comm/runtime/world_creation.h"

#include <algorithm>
#include <new>
#include <unistd.h>
#include <utility>
#include <vector>

#include "comm/base/bytes.h"
#include "comm/base/hash.h"
#include "comm/base/host.h"
#include "comm/base/thread.h"
#include "comm/bootstrap/agreement.h"
#include "comm/runtime/net_control.h"
#include "transports/builtin.h"
#include "transports/module.h"

namespace tutti {
namespace {

// The address this process listens on.
Result<SocketAddress> own_address(const Config& config, const Meeting& meeting) {
  if (!config.interface.empty()) {
    Result<std::vector<Interface>> all = list_interfaces();
    if (!all.ok()) return all.status();
    return choose_interface(config.interface, all.value());
  }
  if (meeting.rendezvous.has_value()) return source_toward(*meeting.rendezvous);
  // No rendezvous to look toward: the way out of this host, where there is one. (TEST-NET-1 of
  // RFC 5737; nothing is sent.)
  Result<SocketAddress> outward = source_toward(SocketAddress::parse("192.0.2.1:9").value());
  if (outward.ok()) return outward;
  return SocketAddress::parse("127.0.0.1:0");
}

// One communicator in the making, on one rank.
class WorldMaker {
 public:
  WorldMaker(Process& process, const WorldPlan& plan, const Config& config, std::string name,
             const Patience& patience)
      : process_(process),
        plan_(plan),
        config_(config),
        name_(std::move(name)),
        patience_(patience) {}

  Result<std::unique_ptr<Communicator>> make() {
    Status status = meet();
    if (status.ok()) status = exchange_cards();
    if (status.ok()) status = open_transport();
    if (status.ok()) return assemble();
    // Who has failed, unless the text begins with that.
    if (status.text().rfind("rank ", 0) == 0) return status;
    return error(status.code(), "%s: %s", who().c_str(), status.text().c_str());
  }

 private:
  Status meet();
  Status exchange_cards();
  Status choose_transports();
  Status find_candidates();
  Status open_transport();
  void join();
  Status exchange_addresses();
  Status connect();
  Status agree(const char* step, const Status& mine, std::string_view extra,
               std::vector<std::string>* all);
  std::string own_transports() const;
  bool in_one_process() const;
  Result<std::unique_ptr<Communicator>> assemble();
  std::string who() const {
    return "rank " + std::to_string(plan_.rank) + " of " + std::to_string(plan_.nranks);
  }

  Process& process_;
  const WorldPlan& plan_;
  const Config& config_;
  const std::string name_;
  const Patience patience_;
  Meeting meeting_;
  SocketAddress address_;
  std::vector<RankCard> cards_;
  World world_;
  std::shared_ptr<const World> joined_;
  std::vector<std::string> candidates_;  // transports, best first
  std::string transport_name_;
  bool heard_ = true;  // the last round has reached every rank
  std::shared_ptr<Transport> transport_;
  std::vector<std::string> addresses_;
};

// An exchange of one rank with itself.
class LonelyExchange final : public Exchange {
 public:
  int rank() const override { return 0; }
  int nranks() const override { return 1; }
  Result<std::vector<std::string>> all_gather(std::string_view mine, const Patience&) override {
    return std::vector<std::string>{std::string(mine)};
  }
};

Status WorldMaker::meet() {
  if (plan_.nranks == 1) {
    meeting_.exchange = std::make_unique<LonelyExchange>();
    return Status();
  }
  Result<Meeting> met = plan_.meet(patience_);
  if (!met.ok()) return met.status();
  meeting_ = std::move(met.value());
  return Status();
}

// Those this rank can use, by preference.
std::string WorldMaker::own_transports() const {
  if (config_.transport != "auto") return config_.transport;
  std::string names = "shm";
  if (plan_.by_mpi) names += " mpi";
  if (open_module("gloo").ok()) names += " gloo";
  return names;
}

bool WorldMaker::in_one_process() const {
  return std::all_of(cards_.begin(), cards_.end(),
                     [this](const RankCard& card) { return card.process == process_.token(); });
}

Status WorldMaker::exchange_cards() {
  RankCard card;
  Status mine;
  Secret secret = {};
  if (plan_.nranks > 1) {
    Result<SocketAddress> host = own_address(config_, meeting_);
    if (host.ok()) {
      host = process_.control_plane().listen(
          host.value(), PortRange{config_.port_low, config_.port_high}, process_.log());
    }
    mine = host.status();
    if (host.ok()) address_ = host.value();
    if (mine.ok()) mine = random_bytes(secret.data(), secret.size());
  }
  card.settings = agreement_text(config_);
  card.host = host_name();
  card.boot = boot_id();
  card.network = network_name_space();
  card.host_id = config_.host_id;
  card.process = process_.token();
  card.control = mine.ok() && plan_.nranks > 1 ? address_.text() : "";
  card.transports = own_transports();
  card.cores = Cores::own();
  // The version comes first in the card, whatever follows it in other versions.
  const std::string extra = BytesWriter()
                                .text(card.encode())
                                .raw({reinterpret_cast<const char*>(secret.data()), secret.size()})
                                .take();
  std::vector<std::string> all;
  TUTTI_TRY(agree("starting", mine, extra, &all));
  if (!meeting_.spent_secret.empty()) unlink(meeting_.spent_secret.c_str());
  std::string everything;
  for (const std::string& piece : all) {
    BytesReader in(piece);
    cards_.push_back(RankCard::decode(in.text()));
    if (cards_.size() == 1) {
      const std::string_view first = in.raw(secret.size());
      std::copy(first.begin(), first.end(), secret.begin());
    }
    everything += piece;
  }
  const Status agreed = check_agreement(cards_);
  if (!agreed.ok()) return error(agreed.code(), "%s: %s", who().c_str(), agreed.text().c_str());
  world_.id = hash64(everything.data(), everything.size());
  world_.rank = plan_.rank;
  world_.secret = meeting_.secret.value_or(secret);
  return choose_transports();
}

Status WorldMaker::choose_transports() {
  const bool together = in_one_process();
  if (config_.transport == "auto" && together) {
    candidates_ = {"inproc"};
  } else {
    TUTTI_TRY(find_candidates());
  }
  if (candidates_[0] == "inproc" && !together) {
    return error(Code::kUnsupported,
                 "%s: transport inproc joins ranks of one process, and these are in several",
                 who().c_str());
  }
  for (size_t r = 0; r < cards_.size() && !together; ++r) {
    Result<SocketAddress> control = SocketAddress::parse(cards_[r].control);
    if (!control.ok()) return control.status();
    if (control.value().is_loopback() &&
        cards_[r].boot != cards_[static_cast<size_t>(plan_.rank)].boot) {
      return error(Code::kSystemError,
                   "%s: rank %zu (%s) listens on %s, which is not reachable from %s: set "
                   "TUTTI_SOCKET_IFNAME there",
                   who().c_str(), r, cards_[r].host.c_str(), cards_[r].control.c_str(),
                   host_name().c_str());
    }
    world_.control.push_back(control.value());
  }
  return Status();
}

Status WorldMaker::find_candidates() {
  Result<std::vector<std::string>> common = common_transports(cards_);
  if (!common.ok()) {
    return error(common.status().code(), "%s: %s", who().c_str(), common.status().text().c_str());
  }
  candidates_ = std::move(common.value());
  const Status one_host = check_one_host(cards_);
  if (one_host.ok()) return Status();
  if (candidates_[0] != "shm") return Status();
  candidates_.erase(candidates_.begin());
  if (candidates_.empty()) {
    return error(Code::kUnsupported, "%s: no transport is left but shm, and %s", who().c_str(),
                 one_host.text().c_str());
  }
  // Several hosts are nothing to talk about; a host in parts may be somebody's mistake.
  const bool parts = std::all_of(cards_.begin(), cards_.end(), [this](const RankCard& card) {
    return card.boot == cards_.front().boot;
  });
  if (parts && plan_.rank == 0) {
    process_.log().warn("%s: not over shm: %s", who().c_str(), one_host.text().c_str());
  }
  return Status();
}

// The first candidate over which all ranks reach each other: processes of one host may be kept
// apart by name spaces, which shows only when they try.
Status WorldMaker::open_transport() {
  if (!in_one_process()) join();
  for (size_t i = 0;; ++i) {
    transport_name_ = candidates_[i];
    Status status = exchange_addresses();
    if (status.ok()) status = connect();
    if (status.ok() || !heard_ || i + 1 == candidates_.size()) return status;
    process_.log().warn("%s: not over %s, next is %s: %s", who().c_str(), transport_name_.c_str(),
                        candidates_[i + 1].c_str(), status.text().c_str());
    transport_.reset();
    addresses_.clear();
  }
}

// From now on others may ask for this rank. It leaves the job when its last communicator goes.
void WorldMaker::join() {
  ControlPlane& plane = process_.control_plane();
  joined_ = std::shared_ptr<const World>(new World(world_), [&plane](const World* world) {
    plane.exit(*world);
    delete world;
  });
  plane.enter(joined_);
}

// A round in which every rank says whether it is well so far, and gives `extra`.
Status WorldMaker::agree(const char* step, const Status& mine, std::string_view extra,
                         std::vector<std::string>* all) {
  const std::string piece =
      BytesWriter().number(static_cast<uint32_t>(mine.code())).text(mine.text()).raw(extra).take();
  Result<std::vector<std::string>> got = meeting_.exchange->all_gather(piece, patience_);
  heard_ = got.ok();
  TUTTI_TRY(mine);
  if (!got.ok()) return got.status();
  for (size_t r = 0; r < got.value().size(); ++r) {
    BytesReader in(got.value()[r]);
    const auto code = in.number<uint32_t>();
    const std::string text(in.text());
    if (!in.ok() || code != 0) {
      return error(Code::kRemoteError, "%s: rank %zu failed while %s: %s", who().c_str(), r, step,
                   text.c_str());
    }
    all->push_back(got.value()[r].substr(2 * sizeof(uint32_t) + text.size()));
  }
  return Status();
}

Status WorldMaker::exchange_addresses() {
  TransportContext context;
  context.domain = process_.domain();
  context.number = plan_.rank;
  context.nranks = plan_.nranks;
  context.crowded = host_share(cards_, plan_.rank).crowded();
  context.secret = world_.secret;
  context.regions = process_.regions();
  context.blocks = process_.blocks();
  context.buffer_cap = config_.buffer_cap;
  context.patience = patience_;
  context.log = process_.log();
  if (plan_.nranks > 1) context.host = address_.host();
  Result<std::unique_ptr<Transport>> made = make_transport(transport_name_, context);
  Status mine = made.status();
  if (made.ok()) transport_ = std::move(made.value());
  if (mine.ok() && patience_.abort != nullptr) {
    mine = check_any_thread(*transport_, who(), kNonBlockingCreation);
  }
  return agree("opening its transport", mine, transport_ ? transport_->address() : "", &addresses_);
}

Status WorldMaker::connect() {
  Status mine;
  // All of them, whatever happens: others wait for this rank.
  for (int r = 0; r < plan_.nranks; ++r) {
    if (r == plan_.rank) continue;
    const Status connected = transport_->connect(r, addresses_[static_cast<size_t>(r)]);
    if (mine.ok()) mine = connected;
  }
  if (mine.ok()) mine = transport_->settle();
  std::vector<std::string> all;
  return agree("connecting", mine, "", &all);
}

Result<std::unique_ptr<Communicator>> WorldMaker::assemble() {
  CommunicatorParts parts;
  parts.id = world_.id;
  parts.rank = plan_.rank;
  for (int r = 0; r < plan_.nranks; ++r) parts.peers.push_back(r);
  parts.host = host_share(cards_, plan_.rank);
  parts.machine = machine_class(any_host_crowded(cards_));
  parts.transport = transport_;
  parts.open = std::make_shared<std::atomic<int>>(0);
  parts.config = config_;
  parts.name = name_;
  parts.device = &process_.device();
  parts.cache_bytes = process_.cache_bytes();
  parts.log = process_.log();
  if (in_one_process()) {
    parts.control = std::make_unique<InprocControl>(
        process_.meetings().join(world_.id, plan_.nranks, true), plan_.rank);
  } else {
    parts.world = joined_;
    parts.control = std::make_unique<NetControl>(
        process_.control_plane(),
        Membership{world_.id, plan_.rank, parts.peers, nullptr, parts.world});
  }
  process_.log().info("%s: joined over %s", who().c_str(), transport_name_.c_str());
  return Communicator::create(std::move(parts));
}

}  // namespace

Result<std::unique_ptr<Communicator>> make_world(Process& process, const WorldPlan& plan,
                                                 const Config& config, const std::string& name,
                                                 const std::atomic<bool>* abort) {
  Patience patience;
  if (config.timeout_ns != kTimeoutNever) patience.deadline = Deadline::after_ns(config.timeout_ns);
  patience.abort = abort;
  return WorldMaker(process, plan, config, name, patience).make();
}

WorldCreation::WorldCreation(Process& process, WorldPlan plan, Config config, std::string name)
    : Creation(process, nullptr, std::move(config), std::move(name)) {
  Status started = start_thread(&thread_, "joining", [this, plan = std::move(plan)] {
    try {
      Result<std::unique_ptr<Communicator>> made =
          make_world(process_, plan, config_, name_, &abort_requested_);
      thread_result_ = made.status();
      if (made.ok()) thread_made_ = std::move(made.value());
    } catch (const std::bad_alloc&) {
      // What it allocates grows with the number of ranks, which may be anything.
      thread_result_ = error(Code::kOutOfMemory, "rank %d of %d: out of memory while joining",
                             plan.rank, plan.nranks);
    }
    done_.store(true, std::memory_order_release);
  });
  if (started.ok()) return;
  thread_result_ = std::move(started);
  done_.store(true, std::memory_order_release);
}

WorldCreation::~WorldCreation() {
  abort_requested_.store(true, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
}

bool WorldCreation::advance() {
  if (!done_.load(std::memory_order_acquire)) return false;
  result_ = thread_result_;
  made_ = std::move(thread_made_);
  return true;
}

}  // namespace tutti
