/* One rank of a job that a launcher has started: who is it, and do all of them add up? */
#include <stdio.h>
#include <tutti/tutti.h>

int main(void) {
  tuttiComm_t comm;
  int rank, nranks;
  double mine, sum = 0;
  if (tuttiCommInitEnv(&comm, NULL) != tuttiSuccess) {
    fprintf(stderr, "%s\n", tuttiGetLastError(NULL));
    return 1;
  }
  tuttiCommUserRank(comm, &rank);
  tuttiCommCount(comm, &nranks);
  mine = rank + 1;
  if (tuttiAllReduce(&mine, &sum, 1, tuttiFloat64, tuttiSum, comm, NULL) != tuttiSuccess) {
    fprintf(stderr, "%s\n", tuttiGetLastError(comm));
    return 1;
  }
  printf("rank %d of %d: %g\n", rank, nranks, sum);
  if (tuttiCommFinalize(comm) != tuttiSuccess || tuttiCommDestroy(comm) != tuttiSuccess) return 1;
  return sum == nranks * (nranks + 1) / 2.0 ? 0 : 1;
}
