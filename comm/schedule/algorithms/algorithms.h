// The builders behind the catalogue, one file per family. Each is a pure function; each file opens
// with the shape and the cost of its algorithms (alpha: latency of a message, beta: time per byte,
// n ranks, S bytes).
#pragma once

#include "comm/schedule/schedule.h"

namespace tutti {

void all_reduce_one_shot(const Params& params, Schedule* out);
void all_reduce_two_shot(const Params& params, Schedule* out);
void all_reduce_central(const Params& params, Schedule* out);
void all_reduce_ring(const Params& params, Schedule* out);
void all_reduce_halving_doubling(const Params& params, Schedule* out);

void reduce_direct(const Params& params, Schedule* out);
void reduce_binomial(const Params& params, Schedule* out);

void broadcast_direct(const Params& params, Schedule* out);
void broadcast_binomial(const Params& params, Schedule* out);
void broadcast_scatter_all_gather(const Params& params, Schedule* out);
void broadcast_chain(const Params& params, Schedule* out);

void all_gather_direct(const Params& params, Schedule* out);
void all_gather_ring(const Params& params, Schedule* out);

void reduce_scatter_direct(const Params& params, Schedule* out);
void reduce_scatter_ring(const Params& params, Schedule* out);
void reduce_scatter_halving(const Params& params, Schedule* out);

void gather_direct(const Params& params, Schedule* out);
void gather_binomial(const Params& params, Schedule* out);
void scatter_direct(const Params& params, Schedule* out);
void scatter_binomial(const Params& params, Schedule* out);

void all_to_all_direct(const Params& params, Schedule* out);
void all_to_all_pairwise(const Params& params, Schedule* out);

void barrier_dissemination(const Params& params, Schedule* out);
void barrier_central(const Params& params, Schedule* out);

}  // namespace tutti
