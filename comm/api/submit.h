// From a validated call to its place: a group's list, the communicator's queue, or run on the spot.
#pragma once

#include "comm/api/state.h"

namespace tutti {

Status submit(const Entry& entry, CollectiveCall&& call, tuttiStream_t stream);
Status submit_send(const Entry& entry, const PointToPoint& message, tuttiStream_t stream);
Status submit_recv(const Entry& entry, const PointToPoint& message, int* source,
                   tuttiStream_t stream);

// Any other operation of the communicator, already made.
Status submit_operation(const Entry& entry, const Order& order,
                        std::unique_ptr<Operation> operation, tuttiStream_t stream);
// Waits for its end, whatever the stream; it begins after what that holds already.
Status run_operation(const Entry& entry, const Order& order, Operation& operation,
                     tuttiStream_t stream);

// One that has its ticket and that nobody waits for here: begun, where nothing is before it, when
// this returns.
Status submit_unattended(const Entry& entry, const Order& order,
                         std::unique_ptr<Operation> operation);

}  // namespace tutti
