#include "comm/bootstrap/rendezvous.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>

#include "comm/base/bytes.h"
#include "comm/base/thread.h"
#include "comm/bootstrap/exchange.h"

namespace tutti {

struct Rendezvous::Guest {
  Guest(Connection c, int r) : connection(std::move(c)), rank(r) {}
  Connection connection;
  int rank;           // -1: refused
  bool open = true;   // not yet closed by either side
  bool last = false;  // to be closed once everything is written
};

Rendezvous::Rendezvous(const Secret& secret, Log log, UniqueFd wake)
    : log_(std::move(log)), wake_(std::move(wake)) {
  keys_.add(secret);
}

Result<std::unique_ptr<Rendezvous>> Rendezvous::open(const std::vector<SocketAddress>& addresses,
                                                     const PortRange& ports, const Secret& secret,
                                                     const Log& log) {
  UniqueFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return error(Code::kSystemError, "eventfd: %s", std::strerror(errno));
  std::unique_ptr<Rendezvous> made(new Rendezvous(secret, log, std::move(wake)));
  Status why = error(Code::kInvalidArgument, "a rendezvous needs an address to listen on");
  for (const SocketAddress& address : addresses) {
    Result<std::unique_ptr<Listener>> listener = Listener::open(address, ports, made->keys_, log);
    if (!listener.ok()) {
      why = listener.status();
      continue;
    }
    made->addresses_.push_back(listener.value()->address());
    made->listeners_.push_back(std::move(listener.value()));
  }
  if (made->listeners_.empty()) return why;
  TUTTI_TRY(start_thread(&made->thread_, "the rendezvous", [raw = made.get()] { raw->run(); }));
  return made;
}

Rendezvous::~Rendezvous() {
  stop_.store(true, std::memory_order_release);
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void Rendezvous::run() {
  // release/acquire on stop_ and ended_: each is all that its reader wants to know.
  while (!stop_.load(std::memory_order_acquire)) {
    wait_for_work();
    for (const std::unique_ptr<Listener>& listener : listeners_) {
      for (Accepted& accepted : listener->poll()) admit(std::move(accepted));
    }
    for (size_t i = 0; i < guests_.size(); ++i) serve(guests_[i].get());
    drop_closed();
    if (round_ > 0 && guests_.empty()) break;
  }
  guests_.clear();
  listeners_.clear();
  ended_.store(true, std::memory_order_release);
}

void Rendezvous::wait_for_work() {
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  for (const std::unique_ptr<Listener>& listener : listeners_) {
    fds.push_back({listener->fd(), POLLIN, 0});
  }
  for (const std::unique_ptr<Guest>& guest : guests_) {
    const int writes = guest->connection.has_unsent() ? POLLOUT : 0;
    fds.push_back({guest->connection.fd(), static_cast<short>(POLLIN | writes), 0});
  }
  poll(fds.data(), fds.size(), 1000);
}

// Who has proved the secret says who it is. What does not fit is told so, and whom it collides
// with.
void Rendezvous::admit(Accepted accepted) {
  BytesReader hello(accepted.hello);
  const std::string_view purpose = hello.text();
  const auto rank = static_cast<int>(hello.number<uint32_t>());
  const auto nranks = static_cast<int>(hello.number<uint32_t>());
  const std::string from = accepted.connection.peer().text();
  const bool sane = hello.at_end() && purpose == "rendezvous" && nranks >= 1 &&
                    nranks <= kMaxRanks && rank >= 0 && rank < nranks;
  if (!sane) {
    log_.warn("rendezvous: %s knows the secret but says nothing sensible", from.c_str());
    return;
  }
  guests_.push_back(std::make_unique<Guest>(std::move(accepted.connection), rank));
  if (nranks_ == 0) {
    nranks_ = nranks;
    pieces_.resize(static_cast<size_t>(nranks));
    came_.resize(static_cast<size_t>(nranks), false);
  }
  if (!failure_.ok()) {
    guests_.back()->rank = -1;
    fail(failure_.code(), failure_.text());
  } else if (nranks != nranks_) {
    guests_.back()->rank = -1;
    fail(Code::kMismatch, "rank " + std::to_string(rank) + " (" + from + ") expects " +
                              std::to_string(nranks) + " ranks, others " + std::to_string(nranks_));
  } else if (came_[static_cast<size_t>(rank)]) {
    guests_.back()->rank = -1;
    fail(Code::kInvalidUsage,
         "two processes say they are rank " + std::to_string(rank) + "; the second is at " + from);
  } else {
    came_[static_cast<size_t>(rank)] = true;
  }
}

void Rendezvous::serve(Guest* guest) {
  const Status filled = guest->connection.fill();
  for (;;) {
    Result<std::optional<Frame>> frame = guest->connection.next();
    if (!frame.ok() || !frame.value().has_value()) break;
    const Status handled = handle(guest, *frame.value());
    if (!handled.ok()) {
      fail(handled.code(), handled.text());
      break;
    }
  }
  const Status flushed = guest->connection.flush();
  if (filled.ok() && flushed.ok() && !(guest->last && !guest->connection.has_unsent())) return;
  guest->open = false;
  // Leaving between rounds is how a rank says that it has what it wants.
  const bool midway = round_ == 0 || awaited().size() < pieces_.size();
  if (failure_.ok() && midway && guest->rank >= 0) fail_for(guest->rank);
}

Status Rendezvous::handle(Guest* guest, const Frame& frame) {
  if (guest->rank < 0) return Status();
  if (frame.type == kMissing) {
    BytesWriter list;
    for (int rank : awaited()) list.number(static_cast<uint32_t>(rank));
    guest->connection.queue(kMissing, list.bytes());
    return Status();
  }
  BytesReader in(frame.payload);
  const auto round = in.number<uint32_t>();
  std::optional<std::string>& piece = pieces_[static_cast<size_t>(guest->rank)];
  if (frame.type != kPiece || !in.ok() || round != round_ || piece.has_value()) {
    return error(Code::kInternalError, "rank %d sent frame %u of round %u, expected round %u",
                 guest->rank, frame.type, round, round_);
  }
  piece = frame.payload.substr(sizeof round);
  const std::vector<int> missing = awaited();
  if (missing.empty()) finish_round();
  for (int rank : missing) {
    const bool here = std::any_of(guests_.begin(), guests_.end(),
                                  [rank](const auto& g) { return g->open && g->rank == rank; });
    if (round_ > 0 && !here) fail_for(rank);
  }
  return Status();
}

void Rendezvous::finish_round() {
  BytesWriter all;
  all.number(round_);
  for (std::optional<std::string>& piece : pieces_) {
    all.text(*piece);
    piece.reset();
  }
  ++round_;
  for (const std::unique_ptr<Guest>& guest : guests_) {
    if (guest->rank < 0) continue;
    guest->connection.queue(kAll, all.bytes());
    (void)guest->connection.flush();
  }
}

std::vector<int> Rendezvous::awaited() const {
  std::vector<int> ranks;
  for (size_t r = 0; r < pieces_.size(); ++r) {
    if (!pieces_[r].has_value()) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

void Rendezvous::fail_for(int rank) {
  fail(Code::kRemoteError, "rank " + std::to_string(rank) + " left while joining the job");
}

void Rendezvous::fail(Code code, const std::string& text) {
  if (failure_.ok()) failure_ = Status(code, text);
  const std::string payload = BytesWriter().number(static_cast<uint32_t>(code)).text(text).take();
  for (const std::unique_ptr<Guest>& guest : guests_) {
    if (guest->last) continue;
    guest->connection.queue(kFailed, payload);
    guest->last = true;
    (void)guest->connection.flush();
  }
}

void Rendezvous::drop_closed() {
  guests_.erase(std::remove_if(guests_.begin(), guests_.end(),
                               [](const std::unique_ptr<Guest>& g) { return !g->open; }),
                guests_.end());
}

}  // namespace tutti
