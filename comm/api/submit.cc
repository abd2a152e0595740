#include "comm/api/submit.h"

#include <utility>

namespace tutti {

namespace {

// What nobody waits for is advanced by other threads.
Status start_engine(const Entry& entry, const char* what) {
  TUTTI_TRY(entry.comm().check_any_thread(what));
  return process()->engine().start();
}

// Before anything is made.
Status check_stream(const Entry& entry, tuttiStream_t stream) {
  if (stream == nullptr) return Status();
  TUTTI_TRY(process()->streams().check(stream));
  return start_engine(entry, kStreamOperations);
}

// Groups keep the operation; streams hand it to the engine; else this thread runs it to its end.
Status place(const Entry& entry, const Order& order, std::unique_ptr<Operation> operation,
             tuttiStream_t stream) {
  ThreadState& thread = thread_state();
  if (stream != nullptr) {
    Result<std::unique_ptr<StreamTicket>> ticket = process()->streams().ticket(stream);
    if (!ticket.ok()) {
      entry.comm().discard(std::move(operation));
      return ticket.status();
    }
    operation->ticket = std::move(ticket.value());
  }
  if (thread.group_depth > 0) {
    thread.grouped.emplace_back(&entry.handle(), order, std::move(operation), stream == nullptr);
    return Status();
  }
  if (stream != nullptr) {
    entry.comm().enqueue(order, std::move(operation));
    process()->engine().add(&entry.comm());
    return Status();
  }
  entry.comm().enqueue(order, operation.get());
  return entry.comm().wait(*operation);
}

}  // namespace

Status submit(const Entry& entry, CollectiveCall&& call, tuttiStream_t stream) {
  if (stream == nullptr && thread_state().group_depth == 0)
    return entry.comm().run(std::move(call));
  TUTTI_TRY(check_stream(entry, stream));
  Result<std::unique_ptr<Operation>> operation = entry.comm().make(std::move(call));
  if (!operation.ok()) return operation.status();
  return place(entry, Order{}, std::move(operation.value()), stream);
}

Status submit_operation(const Entry& entry, const Order& order,
                        std::unique_ptr<Operation> operation, tuttiStream_t stream) {
  TUTTI_TRY(check_stream(entry, stream));
  return place(entry, order, std::move(operation), stream);
}

Status run_operation(const Entry& entry, const Order& order, Operation& operation,
                     tuttiStream_t stream) {
  TUTTI_TRY(check_stream(entry, stream));
  if (stream != nullptr) {
    Result<std::unique_ptr<StreamTicket>> ticket = process()->streams().ticket(stream);
    if (!ticket.ok()) return ticket.status();
    operation.ticket = std::move(ticket.value());
  }
  entry.comm().enqueue(order, &operation);
  return entry.comm().wait(operation);
}

Status submit_unattended(const Entry& entry, const Order& order,
                         std::unique_ptr<Operation> operation) {
  TUTTI_TRY(start_engine(entry, "send_only operations"));
  ThreadState& thread = thread_state();
  if (thread.group_depth > 0) {
    thread.grouped.emplace_back(&entry.handle(), order, std::move(operation), false);
    return Status();
  }
  Communicator& comm = entry.comm();
  comm.enqueue(order, std::move(operation));
  {
    MutexLock lock(comm.drive_mutex());
    comm.poll();
  }
  process()->engine().add(&comm);
  return Status();
}

Status submit_send(const Entry& entry, const PointToPoint& message, tuttiStream_t stream) {
  TUTTI_TRY(check_stream(entry, stream));
  Result<std::unique_ptr<Operation>> operation = entry.comm().make_send(message);
  if (!operation.ok()) return operation.status();
  return place(entry, {Order::Kind::kSend, message.peer, message.tag}, std::move(operation.value()),
               stream);
}

Status submit_recv(const Entry& entry, const PointToPoint& message, int* source,
                   tuttiStream_t stream) {
  TUTTI_TRY(check_stream(entry, stream));
  Result<std::unique_ptr<Operation>> operation = entry.comm().make_recv(message, source);
  if (!operation.ok()) return operation.status();
  return place(entry, {Order::Kind::kRecv, message.peer, message.tag}, std::move(operation.value()),
               stream);
}

}  // namespace tutti
