#include "comm/runtime/point_to_point.h"

#include <utility>

#include "comm/runtime/communicator.h"

namespace tutti {

Result<SendChannel*> PointToPointChannels::send_channel(int peer, uint64_t tag) {
  std::unique_ptr<SendChannel>& channel = sends_[{peer, tag}];
  if (!channel) {
    auto opened = transport_.open_send(
        {comm_id_, 0, Plane::kPointToPoint, peers_[static_cast<size_t>(peer)], tag});
    if (!opened.ok()) return opened.status();
    channel = std::move(opened.value());
  }
  return channel.get();
}

Result<RecvSide*> PointToPointChannels::recv_end(int peer, uint64_t tag) {
  RecvSide& end = recvs_[{peer, tag}];
  if (!end.channel) {
    auto opened = transport_.open_recv(
        {comm_id_, 0, Plane::kPointToPoint, peers_[static_cast<size_t>(peer)], tag});
    if (!opened.ok()) return opened.status();
    end.channel = std::move(opened.value());
  }
  return &end;
}

namespace {

std::string describe_message(const char* what, const PointToPoint& m) {
  std::string text = what;
  text += m.peer == kAnyRank ? " any rank" : " rank " + std::to_string(m.peer);
  if (m.tag != kUntagged) text += " tag " + std::to_string(m.tag);
  return text + " of " + std::to_string(m.count) + ' ' + name_of(m.dtype);
}

Status of_rank(int rank, const Status& health) {
  if (health.ok()) return health;
  return error(health.code(), "rank %d: %s", rank, health.text().c_str());
}

}  // namespace

Operation::Progress SendOperation::advance() {
  if (channel_ == nullptr) {
    if (!posted_) comm_.self_sends(message_.tag).push_back(this);
    posted_ = true;
    return taken_ ? Progress::kDone : Progress::kBlocked;
  }
  if (!posted_) {
    part_ = {message_.buffer, message_.bytes()};
    number_ = channel_->posted();
    const OpHeader header =
        comm_.header(number_, point_to_point_fingerprint(message_.dtype, message_.count));
    posted_ = channel_->post_send(&header, &part_, part_.iov_len > 0 ? 1 : 0);
    if (!posted_) return Progress::kBlocked;
  }
  return channel_->sent() > number_ ? Progress::kDone : Progress::kBlocked;
}

Status SendOperation::health(int* peer) const {
  *peer = message_.peer;
  return channel_ == nullptr ? Status() : of_rank(message_.peer, channel_->health());
}

std::string SendOperation::describe() const { return describe_message("send to", message_); }

std::string RecvOperation::describe() const { return describe_message("receive from", message_); }

Status RecvOperation::health(int* peer) const {
  // Any sender may still come while one of them is alive.
  Status last;
  for (const Candidate& c : candidates_) {
    if (posted_to_ != kAnyRank && posted_to_ != c.peer) continue;
    if (c.end == nullptr) return Status();
    *peer = c.peer;
    last = of_rank(c.peer, c.end->channel->health());
    if (last.ok()) return last;
  }
  return last;
}

Operation::Progress RecvOperation::advance() {
  for (const Candidate& c : candidates_) {
    const Progress progress = take(c);
    if (progress == Progress::kBlocked) continue;
    if (progress == Progress::kDone && source_ != nullptr) *source_ = c.peer;
    return progress;
  }
  return Progress::kBlocked;
}

Operation::Progress RecvOperation::take(const Candidate& c) {
  if (c.end == nullptr) return take_from_self();
  return comm_.transport().capabilities().view ? take_view(c) : take_landed(c);
}

Operation::Progress RecvOperation::take_from_self() {
  std::deque<SendOperation*>& sends = comm_.self_sends(message_.tag);
  if (sends.empty()) return Progress::kBlocked;
  SendOperation* send = sends.front();
  const PointToPoint& m = send->message();
  if (m.count != message_.count || m.dtype != message_.dtype) {
    failure_ = error(Code::kMismatch, "rank %d: %s, but it sent itself %zu %s", comm_.rank(),
                     describe().c_str(), m.count, name_of(m.dtype));
    return Progress::kFailed;
  }
  failure_ = comm_.device().copy(message_.buffer, m.buffer, message_.bytes(), nullptr);
  if (!failure_.ok()) return Progress::kFailed;
  sends.pop_front();
  send->taken();
  return Progress::kDone;
}

Operation::Progress RecvOperation::take_view(const Candidate& c) {
  const Message* message = c.end->channel->view();
  if (message == nullptr) return Progress::kBlocked;
  if (!expected(c, *message)) return Progress::kFailed;
  if (!comm_.gate().enter()) return Progress::kBlocked;
  char* to = static_cast<char*>(message_.buffer);
  if (message->parts == nullptr && message->bytes > 0) {
    failure_ = c.end->channel->fetch(0, to, message->bytes);
  }
  for (int i = 0; i < message->nparts && failure_.ok(); ++i) {
    failure_ =
        comm_.device().copy(to, message->parts[i].iov_base, message->parts[i].iov_len, nullptr);
    to += message->parts[i].iov_len;
  }
  comm_.gate().leave();
  // A message that cannot be fetched is not there: the channel's health tells why.
  if (!failure_.ok() && !c.end->channel->health().ok()) return Progress::kBlocked;
  const bool valid = c.end->channel->release();
  if (!failure_.ok()) return Progress::kFailed;
  return valid ? Progress::kDone : Progress::kBlocked;  // its sender has ended the communicator
}

Operation::Progress RecvOperation::take_landed(const Candidate& c) {
  RecvChannel& channel = *c.end->channel;
  if (posted_to_ == kAnyRank) {
    // A posted receive cannot be taken back, so one from any rank waits until somebody has sent.
    if (c.end->posted || (candidates_.size() > 1 && !channel.has_message())) {
      return Progress::kBlocked;
    }
    part_ = {message_.buffer, message_.bytes()};
    number_ = channel.received();
    channel.post_recv(&part_, part_.iov_len > 0 ? 1 : 0);
    posted_to_ = c.peer;
    c.end->posted = true;
  }
  if (posted_to_ != c.peer || channel.received() <= number_) return Progress::kBlocked;
  c.end->posted = false;
  return expected(c, channel.last()) ? Progress::kDone : Progress::kFailed;
}

bool RecvOperation::expected(const Candidate& c, const Message& message) {
  const uint64_t number =
      c.end->channel->received() - (comm_.transport().capabilities().view ? 0 : 1);
  const OpHeader want =
      comm_.header(number, point_to_point_fingerprint(message_.dtype, message_.count));
  const OpHeader* got = message.header;
  if (got != nullptr && got->comm_epoch == want.comm_epoch && got->sequence == want.sequence &&
      got->fingerprint == want.fingerprint && message.bytes == message_.bytes()) {
    return true;
  }
  const std::string sent = got == nullptr
                               ? std::to_string(message.bytes) + " bytes without a header"
                               : describe_point_to_point(got->fingerprint, message.bytes);
  failure_ =
      error(Code::kMismatch, "rank %d: %s: expected %zu %s, rank %d sent %s", comm_.rank(),
            describe().c_str(), message_.count, name_of(message_.dtype), c.peer, sent.c_str());
  return false;
}

}  // namespace tutti
