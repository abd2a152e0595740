// The thread of the control plane: accepts, dials, reads, answers.
#include <algorithm>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include "comm/base/clock.h"
#include "comm/runtime/control_plane_links.h"

namespace tutti {
namespace {

constexpr size_t kMaxEarly = 4096;  // messages for communicators not made yet, per world

}  // namespace

void ControlPlane::run() {
  for (;;) {
    wait_for_work();
    MutexLock lock(mutex_);
    if (stopping_) return;
    for (size_t i = 0; i < listeners_.size(); ++i) {
      for (Accepted& accepted : listeners_[i]->poll()) accept(std::move(accepted));
    }
    for (size_t i = 0; i < links_.size(); ++i) go_on(links_[i].get());
    links_.erase(std::remove_if(links_.begin(), links_.end(),
                                [](const std::unique_ptr<Link>& link) { return link->closed; }),
                 links_.end());
    answered_.notify_all();  // stop() waits for words to be said
  }
}

void ControlPlane::wait_for_work() {
  std::vector<pollfd> fds = {{wake_.get(), POLLIN, 0}};
  bool dialling = false;
  {
    MutexLock lock(mutex_);
    for (const std::unique_ptr<Listener>& listener : listeners_) {
      fds.push_back({listener->fd(), POLLIN, 0});
    }
    for (const std::unique_ptr<Link>& link : links_) {
      dialling = dialling || link->dial != nullptr;
      if (link->dial != nullptr) {
        fds.push_back({link->dial->fd(), link->dial->events(), 0});
      } else {
        const int writes = link->connection->has_unsent() ? POLLOUT : 0;
        fds.push_back({link->connection->fd(), static_cast<short>(POLLIN | writes), 0});
      }
    }
    // Handshakes have deadlines that somebody has to look at.
    for (const std::unique_ptr<Listener>& listener : listeners_) {
      dialling = dialling || listener->half_open() > 0;
    }
  }
  poll(fds.data(), fds.size(), dialling ? 500 : -1);
  uint64_t count;
  (void)!read(wake_.get(), &count, sizeof count);
}

void ControlPlane::accept(Accepted accepted) {
  Result<ControlHello> hello = ControlHello::decode(accepted.hello);
  if (!hello.ok() || worlds_.count({hello.value().world, hello.value().to}) == 0) {
    log_.debug("control plane: %s asks for a rank that is not here",
               accepted.connection.peer().text().c_str());
    return;
  }
  auto link = std::make_unique<Link>();
  link->world = hello.value().world;
  link->self = hello.value().to;
  link->peer = hello.value().from;
  link->connection = std::make_unique<Connection>(std::move(accepted.connection));
  links_.push_back(std::move(link));
}

void ControlPlane::go_on(Link* link) {
  if (link->closed) return;
  if (link->dial != nullptr) dial_on(link);
  if (link->connection == nullptr || link->closed) return;
  const Status filled = link->connection->fill();
  for (;;) {
    Result<std::optional<Frame>> frame = link->connection->next();
    if (!frame.ok()) return close(link, frame.status().text());
    if (!frame.value().has_value()) break;
    Result<ControlMessage> message = decode_control(frame.value()->type, frame.value()->payload);
    if (!message.ok()) return close(link, message.status().text());
    handle(link, message.value());
  }
  if (!filled.ok()) return close(link, "its process has ended, or has left the job");
  const Status flushed = link->connection->flush();
  if (!flushed.ok()) close(link, "its process has ended, or has left the job");
}

void ControlPlane::dial_on(Link* link) {
  Result<std::optional<Connection>> made = link->dial->step();
  if (!made.ok()) return close(link, "its process cannot be reached: " + made.status().text());
  if (!made.value().has_value()) {
    if (now_ns() > link->give_up_ns) close(link, "its process does not answer");
    return;
  }
  link->connection = std::make_unique<Connection>(std::move(*made.value()));
  link->dial.reset();
  FrameReader waiting;
  waiting.feed(std::exchange(link->waiting, {}));
  for (Result<std::optional<Frame>> frame = waiting.next(); frame.ok() && frame.value();
       frame = waiting.next()) {
    link->connection->queue(frame.value()->type, frame.value()->payload);
  }
}

// A rank whose last link breaks is gone from every communicator it shares with this one. While
// there is another one, what it said there may not have been read yet.
void ControlPlane::close(Link* link, const std::string& why) {
  link->closed = true;
  const bool last = std::none_of(links_.begin(), links_.end(), [&](const auto& other) {
    return other->is_of(link->world, link->self, link->peer);
  });
  for (auto& [key, seat] : seats_) {
    const bool shared = std::get<0>(key) == link->world && std::get<1>(key) == link->self;
    if (!last || !shared) continue;
    const int rank = seat.rank_of(link->peer);
    if (rank >= 0) seat.m.board->set_left(rank, why);
  }
  for (auto& [question, missing] : awaited_) {
    (void)missing;
    count_answer(question, link->peer);
  }
}

void ControlPlane::count_answer(uint64_t question, int from) {
  const auto at = awaited_.find(question);
  if (at == awaited_.end()) return;
  std::vector<int>& missing = at->second;
  missing.erase(std::remove(missing.begin(), missing.end(), from), missing.end());
  if (missing.empty()) answered_.notify_all();
}

void ControlPlane::handle(Link* link, const ControlMessage& message) {
  if (message.type == ControlMessage::kAsk) return answer(link, message);
  if (message.type == ControlMessage::kState) count_answer(message.question, link->peer);
  const auto seat = seats_.find({link->world, link->self, message.comm});
  if (seat != seats_.end()) return learn(seat->second, link->peer, message);
  const auto state = worlds_.find({link->world, link->self});
  const bool ended = state == worlds_.end() || state->second.ended.count(message.comm) != 0;
  if (ended || message.type == ControlMessage::kState) return;
  if (state->second.early.size() < kMaxEarly) {
    state->second.early.emplace_back(link->peer, message);
  }
}

void ControlPlane::answer(Link* link, const ControlMessage& question) {
  ControlMessage state;
  state.type = ControlMessage::kState;
  state.comm = question.comm;
  state.question = question.question;
  std::optional<Failure> failure;
  const auto seat = seats_.find({link->world, link->self, question.comm});
  if (seat != seats_.end()) {
    const Membership& m = seat->second.m;
    state.presence = ControlMessage::Presence::kThere;
    const std::optional<CallRecord> last = m.board->last_call_of(m.rank);
    const uint64_t end = last.has_value() ? last->sequence + 1 : 0;
    for (uint64_t s = end > Board::kRemembered ? end - Board::kRemembered : 0; s < end; ++s) {
      const std::optional<CallRecord> call = m.board->call_of(m.rank, s);
      if (call.has_value()) state.calls.push_back(*call);
    }
    failure = m.board->failure();
  } else if (const auto world = worlds_.find({link->world, link->self}); world != worlds_.end()) {
    const auto ended = world->second.ended.find(question.comm);
    if (ended != world->second.ended.end()) {
      state.presence = ControlMessage::Presence::kLeft;
      failure = ended->second;
    }
  }
  if (failure.has_value()) state.set_failure(*failure);
  link->connection->queue(state.type, state.encode());
}

// Writes on the board what `from` (a rank of the world) has said.
void ControlPlane::learn(const Seat& seat, int from, const ControlMessage& message) {
  const int rank = seat.rank_of(from);
  if (rank < 0) return;
  Board& board = *seat.m.board;
  const bool there = message.type == ControlMessage::kPresent ||
                     message.presence == ControlMessage::Presence::kThere;
  if (there) board.set_present(rank);
  for (const CallRecord& call : message.calls) board.record(rank, call);
  const bool failed = message.type == ControlMessage::kFailure || message.code != Code::kOk;
  if (failed && message.rank < board.nranks()) {
    (void)board.fail({message.rank, message.code, message.text});
  }
  // After its failure: nothing more is expected of a rank that has left.
  if (message.type == ControlMessage::kLeft ||
      message.presence == ControlMessage::Presence::kLeft) {
    board.set_left(rank, "it destroyed its communicator");
  }
}

}  // namespace tutti
