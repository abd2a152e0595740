/* Tutti for programs that use MPI: a communicator of the ranks of an MPI communicator.
 *
 * Header only: compiled with the program's own MPI, whichever that is; the library knows none of
 * it. MPI serves to bring the ranks together and is not used afterwards (unless the transport named
 * in the config is mpi, which needs Open MPI).
 */
#ifndef TUTTI_MPI_H
#define TUTTI_MPI_H

#include <mpi.h>

#include "tutti/tutti.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A tuttiAllGatherFn over the MPI_Comm that `context` points at. */
static inline int tutti_mpi_all_gather(const void* mine, void* all, size_t bytes, void* context) {
  if (bytes > INT_MAX) return MPI_ERR_COUNT;
  /* MPI 2 declares the first argument without const. */
  return MPI_Allgather((void*)mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE,
                       *(MPI_Comm*)context);
}

/* Creates a communicator with the ranks and numbers of `mpi_comm`. Collective over it. MPI must be
 * initialised; the call uses it from the calling thread only. config may be NULL; blocking 0 is
 * refused, because the exchange runs over the caller's MPI. tuttiInvalidArgument for MPI_COMM_NULL
 * and before MPI_Init, else errors as tuttiCommInitExchange. */
static inline tuttiResult_t tuttiCommInitMPI(tuttiComm_t* comm, MPI_Comm mpi_comm,
                                             const tuttiConfig_t* config) {
  int ready = 0;
  int rank = 0;
  int nranks = 0;
  if (config != NULL && config->blocking == 0) return tuttiInvalidUsage;
  MPI_Initialized(&ready);
  if (!ready || mpi_comm == MPI_COMM_NULL || MPI_Comm_rank(mpi_comm, &rank) != MPI_SUCCESS ||
      MPI_Comm_size(mpi_comm, &nranks) != MPI_SUCCESS) {
    nranks = 0; /* refused below, with a text */
  }
  return tuttiCommInitExchange(comm, nranks, rank, tutti_mpi_all_gather, &mpi_comm, config);
}

#ifdef __cplusplus
}
#endif

#endif
