#include "comm/api/in_flight.h"

#include <algorithm>
#include <utility>

namespace tutti {

void Uncompleted::end(const Status& result) {
  std::unique_ptr<StreamTicket> ticket;
  {
    MutexLock lock(mutex_);
    result_ = result;
    ticket = std::move(ticket_);
    state_.store(State::kOver, std::memory_order_release);
  }
  if (ticket) ticket->finish(result);
}

Status Uncompleted::result() const {
  MutexLock lock(mutex_);
  return result_;
}

void Uncompleted::hand_to(std::unique_ptr<StreamTicket> ticket) {
  Status result;
  {
    MutexLock lock(mutex_);
    if (!is_over()) {
      ticket_ = std::move(ticket);
      return;
    }
    result = result_;
  }
  ticket->finish(result);
}

namespace {

// What a send_only operation has in place of a stream that waits for it.
class Promise final : public StreamTicket {
 public:
  Promise(std::shared_ptr<Uncompleted> of, std::unique_ptr<StreamTicket> start)
      : of_(std::move(of)), start_(std::move(start)) {}
  ~Promise() override {
    if (!of_->is_over()) of_->forget();
  }
  bool ready() override { return start_ == nullptr || start_->ready(); }
  void finish(const Status& result) override { of_->end(result); }

 private:
  const std::shared_ptr<Uncompleted> of_;
  const std::unique_ptr<StreamTicket> start_;
};

}  // namespace

// Of groups of calls that were given up.
void InFlight::drop_forgotten() {
  std::erase_if(uncompleted_, [](const auto& one) { return one->is_forgotten(); });
}

Status InFlight::check(const char* function, uint32_t most, const Streams& streams, void* stream) {
  drop_forgotten();
  std::erase_if(streams_, [&](const StreamUse& use) {
    return streams.is_known_over(use.stream, use.position);
  });
  const auto same = [stream](const StreamUse& use) { return use.stream == stream; };
  if (stream != nullptr && std::ranges::any_of(streams_, same)) return Status();
  if (uncompleted_.size() + streams_.size() < most) return Status();
  return error(Code::kInvalidUsage,
               "%s: expected fewer than %u operations of the group under way (max_inflight), got "
               "%zu to be completed and %zu streams to be synchronised",
               function, most, uncompleted_.size(), streams_.size());
}

void InFlight::add_stream(void* stream, const Streams& streams) {
  std::erase_if(streams_, [stream](const StreamUse& use) { return use.stream == stream; });
  streams_.push_back({stream, streams.position(stream)});
}

std::unique_ptr<StreamTicket> InFlight::add(tuttiEpHandle_t handle, tuttiEpOp_t kind,
                                            std::unique_ptr<StreamTicket> start) {
  uncompleted_.push_back(std::make_shared<Uncompleted>(handle, kind));
  return std::make_unique<Promise>(uncompleted_.back(), std::move(start));
}

std::shared_ptr<Uncompleted> InFlight::oldest(tuttiEpHandle_t handle, tuttiEpOp_t kind) {
  drop_forgotten();
  for (const std::shared_ptr<Uncompleted>& one : uncompleted_) {
    if (one->handle == handle && one->kind == kind) return one;
  }
  return nullptr;
}

void InFlight::remove(const std::shared_ptr<Uncompleted>& one) { std::erase(uncompleted_, one); }

size_t InFlight::uncompleted_of(tuttiEpHandle_t handle) {
  drop_forgotten();
  return static_cast<size_t>(std::ranges::count_if(
      uncompleted_, [handle](const auto& one) { return one->handle == handle; }));
}

}  // namespace tutti
