/* What a first user writes: two ranks in one process, one all-reduce. */
#include <stdio.h>
#include <tutti/tutti.h>

int main(void) {
  tuttiComm_t comm[2];
  float in[2] = {1, 2}, out[2] = {0, 0};
  int r;
  if (tuttiCommInitAll(comm, 2, NULL) != tuttiSuccess) return 1;
  tuttiGroupStart();
  for (r = 0; r < 2; ++r) {
    tuttiAllReduce(&in[r], &out[r], 1, tuttiFloat32, tuttiSum, comm[r], NULL);
  }
  if (tuttiGroupEnd() != tuttiSuccess) {
    fprintf(stderr, "%s\n", tuttiGetLastError(NULL));
    return 1;
  }
  for (r = 0; r < 2; ++r) tuttiCommDestroy(comm[r]);
  printf("sum %g %g\n", out[0], out[1]);
  return out[0] == 3 && out[1] == 3 ? 0 : 1;
}
