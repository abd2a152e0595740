#include "comm/runtime/streams.h"

#include <algorithm>
#include <utility>

namespace tutti {

class Ticket final : public StreamTicket {
 public:
  Ticket(Streams& streams, void* stream, tutti_event* event, uint64_t value)
      : streams_(streams), stream_(stream), event_(event), value_(value) {}
  // An operation that never ran must not hold up the stream.
  ~Ticket() override {
    if (!finished_) close(Status());
    (void)streams_.device_.destroy_event(event_);
  }
  bool ready() override {
    const Result<bool> done = streams_.device_.is_done(event_);
    return !done.ok() || done.value();  // a device that fails must not hold the operation back
  }
  void finish(const Status& result) override { close(result); }

 private:
  void close(const Status& result) {
    finished_ = true;
    streams_.ended(stream_, value_, result);
  }
  Streams& streams_;
  void* const stream_;
  tutti_event* const event_;
  const uint64_t value_;
  bool finished_ = false;
};

Streams::~Streams() {
  MutexLock lock(mutex_);
  for (auto& [stream, entry] : entries_) {
    (void)device_.destroy_gate(entry.gate);
    (void)device_.destroy_stream(stream);
  }
}

Result<void*> Streams::create() {
  Result<void*> stream = device_.create_stream();
  if (!stream.ok()) return stream;
  Result<tutti_gate*> gate = device_.create_gate();
  if (!gate.ok()) {
    (void)device_.destroy_stream(stream.value());
    return gate.status();
  }
  MutexLock lock(mutex_);
  Entry& entry = entries_[stream.value()];
  entry.gate = gate.value();
  // Another one may have had this address.
  entry.next_value = entry.open = entry.known = last_value_;
  return stream;
}

Status Streams::check(void* stream) const {
  MutexLock lock(mutex_);
  if (entries_.find(stream) != entries_.end()) return Status();
  return error(Code::kInvalidArgument, "stream: %p is not a stream of tuttiStreamCreate", stream);
}

Status Streams::destroy(void* stream) {
  TUTTI_TRY(check(stream));
  MutexLock lock(mutex_);
  const auto found = entries_.find(stream);
  if (found->second.pending > 0) {
    return error(Code::kInvalidUsage,
                 "tuttiStreamDestroy: %zu operations are pending: synchronise first",
                 found->second.pending);
  }
  (void)device_.destroy_gate(found->second.gate);
  Status status = device_.destroy_stream(stream);
  last_value_ = std::max(last_value_, found->second.next_value);
  entries_.erase(found);
  return status;
}

Result<std::unique_ptr<StreamTicket>> Streams::ticket(void* stream) {
  TUTTI_TRY(check(stream));
  Result<tutti_event*> event = device_.create_event();
  if (!event.ok()) return event.status();
  MutexLock lock(mutex_);
  Entry& entry = entries_[stream];
  Status status = device_.record(event.value(), stream);
  if (status.ok()) {
    status = device_.wait_gate(stream, entry.gate, entry.next_value + 1);
  }
  if (!status.ok()) {
    (void)device_.destroy_event(event.value());
    return status;
  }
  ++entry.next_value;
  ++entry.pending;
  std::unique_ptr<StreamTicket> ticket =
      std::make_unique<Ticket>(*this, stream, event.value(), entry.next_value);
  return ticket;
}

namespace {

// When a stream has come to a point; what happens then is no concern of the stream's.
class Start final : public StreamTicket {
 public:
  Start(const Device& device, tutti_event* event) : device_(device), event_(event) {}
  ~Start() override { (void)device_.destroy_event(event_); }
  bool ready() override {
    const Result<bool> done = device_.is_done(event_);
    return !done.ok() || done.value();
  }
  void finish(const Status& /*result*/) override {}

 private:
  const Device& device_;
  tutti_event* const event_;
};

}  // namespace

Result<std::unique_ptr<StreamTicket>> Streams::start(void* stream) {
  TUTTI_TRY(check(stream));
  Result<tutti_event*> event = device_.create_event();
  if (!event.ok()) return event.status();
  std::unique_ptr<StreamTicket> start = std::make_unique<Start>(device_, event.value());
  TUTTI_TRY(device_.record(event.value(), stream));
  return start;
}

uint64_t Streams::position(void* stream) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(stream);
  return found == entries_.end() ? 0 : found->second.next_value;
}

bool Streams::is_known_over(void* stream, uint64_t position) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(stream);
  return found == entries_.end() || found->second.known >= position;
}

// The gate opens in any case: an error is for the communicator and for the next synchronise, and
// must not leave the stream stuck. Operations of one stream end in order, because each one's event
// lies behind the gate of the one before; but for those that never ran, and the gate must not open
// for them while one before them still runs.
void Streams::ended(void* stream, uint64_t value, const Status& result) {
  tutti_gate* gate = nullptr;
  uint64_t reached = 0;
  {
    MutexLock lock(mutex_);
    Entry& entry = entries_[stream];
    if (!result.ok() && entry.first_error.ok()) entry.first_error = result;
    gate = entry.gate;
    entry.early.insert(value);
    while (!entry.early.empty() && *entry.early.begin() == entry.open + 1) {
      ++entry.open;
      entry.early.erase(entry.early.begin());
    }
    reached = entry.open;
  }
  (void)device_.set_gate(gate, reached);
  MutexLock lock(mutex_);
  --entries_[stream].pending;
}

size_t Streams::pending(void* stream) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(stream);
  return found == entries_.end() ? 0 : found->second.pending;
}

Status Streams::finish(void* stream) {
  TUTTI_TRY(device_.sync(stream));
  MutexLock lock(mutex_);
  Entry& entry = entries_[stream];
  entry.known = entry.open;
  return std::exchange(entry.first_error, Status());
}

Status Streams::query(void* stream) {
  TUTTI_TRY(check(stream));
  MutexLock lock(mutex_);
  Entry& entry = entries_.find(stream)->second;
  if (!entry.first_error.ok()) return entry.first_error;
  if (entry.pending > 0) return Status(Code::kInProgress, "operations are pending on the stream");
  entry.known = entry.open;
  return Status();
}

}  // namespace tutti
