#include "comm/runtime/sequencer.h"

namespace tutti {

Operation::Progress step(Operation& operation) {
  if (!operation.begun) {
    if (operation.ticket && !operation.ticket->ready()) return Operation::Progress::kBlocked;
    operation.begun = true;
    operation.result = operation.begin();
    if (!operation.result.ok()) return Operation::Progress::kFailed;
  }
  return operation.advance();
}

void Sequencer::push(const Order& order, Entry entry) {
  orders_[order].push_back(std::move(entry));
  ++pending_;
}

void Sequencer::push(const Order& order, Operation* operation) {
  push(order, Entry{operation, {}});
}

void Sequencer::push(const Order& order, std::unique_ptr<Operation> operation) {
  Operation* raw = operation.get();
  push(order, Entry{raw, std::move(operation)});
}

Operation* Sequencer::advance() {
  for (auto it = orders_.begin(); it != orders_.end();) {
    std::deque<Entry>& queue = it->second;
    while (!queue.empty()) {
      Operation& head = *queue.front().operation;
      const Operation::Progress progress = step(head);
      if (progress == Operation::Progress::kFailed) return &head;
      if (progress == Operation::Progress::kBlocked) break;
      // Once it says finished, an operation that is not ours may be gone.
      Entry entry = std::move(queue.front());
      queue.pop_front();
      --pending_;
      entry.operation->finish(entry.operation->outcome());
    }
    it = queue.empty() ? orders_.erase(it) : std::next(it);
  }
  return nullptr;
}

void Sequencer::cancel(const Status& status) {
  std::map<Order, std::deque<Entry>> all;
  all.swap(orders_);
  pending_ = 0;
  for (auto& [order, queue] : all) {
    for (Entry& entry : queue) entry.operation->finish(status);
  }
}

}  // namespace tutti
