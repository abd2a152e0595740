#include "transports/gloo/gloo.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "comm/base/thread.h"
#include "transports/gloo/address.h"
#include "transports/gloo/channel.h"

namespace tutti {
namespace {

constexpr size_t kAlignment = 64;
constexpr int kMaxParts = 1024;
constexpr size_t kMaxMessageBytes = (size_t{1} << 56) - 1;
constexpr int64_t kGoodbyeNs = 2'000'000'000;
// A Gloo wait that times out closes every pair of its context, at both ends, so none may: deadlines
// are ours, above the seam. Not milliseconds::max, to which Gloo adds the current time.
constexpr std::chrono::milliseconds kForever = std::chrono::hours(24 * 365);

// How often the links are looked after without the application, while there is traffic and while
// there is none (Gloo's own thread wakes every 10 ms too).
constexpr int64_t kTendNs = 1'000'000;
constexpr int64_t kTendIdleNs = 10'000'000;
constexpr int kTendLong = 20;  // looks that find no traffic before it is seldom

// No spinning: bytes arrive through a thread of Gloo's that needs a core to run on. With two ranks
// on two cores half a round trip of 8 bytes took 14 us yielding at once, 58 us after 1000 spins.
// With 30 / 100 / 300 / 1000 / 4000 yields an all_reduce of 2 MiB took 1.31 / 1.02 / 0.65 / 0.78 /
// 0.90 ms, one of 8 bytes 41 / 21 / 25 / 23 / 26 us.
constexpr WaitRungs kRungs = {0, 1000};

Capabilities make_capabilities() {
  Capabilities c;
  c.slots = kWindow;
  c.max_message_bytes = kMaxMessageBytes;
  c.max_parts = kMaxParts;
  c.view = false;
  c.place = false;
  c.rungs = kRungs;
  return c;
}

}  // namespace

GlooTransport::GlooTransport(const TransportContext& context)
    : number_(context.number), nranks_(context.nranks), capabilities_(make_capabilities()) {}

Result<std::unique_ptr<Transport>> GlooTransport::create(const TransportContext& context) {
  if (context.nranks < 1 || context.number < 0 || context.number >= context.nranks) {
    return error(Code::kInvalidArgument, "transport gloo: %d is no number of %d endpoints",
                 context.number, context.nranks);
  }
  std::unique_ptr<GlooTransport> transport(new GlooTransport(context));
  TUTTI_TRY(transport->open_pairs(context.host.empty() ? "127.0.0.1" : context.host));
  return std::unique_ptr<Transport>(std::move(transport));
}

Status GlooTransport::open_pairs(const std::string& host) {
  Status made = check_host(host);
  // What the constructor of the device starts inherits the mask.
  if (made.ok()) {
    made = gloo_send([&] {
      device_ = gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr(host.c_str()));
      for (auto& context : contexts_) {
        context = device_->createContext(number_, nranks_);
        context->setTimeout(kForever);
      }
    });
  }
  if (!made.ok()) {
    return error(made.code(), "gloo %d: cannot use host \"%s\": %s", number_, host.c_str(),
                 made.text().c_str());
  }
  links_.resize(static_cast<size_t>(nranks_));
  std::vector<PairAddresses> addresses(links_.size());
  for (int peer = 0; peer < nranks_; ++peer) {
    if (peer == number_) continue;
    const auto i = static_cast<size_t>(peer);
    std::array<GlooPair*, kPairs> pairs = {};
    Status opened = gloo_try(Code::kSystemError, [&] {
      for (size_t k = 0; k < kPairs; ++k) pairs[k] = contexts_[k]->createPair(peer).get();
    });
    if (opened.ok()) {
      links_[i] = std::make_shared<Link>(number_, peer);
      opened = links_[i]->open_pairs(pairs);
    }
    if (!opened.ok()) {
      return error(opened.code(), "gloo %d: cannot listen on \"%s\" for peer %d: %s", number_,
                   host.c_str(), peer, opened.text().c_str());
    }
    addresses[i] = links_[i]->addresses();
  }
  address_ = encode_address(number_, addresses);
  return Status();
}

GlooTransport::~GlooTransport() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  say_bye();
  close_pairs();
  stop_threads();
  for (const auto& link : links_) {
    if (link) link->shut();
  }
}

// What Gloo does to all pairs of a context when one of its waits times out is what is wanted here:
// everybody who waits for them wakes, and connections are closed in good order. Pair::close would
// reset them, and a peer whose device thread has not yet accepted one does not survive that.
void GlooTransport::close_pairs() {
  for (const auto& context : contexts_) {
    char word = 0;
    if (!context) continue;
    (void)gloo_send(
        [&] { context->createUnboundBuffer(&word, 1)->waitRecv(std::chrono::milliseconds(1)); });
  }
}

Result<Link*> GlooTransport::link_to(int peer) const {
  if (peer < 0 || peer >= nranks_ || peer == number_) {
    return error(Code::kInvalidArgument, "gloo %d: %d is no peer of this endpoint, one of %d",
                 number_, peer, nranks_);
  }
  return links_[static_cast<size_t>(peer)].get();
}

Status GlooTransport::connect(int peer, std::string_view address) {
  const Result<Link*> link = link_to(peer);
  TUTTI_TRY(link.status());
  const Result<PairAddresses> theirs =
      decode_address(address, peer, number_, nranks_, link.value()->addresses());
  TUTTI_TRY(theirs.status());
  const Result<bool> connects = link.value()->set_peer(theirs.value());
  TUTTI_TRY(connects.status());
  if (connects.value()) TUTTI_TRY(start_connecting(link.value()));
  MutexLock lock(mutex_);
  if (stopping_ || tending_.joinable()) return Status();
  return start_thread(&tending_, "the links of gloo", [this] { tend_links(); });
}

void GlooTransport::tend_links() {
  uint64_t seen = 0;
  int quiet = 0;
  for (;;) {
    uint64_t moved = 0;
    for (const auto& link : links_) {
      if (link) moved += link->progress();
    }
    quiet = moved == seen ? std::min(quiet + 1, kTendLong) : 0;
    seen = moved;
    MutexLock lock(mutex_);
    if (stopping_) return;
    stop_.wait(mutex_, Deadline::after_ns(quiet < kTendLong ? kTendNs : kTendIdleNs));
    if (stopping_) return;
  }
}

// Gloo's connect() waits for the kernel, which may wait for a host that is not there.
Status GlooTransport::start_connecting(Link* link) {
  MutexLock lock(mutex_);
  if (stopping_) return Status();
  to_connect_.push_back(link);
  if (connecting_runs_) return Status();
  if (connecting_.joinable()) connecting_.join();  // it has nothing left to do
  Status started = start_thread(&connecting_, "connecting", [this] { run_connects(); });
  connecting_runs_ = started.ok();
  return started;
}

void GlooTransport::run_connects() {
  for (;;) {
    Link* link = nullptr;
    {
      MutexLock lock(mutex_);
      if (stopping_ || to_connect_.empty()) {
        connecting_runs_ = false;
        return;
      }
      link = to_connect_.front();
      to_connect_.erase(to_connect_.begin());
    }
    link->run_connects();
  }
}

void GlooTransport::stop_threads() {
  std::thread connecting;
  std::thread tending;
  {
    MutexLock lock(mutex_);
    stop_.notify_all();
    connecting.swap(connecting_);
    tending.swap(tending_);
  }
  if (connecting.joinable()) connecting.join();
  if (tending.joinable()) tending.join();
}

// A rank that sends and leaves is heard: a connection that is closed takes along what the peer has
// not read, as soon as the peer writes to it. Peers answer without their applications (tend_links).
void GlooTransport::say_bye() {
  const Deadline deadline = Deadline::after_ns(kGoodbyeNs);
  WaitLadder ladder(WaitRungs{0, 100});
  for (;;) {
    bool heard = true;
    for (const auto& link : links_) heard = (!link || link->bye()) && heard;
    if (heard || (ladder.tick() && deadline.expired(now_ns()))) return;
  }
}

Result<std::unique_ptr<SendChannel>> GlooTransport::open_send(const ChannelKey& key) {
  const Result<Link*> link = link_to(key.peer);
  TUTTI_TRY(link.status());
  const Result<SendState*> state = link.value()->open_send(key);
  TUTTI_TRY(state.status());
  return std::unique_ptr<SendChannel>(
      std::make_unique<GlooSendChannel>(links_[static_cast<size_t>(key.peer)], state.value()));
}

Result<std::unique_ptr<RecvChannel>> GlooTransport::open_recv(const ChannelKey& key) {
  const Result<Link*> link = link_to(key.peer);
  TUTTI_TRY(link.status());
  const Result<RecvState*> state = link.value()->open_recv(key);
  TUTTI_TRY(state.status());
  return std::unique_ptr<RecvChannel>(
      std::make_unique<GlooRecvChannel>(links_[static_cast<size_t>(key.peer)], state.value()));
}

Result<void*> GlooTransport::alloc(size_t bytes) {
  if (bytes > SIZE_MAX - kAlignment) {
    return error(Code::kInvalidArgument, "gloo %d: cannot allocate %zu bytes", number_, bytes);
  }
  const size_t rounded = std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  void* base = std::aligned_alloc(kAlignment, rounded);
  if (base == nullptr) {
    return error(Code::kOutOfMemory, "gloo %d: cannot allocate %zu bytes", number_, bytes);
  }
  return base;
}

void GlooTransport::free(void* base) { std::free(base); }

void GlooTransport::progress() {
  for (const auto& link : links_) {
    if (link) link->progress();
  }
}

void GlooTransport::abort(uint64_t comm) {
  uint32_t epoch = 0;
  for (const auto& link : links_) {
    if (link) epoch = std::max(epoch, link->highest_epoch(comm));
  }
  for (const auto& link : links_) {
    if (link) link->abort(comm, epoch);
  }
}

}  // namespace tutti
