#include "comm/base/mutex.h"

#include "comm/base/wait.h"

namespace tutti {

// The holder gives it back after one pass over its operations, or has found a caller waiting for
// one of them: that one lasts as long as a timeout allows.
void LadderMutex::lock_slowly() {
  WaitLadder ladder({0, 200});
  while (!try_lock()) ladder.tick();
}

}  // namespace tutti
