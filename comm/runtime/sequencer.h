// Sequencer: the orders of one communicator. Operations of an order run one after another,
// different orders independently: all collectives are one order; sends and receives are one per
// (peer, tag, direction); each expert group is one (its number is the tag). Thread: the holder of
// the communicator's drive mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <tuple>

#include "comm/runtime/operation.h"

namespace tutti {

struct Order {
  enum class Kind : uint8_t { kCollective, kSend, kRecv, kExpert } kind = Kind::kCollective;
  int peer = 0;
  uint64_t tag = 0;
  bool operator<(const Order& other) const {
    return std::tie(kind, peer, tag) < std::tie(other.kind, other.peer, other.tag);
  }
};

class Sequencer {
 public:
  // The operation stays alive until it is finished; an owned one is freed then.
  void push(const Order& order, Operation* operation);
  void push(const Order& order, std::unique_ptr<Operation> operation);

  bool empty() const { return pending_ == 0; }
  bool empty(const Order& order) const { return orders_.find(order) == orders_.end(); }
  size_t pending() const { return pending_; }

  // Advances the head of every order. Ends the operations that are done; stops at the first that
  // failed and returns it (still queued), else null.
  Operation* advance();
  // Calls visit(operation) for the head of each order that has begun.
  template <typename Visit>
  void each_running(Visit visit) {
    for (auto& [order, queue] : orders_) {
      if (queue.front().operation->begun) visit(*queue.front().operation);
    }
  }
  // Ends everything with `status`.
  void cancel(const Status& status);

 private:
  struct Entry {
    Operation* operation;
    std::unique_ptr<Operation> owned;
  };
  void push(const Order& order, Entry entry);
  std::map<Order, std::deque<Entry>> orders_;
  size_t pending_ = 0;
};

// One step of one operation: begins it if its time has come. kBlocked while its stream has not.
Operation::Progress step(Operation& operation);

}  // namespace tutti
