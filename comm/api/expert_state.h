// What stands behind the handles of tutti/expert.h, and what its calls share.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "tutti/expert.h"

#include "comm/api/in_flight.h"
#include "comm/api/state.h"
#include "comm/expert/group.h"
#include "comm/expert/handle.h"

struct tuttiEpGroup {
  static constexpr uint32_t kAlive = 0x54455047;
  uint32_t state = kAlive;  // 0 once destroyed
  tuttiComm* comm = nullptr;
  std::unique_ptr<tutti::ExpertGroup> group;
  int handles = 0;
  tutti::InFlight in_flight;
};

struct tuttiEpHandle {
  static constexpr uint32_t kAlive = 0x54455048;
  uint32_t state = kAlive;
  tuttiEpGroup* group = nullptr;
  std::unique_ptr<tutti::ExpertHandle> handle;
};

namespace tutti {

// Checks the header of a struct of the caller's: not null, its magic, at least `least` bytes.
Status check_struct(const char* function, const char* what, const void* given, size_t least);

// A copy of `given` with what a shorter one lacks left zero.
template <typename Struct>
Status read_struct(const char* function, const char* what, const Struct* given, size_t least,
                   Struct* out) {
  TUTTI_TRY(check_struct(function, what, given, least));
  *out = {};
  memcpy(static_cast<void*>(out), given, std::min<size_t>(given->hdr.size, sizeof(Struct)));
  return Status();
}

Status check_group(const char* function, tuttiEpGroup_t group);
Status check_handle(const char* function, tuttiEpHandle_t handle);
// Of calls that wait for others whatever the stream: not between tuttiGroupStart and tuttiGroupEnd.
Status check_no_group(const char* function);
// No operation of the group is under way.
Status check_unused(const char* function, const ExpertGroup& group);
// kInvalidUsage while operations of the handle are under way, or to be completed.
Status check_unused(const char* function, tuttiEpHandle_t handle);

// What may be said of a tensor; by its name in texts.
class TensorCheck {
 public:
  TensorCheck(const char* function, const char* name, const tuttiEpTensor_t& tensor)
      : function_(function), name_(name), tensor_(tensor) {}
  bool given() const { return tensor_.data != nullptr; }

  // The type is one of those.
  TensorCheck& types(std::initializer_list<tuttiDataType_t> allowed);
  // Exactly these dimensions, none of them negative and no more than memory can hold.
  TensorCheck& dims(const std::vector<int64_t>& dims);
  const Status& status() const { return status_; }
  // Bytes from row to row.
  size_t row_stride() const;

 private:
  const char* function_;
  const char* name_;
  const tuttiEpTensor_t& tensor_;
  Status status_;
};

}  // namespace tutti
