/* A program that uses MPI for what it did before and Tutti for its collectives: mpi_program
 * TRANSPORT, under the mpirun of the MPI it is linked with. Exits 0 when all is right.
 *
 *   mpi_program gloo|mpi|auto   communicators of MPI's world and of parts of it add up right, and
 *                               MPI works on when Tutti's are gone
 *   mpi_program refused         the transport mpi, in a program that is not linked with Open MPI
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tutti/mpi.h>
#include <tutti/tutti.h>

enum { kCount = 100000 };

static int world_rank;

static void fail(const char* what) {
  fprintf(stderr, "rank %d: %s: %s\n", world_rank, what, tuttiGetLastError(NULL));
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void check(const char* what, tuttiResult_t result) {
  if (result != tuttiSuccess) fail(what);
}

static void expect(const char* what, int right) {
  if (!right) fail(what);
}

/* A communicator of the ranks of `mpi`: the same ranks, the same sum as MPI's, the same root. */
static void compare(tuttiComm_t comm, MPI_Comm mpi) {
  static int mine[kCount], sum[kCount], expected[kCount];
  int rank = -1, nranks = -1, mpi_rank, mpi_nranks, root, i;
  MPI_Comm_rank(mpi, &mpi_rank);
  MPI_Comm_size(mpi, &mpi_nranks);
  check("rank", tuttiCommUserRank(comm, &rank));
  check("count", tuttiCommCount(comm, &nranks));
  expect("the same ranks", rank == mpi_rank && nranks == mpi_nranks);
  for (i = 0; i < kCount; ++i) mine[i] = i * (world_rank + 1);
  check("all_reduce", tuttiAllReduce(mine, sum, kCount, tuttiInt32, tuttiSum, comm, NULL));
  MPI_Allreduce(mine, expected, kCount, MPI_INT, MPI_SUM, mpi);
  expect("the same sum", memcmp(sum, expected, sizeof sum) == 0);
  for (root = 0; root < nranks; ++root) {
    int from_tutti = world_rank, from_mpi = world_rank;
    check("broadcast", tuttiBroadcast(&from_tutti, &from_tutti, 1, tuttiInt32, root, comm, NULL));
    MPI_Bcast(&from_mpi, 1, MPI_INT, root, mpi);
    expect("the same root", from_tutti == from_mpi);
  }
}

static void refuses_to_return_early(void) {
  tuttiComm_t comm = NULL;
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.blocking = 0;
  expect("blocking = 0 is refused",
         tuttiCommInitMPI(&comm, MPI_COMM_WORLD, &config) == tuttiInvalidUsage && comm == NULL);
}

static void refuses_no_communicator(void) {
  tuttiComm_t comm = NULL;
  expect("MPI_COMM_NULL is refused",
         tuttiCommInitMPI(&comm, MPI_COMM_NULL, NULL) == tuttiInvalidArgument && comm == NULL &&
             strstr(tuttiGetLastError(NULL), "tuttiCommInitExchange") != NULL);
}

static void use(const char* transport) {
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  tuttiComm_t world, part, alone;
  MPI_Comm mpi_part;
  int i;
  config.transport = transport;
  check("init", tuttiCommInitMPI(&world, MPI_COMM_WORLD, &config));
  compare(world, MPI_COMM_WORLD);
  /* Odd and even ranks, in reverse; the one of the world goes on beside them. */
  MPI_Comm_split(MPI_COMM_WORLD, world_rank % 2, -world_rank, &mpi_part);
  check("init of a part", tuttiCommInitMPI(&part, mpi_part, &config));
  check("init of one rank", tuttiCommInitMPI(&alone, MPI_COMM_SELF, &config));
  for (i = 0; i < 3; ++i) {
    compare(part, mpi_part);
    compare(alone, MPI_COMM_SELF);
    compare(world, MPI_COMM_WORLD);
  }
  /* Tutti's may outlive the one of MPI that they were made of. */
  MPI_Comm_free(&mpi_part);
  check("barrier", tuttiBarrier(part, NULL));
  check("finalize", tuttiCommFinalize(world));
  check("finalize", tuttiCommFinalize(part));
  check("destroy", tuttiCommDestroy(world));
  check("destroy", tuttiCommDestroy(part));
  check("destroy", tuttiCommDestroy(alone));
}

static void be_refused(void) {
  tuttiComm_t comm = NULL;
  tuttiConfig_t config = TUTTI_CONFIG_INITIALIZER;
  config.transport = "mpi";
  expect("an MPI that is not Open MPI is refused",
         tuttiCommInitMPI(&comm, MPI_COMM_WORLD, &config) == tuttiUnsupported &&
             strstr(tuttiGetLastError(NULL), "transport mpi needs Open MPI") != NULL);
}

int main(int argc, char** argv) {
  int over = 1, sum = 0, nranks = 0;
  if (argc != 2) return 2;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &nranks);
  refuses_to_return_early();
  refuses_no_communicator();
  if (strcmp(argv[1], "refused") == 0) {
    be_refused();
  } else {
    use(argv[1]);
  }
  /* MPI is the program's, and still there. */
  MPI_Finalized(&over);
  expect("MPI is not finalised", !over);
  MPI_Allreduce(&world_rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  expect("MPI adds up", sum == nranks * (nranks - 1) / 2);
  MPI_Finalize();
  if (world_rank == 0) printf("right\n");
  return 0;
}
