// The two passes between an algorithm and the executor. Both are pure and local to one rank.
#pragma once

#include "comm/schedule/schedule.h"

namespace tutti {

// Joins recv + reduce (+ send) and recv + send into one step with messages at its ends, where the
// place between them is not needed for anything else. One kernel then reads where the messages lie
// and writes where the peers want them. Idempotent.
void fuse(Schedule* schedule);

// Inserts an offer for each received message that lands in a place (rather than being read once by
// a reduce), at the earliest point of its lane where nothing before still uses the place. Removes
// nothing; without offers a schedule moves the same messages.
void add_offers(Schedule* schedule);

}  // namespace tutti
